package k8sretryctrl_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Failures of three kinds: nothing was done, it may have been, it never will be.
func notDone() error { return k8sretrytest.WebhookFailed() }
func inDoubt() error { return k8sretrytest.Status(http.StatusGatewayTimeout) }
func refused() error { return k8sretrytest.WebhookDenied("no") }

// faults are the mishaps of a fake client. Calls are named by their method and, of
// subresources, the name: "Create", "status.Update".
type faults struct {
	mu    sync.Mutex
	calls []string
	only  string // the calls that are struck, "" for all
	err   func() error
	fail  int // the next calls fail and do nothing
	lose  int // those after them are carried out, and fail
}

func (f *faults) strike(call string, do func() error) error {
	f.mu.Lock()
	f.calls = append(f.calls, call)
	struck := f.only == "" || f.only == call
	fail := struck && f.fail > 0
	lose := struck && !fail && f.lose > 0
	if fail {
		f.fail--
	}
	if lose {
		f.lose--
	}
	f.mu.Unlock()
	switch {
	case fail:
		return f.err()
	case lose:
		_ = do()
		return f.err()
	}
	return do()
}

// count is how often a call was made.
func (f *faults) count(call string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c == call {
			n++
		}
	}
	return n
}

func (f *faults) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// in puts the faults in front of a client.
func (f *faults) in(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			return f.strike("Get", func() error { return c.Get(ctx, key, obj, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			return f.strike("List", func() error { return c.List(ctx, list, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			return f.strike("Create", func() error { return c.Create(ctx, obj, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			return f.strike("Update", func() error { return c.Update(ctx, obj, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return f.strike("Patch", func() error { return c.Patch(ctx, obj, patch, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return f.strike("Apply", func() error { return c.Apply(ctx, obj, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			return f.strike("Delete", func() error { return c.Delete(ctx, obj, opts...) })
		},
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteAllOfOption) error {
			return f.strike("DeleteAllOf", func() error { return c.DeleteAllOf(ctx, obj, opts...) })
		},
		Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) (w watch.Interface, err error) {
			err = f.strike("Watch", func() error { w, err = c.Watch(ctx, list, opts...); return err })
			return w, err
		},
		SubResourceGet: func(ctx context.Context, c client.Client, name string, obj, sub client.Object, opts ...client.SubResourceGetOption) error {
			return f.strike(name+".Get", func() error { return c.SubResource(name).Get(ctx, obj, sub, opts...) })
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, name string, obj, sub client.Object, opts ...client.SubResourceCreateOption) error {
			return f.strike(name+".Create", func() error { return c.SubResource(name).Create(ctx, obj, sub, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, name string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			return f.strike(name+".Update", func() error { return c.SubResource(name).Update(ctx, obj, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return f.strike(name+".Patch", func() error { return c.SubResource(name).Patch(ctx, obj, patch, opts...) })
		},
		SubResourceApply: func(ctx context.Context, c client.Client, name string, obj runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
			return f.strike(name+".Apply", func() error { return c.SubResource(name).Apply(ctx, obj, opts...) })
		},
	})
}

// cluster is a fake with an object of each kind that the tests need.
func cluster() client.WithWatch {
	return builder().WithStatusSubresource(&corev1.Pod{}).WithObjects(
		configMap("x", "n", "0"),
		&corev1.Pod{ObjectMeta: meta("web-0")},
		&corev1.ServiceAccount{ObjectMeta: meta("robot")},
		&appsv1.Deployment{ObjectMeta: meta("web"), Spec: appsv1.DeploymentSpec{Replicas: new(int32(1))}},
	).Build()
}

func builder() *fake.ClientBuilder {
	mapper := apimeta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"ConfigMap", "Pod"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), apimeta.RESTScopeNamespace)
	}
	return fake.NewClientBuilder().WithRESTMapper(mapper)
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: "default"}
}

func configMap(name string, data ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: meta(name), Data: map[string]string{}}
	for i := 0; i+1 < len(data); i += 2 {
		cm.Data[data[i]] = data[i+1]
	}
	return cm
}

func key(name string) client.ObjectKey { return client.ObjectKey{Namespace: "default", Name: name} }

// inVirtualTime runs a test in a bubble.
func inVirtualTime(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}
