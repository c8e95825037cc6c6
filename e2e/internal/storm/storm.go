// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/k8sretry/k8sretry"
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
	// Offset is the number of the first call, on which its faults depend.
	Offset int
	// Limit is the timeout of a call with all its attempts. Default: a minute.
	Limit time.Duration
	// Companions are other controllers that write the objects of the run. See companions.go.
	Companions bool
}

const (
	workers   = 16
	callLimit = time.Minute
)

// run is the state of one run.
type run struct {
	Setup
	caller    Caller
	proxy     *faultproxy.Proxy // may be nil
	maps      Maps              // client of the caller
	pods      Pods              // client of the caller
	config    *rest.Config      // configuration of both
	namespace string

	// Clients without the proxy.
	admin      kubernetes.Interface
	direct     Maps
	directPods Pods
	replica    Maps // has the field manager of the caller
	labeler    kubernetes.Interface

	isPods     bool // the objects are pods, not ConfigMaps
	observer   *observer
	companions *companions // may be nil
	objects    int         // that exist before the calls
	begin      uint64      // the resource version before the first call
}

// The user agents, from which the server makes the field managers.
const (
	callerAgent  = "caller/1.0"
	labelerAgent = "labeler/1.0"
	otherAgent   = "other/1.0"
)

// preparer changes a client configuration before a client is made.
type preparer interface{ prepare(*rest.Config) }

func newRun(ctx context.Context, s Setup, by preparer, withProxy bool) (*run, error) {
	r := &run{Setup: s, config: s.Cluster.Config(s.User)}
	r.caller, _ = by.(Caller)
	direct := func(agent string) (*kubernetes.Clientset, error) {
		c := s.Cluster.Config(cluster.Admin)
		c.UserAgent = agent
		return kubernetes.NewForConfig(c)
	}
	other, err := direct(otherAgent)
	if err != nil {
		return nil, err
	}
	replica, err := direct(callerAgent)
	if err != nil {
		return nil, err
	}
	if r.labeler, err = direct(labelerAgent); err != nil {
		return nil, err
	}
	ns, err := other.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "storm-"}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	r.namespace, r.admin = ns.Name, other
	r.direct, r.directPods, r.replica = other.CoreV1().ConfigMaps(ns.Name), other.CoreV1().Pods(ns.Name), replica.CoreV1().ConfigMaps(ns.Name)
	switch {
	case withProxy:
		r.proxy, err = faultproxy.New(s.Cluster.URL(), s.Cluster.CA(), faultproxy.Options{HTTP1: s.HTTP1})
		if err != nil {
			return nil, err
		}
		r.config = r.proxy.Config(r.config)
	case s.HTTP1:
		r.config.NextProtos = []string{"http/1.1"}
	}
	r.config.UserAgent = callerAgent
	by.prepare(r.config)
	client, err := kubernetes.NewForConfig(r.config)
	if err != nil {
		r.close()
		return nil, err
	}
	r.maps, r.pods = client.CoreV1().ConfigMaps(ns.Name), client.CoreV1().Pods(ns.Name)
	return r, nil
}

// start starts to observe the objects, and their companions.
func (r *run) start(ctx context.Context, pods bool, react func(context.Context, change)) (err error) {
	r.isPods = pods
	if r.Companions {
		if pods {
			r.companions, err = accompany(ctx, r.admin, r.namespace, population[*corev1.Pod]{
				labeler: r.labeler.CoreV1().Pods(r.namespace), other: r.directPods, again: pod,
				informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
					return f.Core().V1().Pods().Informer()
				},
			})
		} else {
			r.companions, err = accompany(ctx, r.admin, r.namespace, population[*corev1.ConfigMap]{
				labeler: r.labeler.CoreV1().ConfigMaps(r.namespace), other: r.direct,
				again: func(name string) *corev1.ConfigMap { return object(name, "again", "true") },
				informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
					return f.Core().V1().ConfigMaps().Informer()
				},
			})
		}
		if err != nil {
			return err
		}
	}
	list, err := r.direct.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return err
	}
	watch := r.direct.Watch
	if pods {
		watch = r.directPods.Watch
	}
	r.observer = observe(ctx, watch, list.ResourceVersion, react)
	return nil
}

// end ends what start has started, and returns the history of the objects.
func (r *run) end(ctx context.Context) (history, error) {
	if r.companions != nil {
		r.companions.stop()
	}
	var last metav1.Object
	var err error
	if r.isPods {
		last, err = r.directPods.Create(ctx, pod(lastObject), metav1.CreateOptions{})
	} else {
		last, err = r.direct.Create(ctx, object(lastObject), metav1.CreateOptions{})
	}
	if err != nil {
		return nil, err
	}
	changes, err := r.observer.upTo(ctx, last.GetResourceVersion())
	return changes.since(r.begin), err
}

// settle waits until the companions have done with all objects, and notes where the calls
// begin.
func (r *run) settle(ctx context.Context) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for range 3000 {
		objects, version, err := r.listAll(ctx)
		if err != nil {
			return err
		}
		if r.companions == nil || len(objects) == r.objects && !slices.ContainsFunc(objects, func(o metav1.Object) bool { return !settled(o) }) {
			r.begin, err = strconv.ParseUint(version, 10, 64)
			return err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return errors.New("the companions do not come to rest")
}

// listAll lists the objects of the run, ConfigMaps or pods.
func (r *run) listAll(ctx context.Context) (objects []metav1.Object, version string, err error) {
	if r.isPods {
		list, err := r.directPods.List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, "", err
		}
		for i := range list.Items {
			objects = append(objects, &list.Items[i])
		}
		return objects, list.ResourceVersion, nil
	}
	list, err := r.direct.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, "", err
	}
	for i := range list.Items {
		objects = append(objects, &list.Items[i])
	}
	return objects, list.ResourceVersion, nil
}

func (r *run) close() {
	if r.companions != nil {
		r.companions.stop()
	}
	if r.observer != nil {
		r.observer.stop()
	}
	if r.proxy != nil {
		r.proxy.Close()
	}
}

// id returns the id of call i for the proxy.
func (r *run) id(i int) string { return name("call", r.Offset+i) }

// call makes call i.
func (r *run) call(ctx context.Context, i int, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(faultproxy.WithCall(ctx, r.id(i)), cmp.Or(r.Limit, callLimit))
	defer cancel()
	return f(ctx)
}

// waitForWrites waits until the server has answered all writes, including those whose client
// has disconnected, and returns how often the writes of each call were carried out.
func (r *run) waitForWrites(ctx context.Context) (map[string]int, error) {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for range 1500 { // an eviction can take 10 s
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

// firstLost reports for each call whether its client has not seen the answer to its first
// write: the write had a fault, or was repeated, as after an answer that came too late.
func (r *run) firstLost() map[string]bool {
	lost, none := map[string]bool{}, faultproxy.Fault{}.String()
	for _, s := range r.proxy.Sends() {
		if s.Method != http.MethodGet && (s.Nth > 0 || s.Fault != none) {
			lost[s.Call] = true
		}
	}
	return lost
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

// create creates the objects that exist before a run, waits until the companions have
// done with them, and replaces them by the stored objects. Nil objects are skipped.
func (r *run) create(ctx context.Context, objects []*corev1.ConfigMap) error {
	if err := createAll(ctx, r, r.direct, objects); err != nil {
		return err
	}
	stored, err := r.list(ctx)
	if err != nil {
		return err
	}
	for i, m := range objects {
		if m != nil {
			is := stored[m.Name]
			objects[i] = &is
		}
	}
	return nil
}

func createAll[T k8sretry.Object](ctx context.Context, r *run, client k8sretry.Creator[T], objects []T) error {
	errs := make([]error, len(objects))
	each(len(objects), func(i int) {
		if !reflect.ValueOf(objects[i]).IsNil() {
			var created T
			if created, errs[i] = client.Create(ctx, objects[i], metav1.CreateOptions{}); errs[i] == nil {
				objects[i] = created
			}
		}
	})
	for _, o := range objects {
		if !reflect.ValueOf(o).IsNil() {
			r.objects++
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return r.settle(ctx)
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

func pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}},
	}
}

func name(kind string, i int) string { return fmt.Sprintf("%s-%d", kind, i) }
