package check

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// Run lets the story happen, for so long, and hands over the Prometheus servers that
// watched it: one that reads classic histograms, one that reads native ones.
func Run(ctx context.Context, rules string, whole time.Duration, ask func(classic, native *Server) error) (err error) {
	dir, err := os.MkdirTemp("", "k8sretryprom")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	kube, stopKube, err := startAPIServer(ctx, dir)
	if err != nil {
		return err
	}
	defer stopKube()
	var wire k8sretrytest.Faults
	kube.config.Wrap(wire.Transport) // first, below all that counts
	service, err := newObserved(kube.config)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", service.metrics)
	page := httptest.NewServer(mux)
	defer page.Close()

	servers := make([]*Server, 2)
	for i := range servers {
		server, stop, err := startPrometheus(ctx, filepath.Join(dir, fmt.Sprint(i)), rules, page.Listener.Addr().String(), i == 1)
		if err != nil {
			return err
		}
		defer stop()
		servers[i] = server
	}

	loading, stopLoad := context.WithCancel(ctx)
	loaded := make(chan struct{})
	go func() { service.load(loading); close(loaded) }()
	from := time.Now()
	err = tell(ctx, kube, &wire, whole)
	to := time.Now()
	_ = wait(ctx, 2*scrapeEvery)
	stopLoad()
	<-loaded
	if err != nil {
		return err
	}
	for _, s := range servers {
		s.From, s.To = from, to
	}
	return ask(servers[0], servers[1])
}
