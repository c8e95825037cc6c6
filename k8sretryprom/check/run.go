// SPDX-License-Identifier: Apache-2.0

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

// Run plays the scenario within the duration and then calls query with the two Prometheus
// servers that have scraped the service: one that stores classic histograms, one that
// stores native histograms.
func Run(ctx context.Context, rules string, duration time.Duration, query func(classic, native *Server) error) (err error) {
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
	var faults k8sretrytest.Faults
	kube.config.Wrap(faults.Transport) // first, so that CountSends counts the requests that fail
	service, err := newService(kube.config)
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

	loadCtx, stopLoad := context.WithCancel(ctx)
	loaded := make(chan struct{})
	go func() { service.load(loadCtx); close(loaded) }()
	from := time.Now()
	err = play(ctx, kube, &faults, duration)
	to := time.Now()
	_ = wait(ctx, 2*scrapeInterval)
	stopLoad()
	<-loaded
	if err != nil {
		return err
	}
	for _, s := range servers {
		s.From, s.To = from, to
	}
	return query(servers[0], servers[1])
}
