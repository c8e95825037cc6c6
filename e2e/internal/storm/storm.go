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

// Setup is where calls are made. Each run has a namespace and a proxy of its own.
type Setup struct {
	Cluster *cluster.Cluster
	User    string // who calls
	HTTP1   bool   // not HTTP/2
	Seed    uint64
	Ops     int
}

const (
	workers   = 16
	callLimit = time.Minute // for one call with all its attempts
)

// run is one run under way.
type run struct {
	Setup
	caller    Caller
	proxy     *faultproxy.Proxy // nil: none
	maps      Maps              // the caller's client
	direct    Maps              // past the proxy, for preparations, others and the truth
	config    *rest.Config      // what maps was made of
	namespace string
}

// preparer changes a client's configuration before clients are made of it.
type preparer interface{ prepare(*rest.Config) }

func newRun(ctx context.Context, s Setup, by preparer, through bool) (*run, error) {
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
	if through {
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

// call makes one call, known to the proxy by its id.
func (r *run) call(ctx context.Context, id string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(faultproxy.WithCall(ctx, id), callLimit)
	defer cancel()
	return f(ctx)
}

// settled waits until the server has answered every write that it was sent, whether
// its client waited or not, and returns how often the writes of each call were
// carried out.
func (r *run) settled(ctx context.Context) (map[string]int, error) {
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
	return nil, errors.New("the server does not answer writes")
}

// firstStruck tells of which calls the first write was struck by a fault.
func (r *run) firstStruck() map[string]bool {
	struck, none := map[string]bool{}, faultproxy.Fault{}.String()
	for _, s := range r.proxy.Sends() {
		if s.Method != http.MethodGet && s.Nth == 0 {
			struck[s.Call] = s.Fault != none
		}
	}
	return struck
}

// count adds what the proxy has seen.
func (r *run) count(result *Result) {
	none := faultproxy.Fault{}.String()
	for _, s := range r.proxy.Sends() {
		result.Sends++
		if s.Fault != none {
			result.Struck++
		}
	}
}

// lost loses a fifth of all answers after the work was done. Watches have no answer
// that could be lost: they are cut and refused.
func (r *run) lost() faultproxy.Rule {
	watch := faultproxy.Verbs("watch")
	rest := func(q *http.Request) bool { return !watch(q) }
	return faultproxy.First(
		faultproxy.When(rest, share(0.2, r.Seed, r.proxy.Alone(faultproxy.LostAnswers()))),
		faultproxy.When(watch, share(0.2, r.Seed, r.proxy.Alone([]faultproxy.Fault{
			faultproxy.Close(), faultproxy.Reset(), faultproxy.Answer(http.StatusGatewayTimeout),
			faultproxy.CutStream(20, 0), faultproxy.CutStream(20, 0).Clean(),
		}))))
}

// share is faultproxy.Share without the path, which has random names in it: the call
// and the method say enough.
func share(share float64, seed uint64, faults []faultproxy.Fault) faultproxy.Rule {
	rule := faultproxy.Share(share, seed, faults...)
	return func(q *http.Request) faultproxy.Fault {
		same := *q
		same.URL = &url.URL{}
		return rule(&same)
	}
}

// create makes the objects that stand before a run, and puts what was stored in their
// places. Nil stands for none.
func (r *run) create(ctx context.Context, objects []*corev1.ConfigMap) error {
	errs := make([]error, len(objects))
	each(len(objects), workers, func(i int) {
		if objects[i] == nil {
			return
		}
		var made *corev1.ConfigMap
		if made, errs[i] = r.direct.Create(ctx, objects[i], metav1.CreateOptions{}); errs[i] == nil {
			objects[i] = made
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
