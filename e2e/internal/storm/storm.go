package storm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
)

// Setup configures runs. Each run has its own namespace and proxy.
type Setup struct {
	Cluster *cluster.Cluster
	User    string // the user that makes the calls
	HTTP1   bool   // HTTP/1.1 instead of HTTP/2
	Seed    uint64
	Ops     int
}

const (
	workers   = 16
	callLimit = time.Minute // timeout of a call with all its attempts
)

// run is the state of one run.
type run struct {
	Setup
	caller    Caller
	proxy     *faultproxy.Proxy // may be nil
	maps      Maps              // client of the caller
	direct    Maps              // client without the proxy
	config    *rest.Config      // configuration of maps
	namespace string
}

// preparer changes a client configuration before a client is made.
type preparer interface{ prepare(*rest.Config) }

func newRun(ctx context.Context, s Setup, by preparer, withProxy bool) (*run, error) {
	r := &run{Setup: s, config: s.Cluster.Config(s.User)}
	r.caller, _ = by.(Caller)
	admin, err := kubernetes.NewForConfig(s.Cluster.Config(cluster.Admin))
	if err != nil {
		return nil, err
	}
	ns, err := admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "storm-"}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	r.namespace, r.direct = ns.Name, admin.CoreV1().ConfigMaps(ns.Name)
	if withProxy {
		r.proxy, err = faultproxy.New(s.Cluster.URL(), s.Cluster.CA(), faultproxy.Options{HTTP1: s.HTTP1})
		if err != nil {
			return nil, err
		}
		r.config = r.proxy.Config(r.config)
	}
	by.prepare(r.config)
	client, err := kubernetes.NewForConfig(r.config)
	if err != nil {
		r.close()
		return nil, err
	}
	r.maps = client.CoreV1().ConfigMaps(ns.Name)
	return r, nil
}

func (r *run) close() {
	if r.proxy != nil {
		r.proxy.Close()
	}
}

// call makes one call with an id for the proxy.
func (r *run) call(ctx context.Context, id string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(faultproxy.WithCall(ctx, id), callLimit)
	defer cancel()
	return f(ctx)
}

// waitForWrites waits until the server has answered all writes, including those whose client
// has disconnected, and returns how often the writes of each call were carried out.
func (r *run) waitForWrites(ctx context.Context) (map[string]int, error) {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for range 500 {
		done, open := map[string]int{}, 0
		for _, s := range r.proxy.Sends() {
			switch {
			case s.Method == http.MethodGet:
			case s.Committed():
				done[s.Call]++
			case s.Status == 0 && (s.Fault == faultproxy.Fault{}.String() || strings.HasSuffix(s.Fault, "after commit")):
				open++
			}
		}
		if open == 0 {
			return done, nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, errors.New("the server has not answered all writes")
}

// firstFaulty reports for each call whether its first write had a fault.
func (r *run) firstFaulty() map[string]bool {
	faulty, none := map[string]bool{}, faultproxy.Fault{}.String()
	for _, s := range r.proxy.Sends() {
		if s.Method != http.MethodGet && s.Nth == 0 {
			faulty[s.Call] = s.Fault != none
		}
	}
	return faulty
}

// count adds the requests that the proxy has recorded.
func (r *run) count(result *Result) {
	none := faultproxy.Fault{}.String()
	for _, s := range r.proxy.Sends() {
		result.Sends++
		if s.Fault != none {
			result.Faulty++
		}
	}
}

// lost returns a rule that loses 20 % of the answers after the commit. Watches are aborted
// or rejected instead.
func (r *run) lost() faultproxy.Rule {
	watch := faultproxy.Verbs("watch")
	rest := func(q *http.Request) bool { return !watch(q) }
	return faultproxy.First(
		faultproxy.When(rest, share(0.2, r.Seed, r.proxy.Isolated(faultproxy.LostAnswers()))),
		faultproxy.When(watch, share(0.2, r.Seed, r.proxy.Isolated([]faultproxy.Fault{
			faultproxy.Close(), faultproxy.Reset(), faultproxy.Answer(http.StatusGatewayTimeout),
			faultproxy.CutStream(20, 0), faultproxy.CutStream(20, 0).Clean(),
		}))))
}

// share is like faultproxy.Share but ignores the path, which contains random names. The call
// and the method identify the request.
func share(share float64, seed uint64, faults []faultproxy.Fault) faultproxy.Rule {
	rule := faultproxy.Share(share, seed, faults...)
	return func(q *http.Request) faultproxy.Fault {
		same := *q
		same.URL = &url.URL{}
		return rule(&same)
	}
}

// create creates the objects that exist before a run, and replaces them by the stored
// objects. Nil objects are skipped.
func (r *run) create(ctx context.Context, objects []*corev1.ConfigMap) error {
	errs := make([]error, len(objects))
	each(len(objects), func(i int) {
		if objects[i] == nil {
			return
		}
		var created *corev1.ConfigMap
		if created, errs[i] = r.direct.Create(ctx, objects[i], metav1.CreateOptions{}); errs[i] == nil {
			objects[i] = created
		}
	})
	return errors.Join(errs...)
}

func (r *run) list(ctx context.Context) (map[string]corev1.ConfigMap, error) {
	list, err := r.direct.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	found := make(map[string]corev1.ConfigMap, len(list.Items))
	for _, m := range list.Items {
		found[m.Name] = m
	}
	return found, nil
}

func object(name string, data ...string) *corev1.ConfigMap {
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{}}
	for pair := range slices.Chunk(data, 2) {
		m.Data[pair[0]] = pair[1]
	}
	return m
}

func name(kind string, i int) string { return fmt.Sprintf("%s-%d", kind, i) }
