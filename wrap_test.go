// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	clienttesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
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

// gateway502 is a 502 as client-go returns that of a gateway.
func gateway502() error {
	return apierrors.NewGenericServerResponse(http.StatusBadGateway, "POST", corev1.Resource("pods"), "", "<html>bad gateway</html>", 0, true)
}

// The types of a method of a typed client tell its verb, for method values of client-go and of
// fakes alike.
func TestTheVerbOfAWrappedMethodComesFromItsTypes(t *testing.T) {
	cs := fake.NewClientset()
	pods, reviews := cs.CoreV1().Pods("default"), cs.AuthorizationV1().SelfSubjectAccessReviews()
	name := k8sretry.WithMaxRetries(0)
	for situation, c := range map[string]struct {
		verb k8sretry.Verb
		call func(opts ...k8sretry.Option) error
	}{
		"Get": {k8sretry.VerbGet, func(opts ...k8sretry.Option) error {
			_, err := k8sretry.Wrap2(pods.Get, opts...)(t.Context(), "x", metav1.GetOptions{})
			return err
		}},
		"List": {k8sretry.VerbList, func(opts ...k8sretry.Option) error {
			_, err := k8sretry.Wrap1(pods.List, opts...)(t.Context(), metav1.ListOptions{})
			return err
		}},
		"Watch": {k8sretry.VerbWatch, func(opts ...k8sretry.Option) error {
			_, err := k8sretry.Wrap1(pods.Watch, opts...)(t.Context(), metav1.ListOptions{})
			return err
		}},
		"Create": {k8sretry.VerbCreate, func(opts ...k8sretry.Option) error {
			_, err := k8sretry.Wrap2(pods.Create, opts...)(t.Context(), &corev1.Pod{}, metav1.CreateOptions{})
			return err
		}},
		"Update": {k8sretry.VerbUpdate, func(opts ...k8sretry.Option) error {
			_, err := k8sretry.Wrap2(pods.Update, opts...)(t.Context(), &corev1.Pod{}, metav1.UpdateOptions{})
			return err
		}},
		"UpdateStatus": {k8sretry.VerbUpdate, func(opts ...k8sretry.Option) error {
			_, err := k8sretry.Wrap2(pods.UpdateStatus, opts...)(t.Context(), &corev1.Pod{}, metav1.UpdateOptions{})
			return err
		}},
		"Apply": {k8sretry.VerbApply, func(opts ...k8sretry.Option) error {
			_, err := k8sretry.Wrap2(pods.Apply, opts...)(t.Context(), applycorev1.Pod("x", "default"), metav1.ApplyOptions{})
			return err
		}},
		"Delete": {k8sretry.VerbDelete, func(opts ...k8sretry.Option) error {
			return k8sretry.WrapRun2(pods.Delete, opts...)(t.Context(), "x", metav1.DeleteOptions{})
		}},
		"DeleteCollection": {k8sretry.VerbDeleteCollection, func(opts ...k8sretry.Option) error {
			return k8sretry.WrapRun2(pods.DeleteCollection, opts...)(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
		}},
		"EvictV1": {k8sretry.VerbCreate, func(opts ...k8sretry.Option) error {
			return k8sretry.WrapRun1(pods.EvictV1, opts...)(t.Context(), &policyv1.Eviction{})
		}},
		"Bind": {k8sretry.VerbCreate, func(opts ...k8sretry.Option) error {
			return k8sretry.WrapRun2(pods.Bind, opts...)(t.Context(), &corev1.Binding{}, metav1.CreateOptions{})
		}},
		"a review": {k8sretry.VerbUnspecified, func(opts ...k8sretry.Option) error {
			_, err := k8sretry.Wrap2(reviews.Create, opts...)(t.Context(), &authorizationv1.SelfSubjectAccessReview{}, metav1.CreateOptions{})
			return err
		}},
		"a function of a service": {k8sretry.VerbUnspecified, func(opts ...k8sretry.Option) error {
			_, err := k8sretry.Wrap2(func(context.Context, string, int) (int, error) { return 0, nil }, opts...)(t.Context(), "x", 1)
			return err
		}},
		"nil": {k8sretry.VerbUnspecified, func(opts ...k8sretry.Option) error {
			_, _ = k8sretry.Wrap1[metav1.ListOptions, watch.Interface](nil, opts...)(t.Context(), metav1.ListOptions{})
			return nil
		}},
	} {
		t.Run(situation, func(t *testing.T) {
			var seen recorder
			_ = c.call(name, k8sretry.WithObserver(&seen))
			for _, e := range seen.events {
				assert.Equal(t, c.verb, e.Verb)
			}
			// A given verb wins, also none.
			for _, given := range []k8sretry.Verb{k8sretry.VerbPatch, k8sretry.VerbUnspecified} {
				seen = recorder{}
				_ = c.call(name, k8sretry.WithObserver(&seen), k8sretry.WithVerb(given))
				for _, e := range seen.events {
					assert.Equal(t, given, e.Verb)
				}
			}
		})
	}
}

// A verb that is given decides, whatever the types of the function tell: also none, and also for
// functions whose types tell nothing, such as a patch.
func TestAGivenVerbDecidesForEachShapeOfFunction(t *testing.T) {
	ctx := t.Context()
	named, unnamed := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, &corev1.Pod{}
	type options = []k8sretry.Option
	for situation, c := range map[string]struct {
		call       func(send func() error, opts options) error
		seesObject bool // a create is repeated by name
	}{
		"any function": {func(send func() error, opts options) error {
			return k8sretry.WrapRun(func(context.Context) error { return send() }, opts...)(ctx)
		}, false},
		"a patch": {func(send func() error, opts options) error {
			_, err := k8sretry.Wrap2(func(context.Context, string, []byte) (int, error) { return 0, send() }, opts...)(ctx, "a", nil)
			return err
		}, false},
		"a get": {func(send func() error, opts options) error {
			_, err := k8sretry.Wrap2(func(context.Context, string, metav1.GetOptions) (int, error) { return 0, send() }, opts...)(ctx, "a", metav1.GetOptions{})
			return err
		}, false},
		"a list": {func(send func() error, opts options) error {
			_, err := k8sretry.Wrap1(func(context.Context, metav1.ListOptions) (int, error) { return 0, send() }, opts...)(ctx, metav1.ListOptions{})
			return err
		}, false},
		"an update": {func(send func() error, opts options) error {
			_, err := k8sretry.Wrap2(func(context.Context, *corev1.Pod, metav1.UpdateOptions) (int, error) { return 0, send() }, opts...)(ctx, named, metav1.UpdateOptions{})
			return err
		}, false},
		"a delete": {func(send func() error, opts options) error {
			return k8sretry.WrapRun2(func(context.Context, string, metav1.DeleteOptions) error { return send() }, opts...)(ctx, "a", metav1.DeleteOptions{})
		}, false},
		"a deletecollection": {func(send func() error, opts options) error {
			return k8sretry.WrapRun2(func(context.Context, metav1.DeleteOptions, metav1.ListOptions) error { return send() }, opts...)(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		}, false},
		"a review": {func(send func() error, opts options) error {
			review := &authenticationv1.TokenReview{ObjectMeta: named.ObjectMeta}
			_, err := k8sretry.Wrap2(func(context.Context, *authenticationv1.TokenReview, metav1.CreateOptions) (int, error) {
				return 0, send()
			}, opts...)(ctx, review, metav1.CreateOptions{})
			return err
		}, false},
		"a create without a name": {func(send func() error, opts options) error {
			_, err := k8sretry.Wrap2(func(context.Context, *corev1.Pod, metav1.CreateOptions) (int, error) { return 0, send() }, opts...)(ctx, unnamed, metav1.CreateOptions{})
			return err
		}, false},
		"a create": {func(send func() error, opts options) error {
			_, err := k8sretry.Wrap2(func(context.Context, *corev1.Pod, metav1.CreateOptions) (int, error) { return 0, send() }, opts...)(ctx, named, metav1.CreateOptions{})
			return err
		}, true},
		"a dynamic create": {func(send func() error, opts options) error {
			u := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "a"}}}
			_, err := k8sretry.Wrap2(func(context.Context, *unstructured.Unstructured, metav1.CreateOptions) (int, error) { return 0, send() }, opts...)(ctx, u, metav1.CreateOptions{})
			return err
		}, true},
		"an eviction": {func(send func() error, opts options) error {
			return k8sretry.WrapRun1(func(context.Context, *policyv1.Eviction) error { return send() }, opts...)(ctx, &policyv1.Eviction{ObjectMeta: named.ObjectMeta})
		}, true},
	} {
		for given := k8sretry.VerbUnspecified; given <= k8sretry.VerbDeleteCollection; given++ {
			attempts, unknown := 4, true
			switch given {
			case k8sretry.VerbCreate:
				if !c.seesObject {
					attempts = 1
				}
			case k8sretry.VerbDeleteCollection:
				attempts = 1
			case k8sretry.VerbGet, k8sretry.VerbList, k8sretry.VerbWatch:
				unknown = false
			}
			t.Run(fmt.Sprintf("%s, WithVerb(%q)", situation, given), func(t *testing.T) {
				sent := 0
				var seen recorder
				err := c.call(func() error { sent++; return gatewayTimeout() }, options{quickly, k8sretry.WithObserver(&seen), k8sretry.WithVerb(given)})
				assert.Equal(t, attempts, sent)
				assert.Equal(t, unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
				assert.NotEmpty(t, seen.events)
				for _, e := range seen.events {
					assert.Equal(t, given, e.Verb)
				}
			})
		}
	}
}

// A write that meets a 503 and then the 502 of a gateway succeeds with its third attempt, and
// is carried out once.
func TestWrappedWritesSurviveGateways(t *testing.T) {
	pod := func(name string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}
	}
	for situation, c := range map[string]struct {
		verb string
		call func(context.Context, *fake.Clientset) error
	}{
		"create": {"create", func(ctx context.Context, cs *fake.Clientset) error {
			_, err := k8sretry.Wrap2(cs.CoreV1().Pods("default").Create, k8sretry.ForWrite())(ctx, pod("web-1"), metav1.CreateOptions{})
			return err
		}},
		"create with a verb": {"create", func(ctx context.Context, cs *fake.Clientset) error {
			create := k8sretry.Wrap2(cs.CoreV1().Pods("default").Create, k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbCreate))
			_, err := create(ctx, pod("web-1"), metav1.CreateOptions{})
			return err
		}},
		"create with a preset for reads": {"create", func(ctx context.Context, cs *fake.Clientset) error {
			_, err := k8sretry.Wrap2(cs.CoreV1().Pods("default").Create, k8sretry.ForRead())(ctx, pod("web-1"), metav1.CreateOptions{})
			return err
		}},
		"update": {"update", func(ctx context.Context, cs *fake.Clientset) error {
			_, err := k8sretry.Wrap2(cs.CoreV1().Pods("default").Update, k8sretry.ForWrite())(ctx, pod("web-0"), metav1.UpdateOptions{})
			return err
		}},
		"delete": {"delete", func(ctx context.Context, cs *fake.Clientset) error {
			return k8sretry.WrapRun2(cs.CoreV1().Pods("default").Delete, k8sretry.ForWrite())(ctx, "web-0", metav1.DeleteOptions{})
		}},
		"evict": {"create", func(ctx context.Context, cs *fake.Clientset) error {
			eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}}
			return k8sretry.WrapRun1(cs.CoreV1().Pods("default").EvictV1, k8sretry.ForWrite())(ctx, eviction)
		}},
		"apply": {"patch", func(ctx context.Context, cs *fake.Clientset) error {
			apply := k8sretry.Wrap2(cs.CoreV1().Pods("default").Apply, k8sretry.ForWrite())
			_, err := apply(ctx, applycorev1.Pod("web-0", "default"), metav1.ApplyOptions{FieldManager: "test"})
			return err
		}},
		"create with a generated name": {"create", func(ctx context.Context, cs *fake.Clientset) error {
			generated := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "web-", Namespace: "default"}}
			_, err := k8sretry.Wrap2(cs.CoreV1().Pods("default").Create, k8sretry.ForWrite())(ctx, generated, metav1.CreateOptions{})
			return err
		}},
		"bind": {"create", func(ctx context.Context, cs *fake.Clientset) error {
			binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}}
			return k8sretry.WrapRun2(cs.CoreV1().Pods("default").Bind, k8sretry.ForWrite())(ctx, binding, metav1.CreateOptions{})
		}},
		"merge patch": {"patch", func(ctx context.Context, cs *fake.Clientset) error {
			_, err := k8sretry.Patch(ctx, cs.CoreV1().Pods("default"), "web-0", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{}, k8sretry.ForWrite())
			return err
		}},
		"safe create": {"create", func(ctx context.Context, cs *fake.Clientset) error {
			_, err := k8sretry.Create(ctx, cs.CoreV1().Pods("default"), pod("web-1"), metav1.CreateOptions{}, k8sretry.ForWrite())
			return err
		}},
		"safe update": {"update", func(ctx context.Context, cs *fake.Clientset) error {
			changed := pod("web-0")
			changed.Labels = map[string]string{"changed": "yes"}
			_, err := k8sretry.Update(ctx, cs.CoreV1().Pods("default"), changed, metav1.UpdateOptions{}, k8sretry.ForWrite())
			return err
		}},
		"safe delete": {"delete", func(ctx context.Context, cs *fake.Clientset) error {
			return k8sretry.Delete(ctx, cs.CoreV1().Pods("default"), pod("web-0"), metav1.DeleteOptions{}, k8sretry.ForWrite())
		}},
		"safe evict": {"create", func(ctx context.Context, cs *fake.Clientset) error {
			return k8sretry.Evict(ctx, cs.CoreV1().Pods("default"), pod("web-0"), metav1.DeleteOptions{}, k8sretry.ForWrite())
		}},
		"safe apply": {"patch", func(ctx context.Context, cs *fake.Clientset) error {
			_, err := k8sretry.Apply(ctx, cs.CoreV1().Pods("default"), applycorev1.Pod("web-0", "default"), metav1.ApplyOptions{FieldManager: "test"}, k8sretry.ForWrite())
			return err
		}},
	} {
		t.Run(situation, func(t *testing.T) {
			cs := fake.NewClientset(pod("web-0"))
			attempts := 0
			cs.PrependReactor(c.verb, "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
				attempts++
				return attempts <= 2, nil, []error{unavailable(), gateway502(), nil}[attempts-1]
			})
			synctest.Test(t, func(t *testing.T) {
				require.NoError(t, c.call(t.Context(), cs))
			})
			assert.Equal(t, 3, attempts)
			all, err := cs.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
			require.NoError(t, err)
			objects := 1
			switch {
			case strings.Contains(situation, "create"):
				objects = 2
			case strings.Contains(situation, "delete"):
				objects = 0
			}
			assert.Len(t, all.Items, objects)
		})
	}
}

// losing is an API server for pods over a fake clientset. It carries out each write, and loses
// the answer to the first.
type losing struct {
	*fake.Clientset
	lose    func(http.ResponseWriter)
	writes  int      // carried out
	created []string // names
}

func newLosing(lose func(http.ResponseWriter)) *losing {
	s := &losing{Clientset: fake.NewClientset(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default", Annotations: map[string]string{"a": "0"}, Finalizers: []string{"x/first"}},
	}), lose: lose}
	k8sretrytest.EmulateServer(&s.Fake)
	return s
}

func (s *losing) serve(w http.ResponseWriter, r *http.Request, _ int, body string) {
	object, err := s.carryOut(r, body)
	if err == nil && r.Method != http.MethodGet {
		if s.writes++; s.writes == 1 {
			s.lose(w)
			return
		}
	}
	if err != nil {
		st := err.(*apierrors.StatusError).ErrStatus
		st.Kind, st.APIVersion = "Status", "v1"
		write(w, int(st.Code), st)
		return
	}
	write(w, http.StatusOK, object)
}

func (s *losing) carryOut(r *http.Request, body string) (object any, err error) {
	ctx, pods := r.Context(), s.CoreV1().Pods("default")
	decode := func(into any) {
		if body != "" {
			if err := json.Unmarshal([]byte(body), into); err != nil {
				panic(err)
			}
		}
	}
	_, rest, _ := strings.Cut(r.URL.Path, "/pods")
	name, sub, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	done := metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess}
	defer func() {
		if p, ok := object.(*corev1.Pod); ok && p != nil {
			p.Kind, p.APIVersion = "Pod", "v1"
		}
	}()
	switch {
	case r.URL.Query().Get("watch") != "":
		return nil, apierrors.NewResourceExpired("too old resource version")
	case r.Method == http.MethodGet:
		return pods.Get(ctx, name, metav1.GetOptions{})
	case r.Method == http.MethodPost && sub == "eviction":
		var eviction policyv1.Eviction
		decode(&eviction)
		options := metav1.DeleteOptions{}
		if eviction.DeleteOptions != nil {
			options = *eviction.DeleteOptions
		}
		return done, pods.Delete(ctx, name, options)
	case r.Method == http.MethodPost && sub == "binding":
		var binding corev1.Binding
		decode(&binding)
		pod, err := pods.Get(ctx, name, metav1.GetOptions{})
		if err == nil && pod.Spec.NodeName != "" {
			err = apierrors.NewConflict(corev1.Resource("pods/binding"), name, errors.New("pod web-0 is already assigned to node"))
		}
		if err != nil {
			return nil, err
		}
		pod.Spec.NodeName = binding.Target.Name
		_, err = pods.Update(ctx, pod, metav1.UpdateOptions{})
		return done, err
	case r.Method == http.MethodPost:
		pod := new(corev1.Pod)
		decode(pod)
		pod, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		if err == nil {
			s.created = append(s.created, pod.Name)
		}
		return pod, err
	case r.Method == http.MethodPut:
		pod := new(corev1.Pod)
		decode(pod)
		return pods.Update(ctx, pod, metav1.UpdateOptions{})
	case r.Method == http.MethodDelete:
		options := metav1.DeleteOptions{}
		decode(&options)
		return done, pods.Delete(ctx, name, options)
	}
	options := metav1.PatchOptions{FieldManager: r.URL.Query().Get("fieldManager")}
	return pods.Patch(ctx, name, types.PatchType(r.Header.Get("Content-Type")), []byte(body), options)
}

// The first answer to a write is lost after the commit, over HTTP. Whatever the verb, the
// write has its effect once, and the call succeeds or says that its outcome is unknown.
func TestAWriteWhoseAnswerIsLostIsNeverCarriedOutTwice(t *testing.T) {
	const label = `{"metadata":{"labels":{"a":"b"}}}`
	versioned := func(pod *corev1.Pod) string {
		return fmt.Sprintf(`{"metadata":{"resourceVersion":%q,"labels":{"a":"b"}}}`, pod.ResourceVersion)
	}
	patch := func(kind types.PatchType, body func(*corev1.Pod) string) func(context.Context, typedcorev1.PodInterface, *corev1.Pod) error {
		return func(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) error {
			_, err := k8sretry.Patch(ctx, pods, pod.Name, kind, []byte(body(pod)), metav1.PatchOptions{FieldManager: "test"}, k8sretry.ForWrite())
			return err
		}
	}
	plainPatch := func(kind types.PatchType, body func(*corev1.Pod) string) func(context.Context, typedcorev1.PodInterface, *corev1.Pod) error {
		return func(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) error {
			_, err := pods.Patch(ctx, pod.Name, kind, []byte(body(pod)), metav1.PatchOptions{FieldManager: "test"})
			return err
		}
	}
	text := func(s string) func(*corev1.Pod) string { return func(*corev1.Pod) string { return s } }
	named := func() *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "default"}}
	}
	generated := func() *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "web-", Namespace: "default"}}
	}
	labeled := func(pod *corev1.Pod) *corev1.Pod {
		pod = pod.DeepCopy()
		pod.Labels = map[string]string{"a": "b"}
		return pod
	}
	eviction := func(pod *corev1.Pod) *policyv1.Eviction {
		return &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace}}
	}
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}, Target: corev1.ObjectReference{Kind: "Node", Name: "n"}}
	configuration := func() *applycorev1.PodApplyConfiguration {
		return applycorev1.Pod("web-0", "default").WithLabels(map[string]string{"a": "b"})
	}
	const jsonTest = `[{"op":"test","path":"/metadata/annotations/a","value":"0"},{"op":"replace","path":"/metadata/annotations/a","value":"1"}]`
	const (
		wrapped = iota // in a Wrap function
		safe           // a safe write, which succeeds
		unsure         // a safe write that cannot tell
		plain          // only over a Transport
	)
	for situation, c := range map[string]struct {
		how  int
		call func(context.Context, typedcorev1.PodInterface, *corev1.Pod) error
	}{
		"create, wrapped": {wrapped, func(ctx context.Context, pods typedcorev1.PodInterface, _ *corev1.Pod) error {
			_, err := k8sretry.Wrap2(pods.Create, k8sretry.ForWrite())(ctx, named(), metav1.CreateOptions{})
			return err
		}},
		"create, safe": {safe, func(ctx context.Context, pods typedcorev1.PodInterface, _ *corev1.Pod) error {
			_, err := k8sretry.Create(ctx, pods, named(), metav1.CreateOptions{}, k8sretry.ForWrite())
			return err
		}},
		"create, plain": {plain, func(ctx context.Context, pods typedcorev1.PodInterface, _ *corev1.Pod) error {
			_, err := pods.Create(ctx, named(), metav1.CreateOptions{})
			return err
		}},
		"create with generateName, wrapped": {wrapped, func(ctx context.Context, pods typedcorev1.PodInterface, _ *corev1.Pod) error {
			_, err := k8sretry.Wrap2(pods.Create, k8sretry.ForWrite())(ctx, generated(), metav1.CreateOptions{})
			return err
		}},
		"create with generateName, safe": {safe, func(ctx context.Context, pods typedcorev1.PodInterface, _ *corev1.Pod) error {
			_, err := k8sretry.Create(ctx, pods, generated(), metav1.CreateOptions{}, k8sretry.ForWrite())
			return err
		}},
		"create with generateName, plain": {plain, func(ctx context.Context, pods typedcorev1.PodInterface, _ *corev1.Pod) error {
			_, err := pods.Create(ctx, generated(), metav1.CreateOptions{})
			return err
		}},
		"update, wrapped": {wrapped, func(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) error {
			_, err := k8sretry.Wrap2(pods.Update, k8sretry.ForWrite())(ctx, labeled(pod), metav1.UpdateOptions{})
			return err
		}},
		"update, safe": {safe, func(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) error {
			_, err := k8sretry.Update(ctx, pods, labeled(pod), metav1.UpdateOptions{}, k8sretry.ForWrite())
			return err
		}},
		"update, plain": {plain, func(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) error {
			_, err := pods.Update(ctx, labeled(pod), metav1.UpdateOptions{})
			return err
		}},
		"delete, wrapped": {wrapped, func(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) error {
			return k8sretry.WrapRun2(pods.Delete, k8sretry.ForWrite())(ctx, pod.Name, metav1.DeleteOptions{})
		}},
		"delete, safe": {safe, func(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) error {
			return k8sretry.Delete(ctx, pods, pod, metav1.DeleteOptions{}, k8sretry.ForWrite())
		}},
		"delete, plain": {plain, func(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) error {
			return pods.Delete(ctx, pod.Name, metav1.DeleteOptions{})
		}},
		"evict, wrapped": {wrapped, func(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) error {
			return k8sretry.WrapRun1(pods.EvictV1, k8sretry.ForWrite())(ctx, eviction(pod))
		}},
		"evict, safe": {safe, func(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) error {
			return k8sretry.Evict(ctx, pods, pod, metav1.DeleteOptions{}, k8sretry.ForWrite())
		}},
		"evict, plain": {plain, func(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) error {
			return pods.EvictV1(ctx, eviction(pod))
		}},
		"bind, wrapped": {wrapped, func(ctx context.Context, pods typedcorev1.PodInterface, _ *corev1.Pod) error {
			return k8sretry.WrapRun2(pods.Bind, k8sretry.ForWrite())(ctx, binding, metav1.CreateOptions{})
		}},
		"bind, plain": {plain, func(ctx context.Context, pods typedcorev1.PodInterface, _ *corev1.Pod) error {
			return pods.Bind(ctx, binding, metav1.CreateOptions{})
		}},
		"apply, wrapped": {safe, func(ctx context.Context, pods typedcorev1.PodInterface, _ *corev1.Pod) error {
			_, err := k8sretry.Wrap2(pods.Apply, k8sretry.ForWrite())(ctx, configuration(), metav1.ApplyOptions{FieldManager: "test"})
			return err
		}},
		"apply, safe": {safe, func(ctx context.Context, pods typedcorev1.PodInterface, _ *corev1.Pod) error {
			_, err := k8sretry.Apply(ctx, pods, configuration(), metav1.ApplyOptions{FieldManager: "test"}, k8sretry.ForWrite())
			return err
		}},
		"apply that names a version, safe": {unsure, func(ctx context.Context, pods typedcorev1.PodInterface, pod *corev1.Pod) error {
			_, err := k8sretry.Apply(ctx, pods, configuration().WithResourceVersion(pod.ResourceVersion), metav1.ApplyOptions{FieldManager: "test"}, k8sretry.ForWrite())
			return err
		}},
		"merge patch, safe":               {safe, patch(types.MergePatchType, text(label))},
		"merge patch, plain":              {plain, plainPatch(types.MergePatchType, text(label))},
		"merge patch of a version, safe":  {unsure, patch(types.MergePatchType, versioned)},
		"merge patch of a version, plain": {plain, plainPatch(types.MergePatchType, versioned)},
		"strategic patch, safe":           {safe, patch(types.StrategicMergePatchType, text(label))},
		"strategic patch, plain":          {plain, plainPatch(types.StrategicMergePatchType, text(label))},
		"JSON patch that appends, safe":   {unsure, patch(types.JSONPatchType, text(`[{"op":"add","path":"/metadata/finalizers/-","value":"x/y"}]`))},
		"JSON patch that appends, plain":  {plain, plainPatch(types.JSONPatchType, text(`[{"op":"add","path":"/metadata/finalizers/-","value":"x/y"}]`))},
		"JSON patch with a test, safe":    {unsure, patch(types.JSONPatchType, text(jsonTest))},
		"JSON patch with a test, plain":   {plain, plainPatch(types.JSONPatchType, text(jsonTest))},
		"apply patch, safe":               {safe, patch(types.ApplyPatchType, text(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-0","namespace":"default","labels":{"a":"b"}}}`))},
	} {
		for loss, lose := range map[string]func(http.ResponseWriter){
			"connection closed": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
			"504":               func(w http.ResponseWriter) { w.WriteHeader(http.StatusGatewayTimeout) },
			"truncated": func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(w, `{"kind":"Pod",`)
			},
		} {
			for _, over := range []string{"", "over a Transport"} {
				if c.how == plain && over == "" {
					continue
				}
				t.Run(strings.Join([]string{situation, loss, over}, ", "), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := newLosing(lose)
						var server *api
						server = serveInMemory(t, protoHTTP1, func(w http.ResponseWriter, r *http.Request, n int) {
							_, body, _ := strings.Cut(server.seen()[n-1], " ")
							s.serve(w, r, n, body)
						})
						var wrappers []func(http.RoundTripper) http.RoundTripper
						if over != "" {
							wrappers = append(wrappers, wrapper(t, k8sretry.ForWrite()))
						}
						config := server.config()
						config.ContentType = "application/json"
						client := clientset(t, config, wrappers...).CoreV1().Pods("default")
						pod, err := client.Get(t.Context(), "web-0", metav1.GetOptions{})
						require.NoError(t, err)
						if strings.HasPrefix(situation, "delete") || strings.HasPrefix(situation, "evict") {
							_, err := s.CoreV1().Pods("default").Patch(t.Context(), "web-0", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
							require.NoError(t, err)
						}

						err = c.call(t.Context(), client, pod)
						switch {
						case c.how == safe:
							assert.NoError(t, err)
						case c.how == unsure:
							requireUnknown(t, err)
						case err == nil, errors.Is(err, k8sretry.ErrOutcomeUnknown):
						case c.how == plain && k8sretry.Classify(err).Outcome != k8sretry.OutcomeNotExecuted: // the last answer says so
						case c.how == plain && apierrors.IsNotFound(err): // of a delete, for --ignore-not-found
						default:
							assert.NoError(t, err)
						}

						if strings.HasPrefix(situation, "create") {
							assert.Len(t, s.created, 1)
							return
						}
						now, err := s.CoreV1().Pods("default").Get(t.Context(), "web-0", metav1.GetOptions{})
						if strings.HasPrefix(situation, "delete") || strings.HasPrefix(situation, "evict") {
							assert.True(t, apierrors.IsNotFound(err))
							assert.Equal(t, 1, s.writes)
							return
						}
						require.NoError(t, err)
						switch {
						case strings.Contains(situation, "appends"):
							assert.Equal(t, []string{"x/first", "x/y"}, now.Finalizers)
						case strings.Contains(situation, "test"):
							assert.Equal(t, "1", now.Annotations["a"])
							assert.Equal(t, 1, s.writes)
						case strings.HasPrefix(situation, "bind"):
							assert.Equal(t, "n", now.Spec.NodeName)
							assert.Equal(t, 1, s.writes)
						default:
							assert.Equal(t, "b", now.Labels["a"])
						}
					})
				})
			}
		}
	}
}

// store is a server of pods whose answers to creates can get lost after the commit.
type store struct {
	pods map[string]*corev1.Pod
	lose int // answers still to lose
	sent []*corev1.Pod
}

func (s *store) create(_ context.Context, pod *corev1.Pod, _ metav1.CreateOptions) (*corev1.Pod, error) {
	s.sent = append(s.sent, pod)
	name := pod.Name
	if name == "" {
		name = pod.GenerateName + "random" + string(rune('a'+len(s.pods)))
	}
	if s.pods[name] != nil {
		return nil, apierrors.NewAlreadyExists(corev1.Resource("pods"), name)
	}
	stored := pod.DeepCopy()
	stored.Name, stored.UID = name, "1"
	s.pods[name] = stored
	if s.lose--; s.lose >= 0 {
		return nil, gatewayTimeout()
	}
	return stored, nil
}

// What is assumed: two requests with the same name cannot make two objects, and two without
// a name can.
func TestAWrappedCreateIsNeverCarriedOutTwice(t *testing.T) {
	for situation, c := range map[string]struct {
		meta    metav1.ObjectMeta
		lose    int
		opts    []k8sretry.Option
		sends   int
		objects int
		err     func(error) bool
	}{
		"a name, nothing lost":            {metav1.ObjectMeta{Name: "a"}, 0, nil, 1, 1, nil},
		"a name, an answer lost":          {metav1.ObjectMeta{Name: "a"}, 1, nil, 2, 1, apierrors.IsAlreadyExists},
		"GenerateName, nothing lost":      {metav1.ObjectMeta{GenerateName: "a-"}, 0, nil, 1, 1, nil},
		"GenerateName, an answer lost":    {metav1.ObjectMeta{GenerateName: "a-"}, 1, nil, 2, 1, apierrors.IsAlreadyExists},
		"both":                            {metav1.ObjectMeta{Name: "a", GenerateName: "b-"}, 1, nil, 2, 1, apierrors.IsAlreadyExists},
		"no name, an answer lost":         {metav1.ObjectMeta{}, 1, nil, 1, 1, apierrors.IsTimeout},
		"the caller says it is safe":      {metav1.ObjectMeta{GenerateName: "a-"}, 1, []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbUnspecified)}, 2, 2, nil},
		"the caller says it is a create":  {metav1.ObjectMeta{GenerateName: "a-"}, 1, []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate)}, 2, 1, apierrors.IsAlreadyExists},
		"a preset for reads changes none": {metav1.ObjectMeta{GenerateName: "a-"}, 1, []k8sretry.Option{k8sretry.ForRead()}, 2, 1, apierrors.IsAlreadyExists},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &store{pods: map[string]*corev1.Pod{}, lose: c.lose}
				pod := &corev1.Pod{ObjectMeta: c.meta}
				before := pod.DeepCopy()
				_, err := k8sretry.Wrap2(s.create, c.opts...)(t.Context(), pod, metav1.CreateOptions{})
				if c.err == nil {
					require.NoError(t, err)
				} else {
					assert.True(t, c.err(err), "%v", err)
					assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				}
				assert.Len(t, s.sent, c.sends)
				assert.Len(t, s.pods, c.objects)
				assert.Equal(t, before, pod, "the caller's object is not changed")
			})
		})
	}
}

// A collection may hold objects by now that it did not hold before.
func TestAWrappedDeleteCollectionStopsIfItsOutcomeIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		deleteAll := func(context.Context, metav1.DeleteOptions, metav1.ListOptions) error {
			attempts++
			return unavailable()
		}
		err := k8sretry.WrapRun2(deleteAll, k8sretry.ForWrite())(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, 1, attempts)
	})
}

func TestANameIsDrawnForEachCall(t *testing.T) {
	s := &store{pods: map[string]*corev1.Pod{}}
	create := k8sretry.Wrap2(s.create)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "web-"}}
	for range 20 {
		_, err := create(t.Context(), pod, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	assert.Len(t, s.pods, 20)
	for name := range s.pods {
		assert.Regexp(t, `^web-[a-z0-9]{10}$`, name)
	}
}

func TestAWrappedCreateOfNil(t *testing.T) {
	called := 0
	create := k8sretry.Wrap2(func(context.Context, *corev1.Pod, metav1.CreateOptions) (*corev1.Pod, error) {
		called++
		return nil, nil
	})
	_, err := create(t.Context(), nil, metav1.CreateOptions{})
	assert.NoError(t, err)
	assert.Equal(t, 1, called, "what a nil object means is the client's business")
}

// Reviews and token requests store nothing, and their outcome is never unknown.
func TestReviewsAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		review := func(context.Context, *authenticationv1.TokenReview, metav1.CreateOptions) (*authenticationv1.TokenReview, error) {
			if attempts++; attempts == 1 {
				return nil, gatewayTimeout()
			}
			return nil, status(403, metav1.StatusReasonForbidden)
		}
		began := time.Now()
		_, err := k8sretry.Wrap2(review)(t.Context(), &authenticationv1.TokenReview{}, metav1.CreateOptions{})
		assert.True(t, apierrors.IsForbidden(err))
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, 2, attempts)
		assert.Positive(t, time.Since(began))
	})
}

type copiedAsBase struct {
	corev1.ConfigMap
	Extra string
}

type holding struct{ *corev1.ConfigMap }

// An object whose copy is of another type is sent as it is.
func TestAWrappedCreateOfATypeThatEmbedsAnObject(t *testing.T) {
	named := metav1.ObjectMeta{GenerateName: "a-"}
	calls := 0
	create := k8sretry.Wrap2(func(context.Context, *copiedAsBase, metav1.CreateOptions) (int, error) { calls++; return 1, nil })
	_, err := create(t.Context(), &copiedAsBase{ConfigMap: corev1.ConfigMap{ObjectMeta: named}}, metav1.CreateOptions{})
	assert.NoError(t, err)
	value := k8sretry.Wrap2(func(context.Context, holding, metav1.CreateOptions) (int, error) { calls++; return 1, nil })
	_, err = value(t.Context(), holding{}, metav1.CreateOptions{})
	assert.NoError(t, err)
	assert.Equal(t, 2, calls)
}
