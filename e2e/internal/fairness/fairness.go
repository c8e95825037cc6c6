// SPDX-License-Identifier: Apache-2.0

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
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
)

// The parameters of the calls.
const (
	Calls = 200                   // number of concurrent LISTs
	Limit = 30 * time.Second      // timeout of a call
	Holds = 60 * time.Millisecond // duration for which a call occupies its seat

	objects = 20
)

// Server is a cluster in which a LIST of ConfigMaps takes [Holds], because etcd is delayed.
// A LIST occupies its seat for that time and needs little CPU time, so that the load of the
// machine hardly affects the results.
type Server struct {
	*cluster.Cluster
	admin     *kubernetes.Clientset
	namespace string
	free      []string // users
}

// NewServer starts a server for the given number of runs. The caller must close it.
func NewServer(ctx context.Context, runs int) (_ *Server, err error) {
	s := &Server{}
	for i := range runs {
		s.free = append(s.free, "herd-"+strconv.Itoa(i))
	}
	s.Cluster, err = cluster.New(cluster.Options{
		Users:         slices.Clone(s.free),
		APIServerArgs: append(FewSeats(), "--watch-cache-sizes=configmaps#0"), // LISTs read from etcd
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

// Result is the result of a run.
type Result struct {
	Calls  int
	Served int // calls that succeeded within Limit
	// Rejected and Accepted are the numbers of requests, counted by the server.
	Rejected, Accepted int
	Sent               int            // requests, counted by the client
	Throttled          int            // 429 answers, counted by the client
	Last               time.Duration  // time until the last call was served
	Errors             map[string]int // number of failed calls by error text without digits
}

func (r Result) String() string {
	return fmt.Sprintf("%d of %d served, the last after %.1f s; %d of %d requests rejected", r.Served, r.Calls, r.Last.Seconds(), r.Rejected, r.Rejected+r.Accepted)
}

// Run makes the calls of a contender as a new user.
func (s *Server) Run(ctx context.Context, by Contender) (Result, error) {
	c, err := s.client(ctx, by, "*")
	if err != nil {
		return Result{}, err
	}
	return c.herd(ctx)
}

// client makes requests as a user who has one seat for a resource.
type client struct {
	*Server
	*kubernetes.Clientset
	by              Contender
	user            string
	sent, throttled atomic.Int64
}

// client returns a client of a contender with a user of its own.
func (s *Server) client(ctx context.Context, by Contender, resource string) (*client, error) {
	if len(s.free) == 0 {
		return nil, fmt.Errorf("fairness: too many runs")
	}
	c := &client{Server: s, by: by, user: s.free[0]}
	s.free = s.free[1:]
	if err := OneSeat(ctx, s.Cluster, c.user, resource); err != nil {
		return nil, err
	}
	config := s.Config(c.user)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripperFunc(func(req *http.Request) (*http.Response, error) {
			c.sent.Add(1)
			resp, err := next.RoundTrip(req)
			if err == nil && resp.StatusCode == http.StatusTooManyRequests {
				c.throttled.Add(1)
			}
			return resp, err
		})
	})
	if by.prepare != nil {
		by.prepare(config)
	}
	var err error
	c.Clientset, err = kubernetes.NewForConfig(config)
	return c, err
}

// request returns a GET of a resource in the namespace of the server.
func (c *client) request(resource string) *rest.Request {
	request := c.CoreV1().RESTClient().Get().Namespace(c.namespace).Resource(resource)
	if c.by.Bare {
		request = request.MaxRetries(0)
	}
	return request
}

func (c *client) list(ctx context.Context) error {
	var maps corev1.ConfigMapList
	if err := c.request("configmaps").VersionedParams(&metav1.ListOptions{}, scheme.ParameterCodec).Do(ctx).Into(&maps); err != nil {
		return err
	}
	if len(maps.Items) != objects {
		return fmt.Errorf("%d objects listed", len(maps.Items))
	}
	return nil
}

// herd makes all LISTs at once.
func (c *client) herd(ctx context.Context) (Result, error) {
	r := Result{Calls: Calls, Errors: map[string]int{}}
	rejected, accepted, err := c.counts(ctx, c.user)
	if err != nil {
		return r, err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for range Calls {
		wg.Go(func() {
			ctx, cancel := context.WithDeadline(ctx, start.Add(Limit))
			defer cancel()
			err := c.by.repeat(ctx, c.list)
			took := time.Since(start)
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
	r.Sent, r.Throttled = int(c.sent.Load()), int(c.throttled.Load())
	rejectedAfter, acceptedAfter, err := c.counts(ctx, c.user)
	r.Rejected, r.Accepted = rejectedAfter-rejected, acceptedAfter-accepted
	return r, err
}

// counts returns the numbers of rejected and accepted requests of the user's priority level
// from the metrics of the server.
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

// brief returns the text of an error with its numbers replaced.
func brief(err error) string {
	text := numbers.ReplaceAllString(err.Error(), "N")
	return text[:min(len(text), 150)]
}

var numbers = regexp.MustCompile(`[0-9.]*[0-9]`)
