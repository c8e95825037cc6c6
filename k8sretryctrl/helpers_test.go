// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry/k8sretryctrl"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // where calls that give up are logged
	goleak.VerifyTestMain(m)
}

// Errors of three kinds: not executed, with an unknown outcome, and permanent.
func notExecuted() error    { return k8sretrytest.WebhookFailed() }
func unknownOutcome() error { return k8sretrytest.Status(http.StatusGatewayTimeout) }
func denied() error         { return k8sretrytest.WebhookDenied("no") }

// faults makes calls of a fake client fail. A call has the name of its method, with a prefix
// for subresources: "Create", "status.Update".
type faults struct {
	mu    sync.Mutex
	calls []string
	only  string // the name of the calls that fail, "" for all
	err   func() error
	fail  int // number of next calls that fail without being executed
	lose  int // number of calls after those that are executed and then fail

	attempt func(context.Context) error // replaces all calls if it is not nil
}

func (f *faults) apply(ctx context.Context, call string, do func() error) error {
	f.mu.Lock()
	f.calls = append(f.calls, call)
	applies := f.only == "" || f.only == call
	fail := applies && f.fail > 0
	lose := applies && !fail && f.lose > 0
	if fail {
		f.fail--
	}
	if lose {
		f.lose--
	}
	f.mu.Unlock()
	switch {
	case f.attempt != nil:
		return f.attempt(ctx)
	case fail:
		return f.err()
	case lose:
		_ = do()
		return f.err()
	}
	return do()
}

// count returns the number of calls with a name.
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

// in returns a client with the faults in front of c.
func (f *faults) in(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			return f.apply(ctx, "Get", func() error { return c.Get(ctx, key, obj, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			return f.apply(ctx, "List", func() error { return c.List(ctx, list, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			return f.apply(ctx, "Create", func() error { return c.Create(ctx, obj, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			return f.apply(ctx, "Update", func() error { return c.Update(ctx, obj, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return f.apply(ctx, "Patch", func() error { return c.Patch(ctx, obj, patch, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			text, err := json.Marshal(obj)
			if err == nil {
				err = f.apply(ctx, "Apply", func() error { return c.Apply(ctx, obj, opts...) })
			}
			if err != nil { // a client decodes no answer that is lost
				reflect.ValueOf(obj).Elem().SetZero()
				if err := json.Unmarshal(text, obj); err != nil {
					return err
				}
			}
			return err
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			return f.apply(ctx, "Delete", func() error { return c.Delete(ctx, obj, opts...) })
		},
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteAllOfOption) error {
			return f.apply(ctx, "DeleteAllOf", func() error { return c.DeleteAllOf(ctx, obj, opts...) })
		},
		Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) (w watch.Interface, err error) {
			err = f.apply(ctx, "Watch", func() error { w, err = c.Watch(ctx, list, opts...); return err })
			return w, err
		},
		SubResourceGet: func(ctx context.Context, c client.Client, name string, obj, sub client.Object, opts ...client.SubResourceGetOption) error {
			return f.apply(ctx, name+".Get", func() error { return c.SubResource(name).Get(ctx, obj, sub, opts...) })
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, name string, obj, sub client.Object, opts ...client.SubResourceCreateOption) error {
			return f.apply(ctx, name+".Create", func() error { return c.SubResource(name).Create(ctx, obj, sub, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, name string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			return f.apply(ctx, name+".Update", func() error { return c.SubResource(name).Update(ctx, obj, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return f.apply(ctx, name+".Patch", func() error { return c.SubResource(name).Patch(ctx, obj, patch, opts...) })
		},
		SubResourceApply: func(ctx context.Context, c client.Client, name string, obj runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
			return f.apply(ctx, name+".Apply", func() error { return c.SubResource(name).Apply(ctx, obj, opts...) })
		},
	})
}

// cluster returns a fake with an object of each kind that the tests need.
func cluster() client.WithWatch {
	return builder().WithStatusSubresource(&corev1.Pod{}).WithObjects(
		configMap("x", "n", "0"),
		&corev1.Pod{ObjectMeta: meta("web-0")},
		&corev1.ServiceAccount{ObjectMeta: meta("robot")},
		&appsv1.Deployment{ObjectMeta: meta("web"), Spec: appsv1.DeploymentSpec{Replicas: ptr(int32(1))}},
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

// owned returns an object with a controller, as a controller creates it.
func owned[T client.Object](obj T) T {
	obj.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "owner", Controller: pointerTo(true)}})
	return obj
}

func pointerTo[T any](v T) *T { return &v }

func key(name string) client.ObjectKey { return client.ObjectKey{Namespace: "default", Name: name} }

// inVirtualTime runs a subtest in a synctest bubble.
func inVirtualTime(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// newClient returns a retrying client with faults, and the fake server of its inner client.
func newClient(f *faults) (c, server client.WithWatch) {
	server = cluster()
	return k8sretryctrl.NewClient(f.in(server)), server
}

func read(t *testing.T, c client.Client, name string) *corev1.ConfigMap {
	t.Helper()
	cm := &corev1.ConfigMap{}
	require.NoError(t, c.Get(t.Context(), key(name), cm))
	return cm
}

func asUnstructured(name string, data map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": data,
		"metadata": map[string]any{"name": name, "namespace": "default"},
	}}
}

// interruptFirstUpdate returns a retrying client for server. Its first update, of an object or a
// subresource, calls first and fails with an unknown outcome.
func interruptFirstUpdate(server client.WithWatch, first func(update func() error)) client.WithWatch {
	attempts := 0
	attempt := func(update func() error) error {
		if attempts++; attempts > 1 {
			return update()
		}
		first(update)
		return unknownOutcome()
	}
	return k8sretryctrl.NewClient(interceptor.NewClient(server, interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			return attempt(func() error { return c.Update(ctx, obj, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, name string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			return attempt(func() error { return c.SubResource(name).Update(ctx, obj, opts...) })
		},
	}))
}

// ownedBy adds a field owner below, as client.WithFieldOwner does, but keeps Watch.
func ownedBy(server client.WithWatch, owner client.FieldOwner) client.WithWatch {
	return interceptor.NewClient(server, interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			return client.WithFieldOwner(c, string(owner)).Update(ctx, obj, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return client.WithFieldOwner(c, string(owner)).Patch(ctx, obj, patch, opts...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return client.WithFieldOwner(c, string(owner)).Apply(ctx, obj, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, name string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			return client.WithFieldOwner(c, string(owner)).SubResource(name).Update(ctx, obj, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return client.WithFieldOwner(c, string(owner)).SubResource(name).Patch(ctx, obj, patch, opts...)
		},
	})
}

// alwaysOwnedBy replaces the field owner of the options of an update.
func alwaysOwnedBy(server client.WithWatch, owner client.FieldOwner) client.WithWatch {
	return interceptor.NewClient(server, interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			return c.Update(ctx, obj, append(opts[:len(opts):len(opts)], owner)...)
		},
	})
}

func ptr[T any](v T) *T { return &v }
