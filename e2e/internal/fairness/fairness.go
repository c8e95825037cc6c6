package fairness

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
)

// What the calls are.
const (
	Calls = 200                   // at once, each a LIST
	Limit = 30 * time.Second      // of each
	Holds = 60 * time.Millisecond // its seat, and a little more

	objects = 20
)

// Server is a cluster whose LISTs of ConfigMaps take the time of an etcd that answers
// after [Holds]. They hold their seat for that long and cost next to no processor, so
// that a busy machine changes little.
type Server struct {
	*cluster.Cluster
	admin     *kubernetes.Clientset
	namespace string
	free      []string // users
}

// NewServer starts a server for some runs. The caller closes it.
func NewServer(ctx context.Context, runs int) (_ *Server, err error) {
	s := &Server{}
	for i := range runs {
		s.free = append(s.free, "herd-"+strconv.Itoa(i))
	}
	s.Cluster, err = cluster.New(cluster.Options{
		Users:         slices.Clone(s.free),
		APIServerArgs: append(FewSeats(), "--watch-cache-sizes=configmaps#0"), // from etcd
		SlowEtcd:      Holds,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.admin, err = kubernetes.NewForConfig(s.Config(cluster.Admin)); err != nil {
		return nil, err
	}
	ns, err := s.admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	s.namespace = ns.Name
	for i := range objects {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "map-" + strconv.Itoa(i)}, Data: map[string]string{"key": strings.Repeat("x", 500)}}
		if _, err := s.admin.CoreV1().ConfigMaps(ns.Name).Create(ctx, m, metav1.CreateOptions{}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Result is what became of the calls of a run.
type Result struct {
	Calls  int
	Served int // within the limit
	// Rejected and Accepted are the requests, by the server's own count.
	Rejected, Accepted int
	Sent               int            // requests, counted at the client's end of the wire
	Throttled          int            // answers with 429 of those
	Last               time.Duration  // when the last of the served calls was
	Errors             map[string]int // of the callers, without numbers
}

func (r Result) String() string {
	return fmt.Sprintf("%d of %d served, the last after %.1f s; %d of %d requests rejected", r.Served, r.Calls, r.Last.Seconds(), r.Rejected, r.Rejected+r.Accepted)
}

// Run lets the contender make its calls, as a user of its own.
func (s *Server) Run(ctx context.Context, by Contender) (Result, error) {
	if len(s.free) == 0 {
		return Result{}, fmt.Errorf("fairness: more runs than the server was made for")
	}
	user := s.free[0]
	s.free = s.free[1:]
	if err := OneSeat(ctx, s.Cluster, user); err != nil {
		return Result{}, err
	}
	r := Result{Calls: Calls, Errors: map[string]int{}}
	var sent, throttled atomic.Int64
	config := s.Config(user)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripperFunc(func(req *http.Request) (*http.Response, error) {
			sent.Add(1)
			resp, err := next.RoundTrip(req)
			if err == nil && resp.StatusCode == http.StatusTooManyRequests {
				throttled.Add(1)
			}
			return resp, err
		})
	})
	if by.prepare != nil {
		by.prepare(config)
	}
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		return r, err
	}
	list := func(ctx context.Context) error {
		request := set.CoreV1().RESTClient().Get().Namespace(s.namespace).Resource("configmaps").
			VersionedParams(&metav1.ListOptions{}, scheme.ParameterCodec)
		if by.Bare {
			request = request.MaxRetries(0)
		}
		var maps corev1.ConfigMapList
		if err := request.Do(ctx).Into(&maps); err != nil {
			return err
		}
		if len(maps.Items) != objects {
			return fmt.Errorf("%d objects listed", len(maps.Items))
		}
		return nil
	}
	rejected, accepted, err := s.counts(ctx, user)
	if err != nil {
		return r, err
	}

	var mu sync.Mutex
	var wg sync.WaitGroup
	begin := time.Now()
	for range Calls {
		wg.Go(func() {
			ctx, cancel := context.WithDeadline(ctx, begin.Add(Limit))
			defer cancel()
			err := by.repeat(ctx, list)
			took := time.Since(begin)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && took <= Limit {
				r.Served++
				r.Last = max(r.Last, took)
			} else if err != nil {
				r.Errors[brief(err)]++
			}
		})
	}
	wg.Wait()
	r.Sent, r.Throttled = int(sent.Load()), int(throttled.Load())
	rejectedAfter, acceptedAfter, err := s.counts(ctx, user)
	r.Rejected, r.Accepted = rejectedAfter-rejected, acceptedAfter-accepted
	return r, err
}

// counts asks the server how many requests of the user's level it has rejected, and how
// many it has let through.
func (s *Server) counts(ctx context.Context, user string) (rejected, accepted int, err error) {
	metrics, err := s.admin.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(metrics)) {
		if !strings.Contains(line, `priority_level="`+user+`"`) {
			continue
		}
		name, _, _ := strings.Cut(line, "{")
		_, number, _ := strings.Cut(line, "} ")
		value, _ := strconv.ParseFloat(strings.TrimSpace(number), 64)
		switch name {
		case "apiserver_flowcontrol_rejected_requests_total":
			rejected += int(value)
		case "apiserver_flowcontrol_dispatched_requests_total":
			accepted += int(value)
		}
	}
	return rejected, accepted, nil
}

// brief is an error without what differs from call to call.
func brief(err error) string {
	text := numbers.ReplaceAllString(err.Error(), "N")
	return text[:min(len(text), 150)]
}

var numbers = regexp.MustCompile(`[0-9.]*[0-9]`)
