// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestEveryMethodRetriesACallThatWasNotExecuted(t *testing.T) {
	for _, m := range methods() {
		inVirtualTime(t, m.name+" "+m.verb.String(), func(t *testing.T) {
			f := &faults{only: m.name, err: m.notExecuted(), fail: 2}
			var events k8sretrytest.Recorder
			c := k8sretryctrl.NewClient(f.in(cluster()), k8sretry.WithObserver(&events))
			begin := time.Now()
			require.NoError(t, m.call(t.Context(), c))
			assert.Equal(t, 3, f.count(m.name))
			assert.GreaterOrEqual(t, time.Since(begin), 600*time.Millisecond, "0.2 s and 0.4 s")
			for _, e := range events.Events() {
				assert.Equal(t, m.function, e.Function)
				assert.Equal(t, m.verb, e.Verb)
			}
			assert.Len(t, events.Events(), 3)
		})
	}
}

// A second execution of some methods would have a further effect.
func TestSomeMethodsStopAfterAnUnknownOutcome(t *testing.T) {
	for _, m := range methods() {
		inVirtualTime(t, m.name+" "+m.verb.String(), func(t *testing.T) {
			f := &faults{only: m.name, err: unknownOutcome, fail: 2}
			err := m.call(t.Context(), k8sretryctrl.NewClient(f.in(cluster())))
			if m.retryUnknown {
				require.NoError(t, err)
				assert.Equal(t, 3, f.count(m.name))
				return
			}
			assert.Equal(t, 1, f.count(m.name))
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.True(t, apierrors.IsTimeout(err))
			var e *k8sretry.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, k8sretry.StopOutcomeUnknown, e.StopReason)
			assert.Equal(t, m.verb, e.Verb)
			assert.Equal(t, m.function, e.Function)
			assert.Equal(t, 1, e.Attempts)
		})
	}
}

func TestEveryMethodReturnsAPermanentErrorUnchanged(t *testing.T) {
	for _, m := range methods() {
		inVirtualTime(t, m.name+" "+m.verb.String(), func(t *testing.T) {
			permanent := m.denied()
			f := &faults{only: m.name, err: func() error { return permanent }, fail: 1}
			begin := time.Now()
			assert.Same(t, permanent, m.call(t.Context(), k8sretryctrl.NewClient(f.in(cluster()))))
			assert.Equal(t, []string{m.name}, f.all())
			assert.Zero(t, time.Since(begin))
		})
	}
}

func TestEveryMethodGivesUpWithTheLastAPIError(t *testing.T) {
	for _, m := range methods() {
		inVirtualTime(t, m.name+" "+m.verb.String(), func(t *testing.T) {
			f := &faults{only: m.name, err: m.notExecuted(), fail: 1000}
			err := m.call(t.Context(), k8sretryctrl.NewClient(f.in(cluster()), k8sretry.WithMaxRetries(2)))
			assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
			assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.Equal(t, apierrors.ReasonForError(m.notExecuted()()), apierrors.ReasonForError(err))
			assert.Equal(t, 3, f.count(m.name))
		})
	}
}

func TestEveryMethodCallsTheInnerClientOnce(t *testing.T) {
	for _, m := range methods() {
		f := &faults{}
		require.NoError(t, m.call(t.Context(), k8sretryctrl.NewClient(f.in(cluster()))), m.name)
		assert.Equal(t, []string{m.name}, f.all())
	}
}

func TestReadsAndWritesHaveThePolicyOfTheirPreset(t *testing.T) {
	for _, c := range []struct {
		situation string
		opts      []k8sretry.Option
		method    string
		attempts  int
	}{
		{"a read", nil, "Get", 4},
		{"a write", nil, "Patch", 6},
		{"a read with options", []k8sretry.Option{k8sretry.ForMaintenance(), k8sretry.WithMaxElapsed(0)}, "Get", 11},
		{"a write with options", []k8sretry.Option{k8sretry.ForMaintenance(), k8sretry.WithMaxElapsed(0)}, "Patch", 11},
		{"WithVerb has no effect", []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate)}, "Patch", 6},
	} {
		inVirtualTime(t, c.situation, func(t *testing.T) {
			f := &faults{err: unknownOutcome, fail: 1000}
			client := k8sretryctrl.NewClient(f.in(cluster()), c.opts...)
			for _, m := range methods() {
				if m.name == c.method && m.retryUnknown && (m.verb == k8sretry.VerbPatch || m.verb == k8sretry.VerbGet) {
					require.ErrorIs(t, m.call(t.Context(), client), k8sretry.ErrMaxRetries)
					break
				}
			}
			assert.Equal(t, c.attempts, f.count(c.method))
		})
	}
	t.Run("WithName takes precedence", func(t *testing.T) {
		var events k8sretrytest.Recorder
		c := k8sretryctrl.NewClient(cluster(), k8sretry.WithName("mine"), k8sretry.WithObserver(&events))
		require.NoError(t, c.Get(t.Context(), key("x"), &corev1.ConfigMap{}))
		assert.Equal(t, "mine", events.Events()[0].Function)
	})
}

func TestWritesThatStoreNothingAreRetriedAfterAnUnknownOutcome(t *testing.T) {
	for situation, call := range map[string]func(context.Context, client.WithWatch) error{
		"dry run of a create": func(ctx context.Context, c client.WithWatch) error {
			return c.Create(ctx, configMap("new"), client.DryRunAll)
		},
		"dry run of an update": func(ctx context.Context, c client.WithWatch) error {
			return c.Update(ctx, configMap("x"), client.DryRunAll)
		},
		"dry run of a delete": func(ctx context.Context, c client.WithWatch) error {
			return c.Delete(ctx, configMap("x"), client.DryRunAll)
		},
		"dry run of a status update": func(ctx context.Context, c client.WithWatch) error {
			return c.Status().Update(ctx, pod(), client.DryRunAll)
		},
		"dry run of an eviction": func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("eviction").Create(ctx, pod(), evictionOf(""), client.DryRunAll)
		},
		"a dry-run client": func(ctx context.Context, c client.WithWatch) error {
			return client.NewDryRunClient(c).Patch(ctx, configMap("x"), jsonPatch())
		},
		"a review": func(ctx context.Context, c client.WithWatch) error {
			return c.Create(ctx, &authorizationv1.SelfSubjectAccessReview{})
		},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			f := &faults{err: unknownOutcome, fail: 1000}
			err := call(t.Context(), k8sretryctrl.NewClient(f.in(cluster())))
			assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
			assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.Len(t, f.all(), 6)
		})
	}
	t.Run("a review has no annotation", func(t *testing.T) {
		var sent client.Object
		c := interceptor.NewClient(cluster(), interceptor.Funcs{
			Create: func(_ context.Context, _ client.WithWatch, obj client.Object, _ ...client.CreateOption) error {
				sent = obj
				return nil
			},
		})
		require.NoError(t, k8sretryctrl.NewClient(c).Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{}))
		assert.Equal(t, &authorizationv1.SelfSubjectAccessReview{}, sent, "the server rejects metadata in a review")
	})
	inVirtualTime(t, "other objects without a name are not retried", func(t *testing.T) {
		f := &faults{err: unknownOutcome, fail: 1000}
		err := k8sretryctrl.NewClient(f.in(cluster())).Create(t.Context(), &corev1.Event{})
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Len(t, f.all(), 1)
	})
}
