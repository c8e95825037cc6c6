// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	ctrl "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// The labels of the objects of the controller.
const (
	roleLabel   = "example.com/role"
	parentLabel = "example.com/parent"
	parentRole  = "parent"
)

// families is a reconciler that creates one child for each parent and stores its name in
// the parent. It does not handle lost answers: if a create succeeded but was reported as
// failed, it would create a second child.
type families struct {
	client   ctrl.Client
	created  atomic.Int64
	requeued atomic.Int64 // reconciles with a RequeueAfter
}

func (f *families) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	result, err := k8sretryctrl.Result(f.reconcile(ctx, req))
	if result.RequeueAfter > 0 {
		f.requeued.Add(1)
	}
	return result, err
}

func (f *families) reconcile(ctx context.Context, req reconcile.Request) error {
	parent := &corev1.ConfigMap{}
	if err := f.client.Get(ctx, req.NamespacedName, parent); err != nil {
		return ctrl.IgnoreNotFound(err)
	}
	if parent.Data["child"] != "" {
		return nil
	}
	child := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "child-", Namespace: req.Namespace, Labels: map[string]string{parentLabel: parent.Name},
	}}
	if err := f.client.Create(ctx, child); err != nil {
		return err
	}
	f.created.Add(1)
	parent.Data["child"] = child.Name
	return f.client.Update(ctx, parent)
}

// startFamilies runs a manager with the reconciler until the test ends. The cache of the
// manager contains only parents, so k8sretryctrl cannot find children in it.
func startFamilies(t *testing.T, config *rest.Config, ns string, opts ...k8sretry.Option) (*families, *errorLog) {
	t.Helper()
	ctrllog.SetLogger(logr.Discard())
	log := &errorLog{}
	parents := labels.SelectorFromSet(labels.Set{roleLabel: parentRole})
	mgr, err := manager.New(config, manager.Options{
		Logger:  logr.New(log),
		Metrics: server.Options{BindAddress: "0"},
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{ns: {}},
			ByObject:          map[ctrl.Object]cache.ByObject{&corev1.ConfigMap{}: {Label: parents}},
		},
	})
	require.NoError(t, err)
	f := &families{client: k8sretryctrl.NewClient(mgr.GetClient(), opts...)}
	require.NoError(t, builder.ControllerManagedBy(mgr).Named(objectName(t)).For(&corev1.ConfigMap{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 10}).Complete(f))

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return f, log
}

// errorLog records the reconcile errors that a manager logs. Errors of client-go, which
// uses the same logger, are ignored.
type errorLog struct {
	mu    sync.Mutex
	lines []string
}

func (*errorLog) Init(logr.RuntimeInfo)            {}
func (*errorLog) Enabled(int) bool                 { return false }
func (*errorLog) Info(int, string, ...any)         {}
func (l *errorLog) WithValues(...any) logr.LogSink { return l }
func (l *errorLog) WithName(string) logr.LogSink   { return l }
func (l *errorLog) Error(err error, msg string, _ ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if msg == "Reconciler error" {
		l.lines = append(l.lines, err.Error())
	}
}

func (l *errorLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}

// createParents creates the objects to reconcile.
func createParents(t *testing.T, c *cluster.Cluster, ns string, n int) {
	t.Helper()
	maps := client(t, c.Config(app)).CoreV1().ConfigMaps(ns)
	for i := range n {
		parent := configMap(fmt.Sprint("parent-", i), "value")
		parent.Labels = map[string]string{roleLabel: parentRole}
		_, err := maps.Create(t.Context(), parent, metav1.CreateOptions{})
		require.NoError(t, err)
	}
}

// requireFamilies waits until each parent has its child, and requires that there are no
// other children.
func requireFamilies(t *testing.T, c *cluster.Cluster, ns string, n int) {
	t.Helper()
	maps := client(t, c.Config(app)).CoreV1().ConfigMaps(ns)
	names := map[string]string{} // of the children, by parent
	require.Eventually(t, func() bool {
		list, err := maps.List(t.Context(), metav1.ListOptions{LabelSelector: roleLabel + "=" + parentRole})
		if err != nil {
			return false
		}
		clear(names)
		for _, parent := range list.Items {
			if child := parent.Data["child"]; child != "" {
				names[parent.Name] = child
			}
		}
		return len(names) == n
	}, 2*time.Minute, 100*time.Millisecond)

	children, err := maps.List(t.Context(), metav1.ListOptions{LabelSelector: parentLabel})
	require.NoError(t, err)
	assert.Len(t, children.Items, n)
	for _, child := range children.Items {
		assert.Equal(t, child.Name, names[child.Labels[parentLabel]], "the child of %s", child.Labels[parentLabel])
	}
}

// After a crash of the apiserver each parent has exactly one child, and no reconcile has
// failed.
func TestControllerWhileServerIsKilled(t *testing.T) {
	c := start(t)
	ns := namespace(t, c)
	const parents = 200
	createParents(t, c, ns, parents)
	events := &recorder{}
	policy, _ := restartPolicies(events)
	f, log := startFamilies(t, c.Config(app), ns, policy)

	require.Eventually(t, func() bool { return f.created.Load() >= parents/4 }, time.Minute, time.Millisecond)
	c.KillAPIServer()
	<-within(t, 700*time.Millisecond).Done()
	require.NoError(t, c.StartAPIServer())
	requireFamilies(t, c, ns, parents)

	t.Logf("retries: %v", events.classes())
	assert.NotZero(t, events.classes()[k8sretry.ClassConnection]+events.classes()[k8sretry.ClassRefused], "the crash affected no call: the test is inconclusive")
	assert.Empty(t, log.all())
	assert.Empty(t, events.all(k8sretry.EventFailure))
	assert.Zero(t, f.requeued.Load())
}

// If a third of the answers to writes are lost, each parent gets exactly one child, and no
// reconcile fails.
func TestControllerWithLostAnswers(t *testing.T) {
	c := start(t)
	both(t, c, func(t *testing.T, p *faultproxy.Proxy) {
		ns := namespace(t, c)
		const parents = 100
		createParents(t, c, ns, parents)
		p.SetRule(faultproxy.When(faultproxy.Verbs("create", "update"), faultproxy.Share(1./3, seed(t), p.Isolated(faultproxy.LostAnswers())...)))
		events := &recorder{}
		policy, _ := restartPolicies(events)
		f, log := startFamilies(t, p.Config(c.Config(app)), ns, policy, k8sretry.WithAttemptTimeout(time.Second))
		requireFamilies(t, c, ns, parents)

		t.Logf("retries: %v", events.classes())
		assert.Greater(t, len(events.all(k8sretry.EventRetry)), parents/8, "too few faults: the test is inconclusive")
		assert.Empty(t, log.all())
		assert.Empty(t, events.all(k8sretry.EventFailure))
		assert.Zero(t, f.requeued.Load())
	})
}
