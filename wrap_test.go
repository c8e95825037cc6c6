package k8sretry_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
)

// failingTwice returns a fake clientset in which the first two calls of a verb on pods
// fail.
func failingTwice(verb string) *fake.Clientset {
	cs := fake.NewClientset(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}})
	n := 0
	cs.PrependReactor(verb, "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		n++
		return n <= 2, nil, unavailable()
	})
	return cs
}

// A unit test as users write it: no real waiting.
func TestWrappedGetOfAFakeClientset(t *testing.T) {
	cs := failingTwice("get") // outside of the bubble: it starts a goroutine of its own
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		var seen recorder
		get := k8sretry.Wrap2(cs.CoreV1().Pods("default").Get, k8sretry.ForRead(), k8sretry.WithObserver(&seen))
		start := time.Now()
		pod, err := get(t.Context(), "web-0", metav1.GetOptions{})
		require.NoError(t, err)
		assert.Equal(t, "web-0", pod.Name)
		assert.GreaterOrEqual(t, time.Since(start), 3*time.Second, "1 s and 2 s of virtual time")
		last := seen.last(t)
		assert.Equal(t, k8sretry.EventSuccess, last.Kind)
		assert.Equal(t, 3, last.Attempt)
		assert.Equal(t, "PodInterface.Get", last.Function)
	})
	assert.Less(t, time.Since(began), 30*time.Second, "no real waiting")
}

// Method values of typed clients wrap without a closure, type parameters inferred.
func TestMethodValuesOfTypedClients(t *testing.T) {
	opts := []k8sretry.Option{k8sretry.ForWrite()}
	newPod := func() *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "default"}}
	}
	for verb, call := range map[string]func(context.Context, *fake.Clientset) error{
		"list": func(ctx context.Context, cs *fake.Clientset) error {
			list, err := k8sretry.Wrap1(cs.CoreV1().Pods("default").List, opts...)(ctx, metav1.ListOptions{})
			if err == nil {
				assert.Len(t, list.Items, 1)
			}
			return err
		},
		"create": func(ctx context.Context, cs *fake.Clientset) error {
			_, err := k8sretry.Wrap2(cs.CoreV1().Pods("default").Create, opts...)(ctx, newPod(), metav1.CreateOptions{})
			return err
		},
		"update": func(ctx context.Context, cs *fake.Clientset) error {
			pod := newPod()
			pod.Name = "web-0"
			_, err := k8sretry.Wrap2(cs.CoreV1().Pods("default").Update, opts...)(ctx, pod, metav1.UpdateOptions{})
			return err
		},
		"delete": func(ctx context.Context, cs *fake.Clientset) error {
			return k8sretry.WrapRun2(cs.CoreV1().Pods("default").Delete, opts...)(ctx, "web-0", metav1.DeleteOptions{})
		},
	} {
		t.Run(verb, func(t *testing.T) {
			cs := failingTwice(verb)
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				require.NoError(t, call(t.Context(), cs))
				assert.GreaterOrEqual(t, time.Since(start), 6*time.Second, "the third attempt after 2 s and 4 s")
			})
		})
	}
}

type service struct{ *script }

func (s *service) Load(ctx context.Context) (string, error)                   { return s.get(ctx) }
func (s *service) Load1(ctx context.Context, _ string) (string, error)        { return s.get(ctx) }
func (s *service) Load2(ctx context.Context, _ string, _ int) (string, error) { return s.get(ctx) }
func (s *service) Run(ctx context.Context) error                              { _, err := s.get(ctx); return err }
func (s *service) Run1(ctx context.Context, _ string) error                   { _, err := s.get(ctx); return err }
func (s *service) Run2(ctx context.Context, _ string, _ int) error            { _, err := s.get(ctx); return err }

// Each of the Wrap functions retries, names the function that it wraps, and keeps nothing
// from one call to the next.
func TestWrapFamily(t *testing.T) {
	none := k8sretry.WithMaxRetries(0)
	for want, wrap := range map[string]func(*service, ...k8sretry.Option) func(context.Context) error{
		"service.Load": func(s *service, opts ...k8sretry.Option) func(context.Context) error {
			f := k8sretry.Wrap(s.Load, opts...)
			return func(ctx context.Context) error { _, err := f(ctx); return err }
		},
		"service.Load1": func(s *service, opts ...k8sretry.Option) func(context.Context) error {
			f := k8sretry.Wrap1(s.Load1, opts...)
			return func(ctx context.Context) error { _, err := f(ctx, ""); return err }
		},
		"service.Load2": func(s *service, opts ...k8sretry.Option) func(context.Context) error {
			f := k8sretry.Wrap2(s.Load2, opts...)
			return func(ctx context.Context) error { _, err := f(ctx, "", 0); return err }
		},
		"service.Run": func(s *service, opts ...k8sretry.Option) func(context.Context) error {
			return k8sretry.WrapRun(s.Run, opts...)
		},
		"service.Run1": func(s *service, opts ...k8sretry.Option) func(context.Context) error {
			f := k8sretry.WrapRun1(s.Run1, opts...)
			return func(ctx context.Context) error { return f(ctx, "") }
		},
		"service.Run2": func(s *service, opts ...k8sretry.Option) func(context.Context) error {
			f := k8sretry.WrapRun2(s.Run2, opts...)
			return func(ctx context.Context) error { return f(ctx, "", 0) }
		},
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &service{fails(times(2, tooMany(0))...)}
				call := wrap(s, k8sretry.WithVerb(k8sretry.VerbGet))
				require.NoError(t, call(t.Context()))
				assert.Equal(t, 3, s.attempts())
				require.NoError(t, call(t.Context()))
				assert.Equal(t, 4, s.attempts())

				err := wrap(&service{fails(tooMany(0))}, none)(t.Context())
				assert.Equal(t, want, asError(t, err).Function)
				err = wrap(&service{fails(tooMany(0))}, none, k8sretry.WithName("load_database"))(t.Context())
				assert.Equal(t, "load_database", asError(t, err).Function, "WithName comes first")
			})
		})
	}
}

func TestWrapNil(t *testing.T) {
	ctx, want := t.Context(), "k8sretry: the function to call is nil"
	_, err := k8sretry.Wrap[int](nil)(ctx)
	assert.EqualError(t, err, want)
	_, err = k8sretry.Wrap1[int, int](nil)(ctx, 1)
	assert.EqualError(t, err, want)
	_, err = k8sretry.Wrap2[int, int, int](nil)(ctx, 1, 2)
	assert.EqualError(t, err, want)
	assert.EqualError(t, k8sretry.WrapRun(nil)(ctx), want)
	assert.EqualError(t, k8sretry.WrapRun1[int](nil)(ctx, 1), want)
	assert.EqualError(t, k8sretry.WrapRun2[int, int](nil)(ctx, 1, 2), want)
}
