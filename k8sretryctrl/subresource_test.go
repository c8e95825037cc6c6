package k8sretryctrl_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

func TestAStatusUpdateIsVerifiedByTheStatus(t *testing.T) {
	get := func(t *testing.T, c client.Client) *corev1.Pod {
		p := pod()
		require.NoError(t, c.Get(t.Context(), client.ObjectKeyFromObject(p), p))
		return p
	}
	for _, lose := range []int{1, 2, 1000} {
		inVirtualTime(t, fmt.Sprintf("%d lost responses", lose), func(t *testing.T) {
			retrying, server := newClient(&faults{only: "status.Update", err: unknownOutcome, lose: lose})
			p := get(t, server)
			p.Status.Phase = corev1.PodRunning
			require.NoError(t, retrying.Status().Update(t.Context(), p))
			assert.Equal(t, get(t, server), p)
			assert.Equal(t, corev1.PodRunning, p.Status.Phase)
		})
	}
	inVirtualTime(t, "another client has changed the labels", func(t *testing.T) {
		server := cluster()
		c := interruptFirstUpdate(server, func(update func() error) {
			require.NoError(t, update())
			require.NoError(t, server.Patch(t.Context(), pod(), labelPatch()))
		})
		p := get(t, server)
		p.Status.Phase = corev1.PodRunning
		require.NoError(t, c.Status().Update(t.Context(), p))
		assert.Equal(t, "b", p.Labels["a"])
	})
	inVirtualTime(t, "another client has set another status: unknown outcome", func(t *testing.T) {
		server := cluster()
		c := interruptFirstUpdate(server, func(func() error) {
			other := get(t, server)
			other.Status.Phase = corev1.PodFailed
			require.NoError(t, server.Status().Update(t.Context(), other))
		})
		p := get(t, server)
		p.Status.Phase = corev1.PodRunning
		assert.ErrorIs(t, c.Status().Update(t.Context(), p), k8sretry.ErrOutcomeUnknown)
	})
}

func TestAnEvictionWithTheUIDIsRetried(t *testing.T) {
	inVirtualTime(t, "with a UID", func(t *testing.T) {
		f := &faults{only: "eviction.Create", err: unknownOutcome, lose: 1}
		retrying, _ := newClient(f)
		require.NoError(t, retrying.SubResource("eviction").Create(t.Context(), pod(), evictionOf("1")))
		assert.Equal(t, 2, f.count("eviction.Create"))
	})
	inVirtualTime(t, "without a UID", func(t *testing.T) {
		f := &faults{only: "eviction.Create", err: unknownOutcome, fail: 1}
		retrying, _ := newClient(f)
		assert.ErrorIs(t, retrying.SubResource("eviction").Create(t.Context(), pod(), evictionOf("")), k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, 1, f.count("eviction.Create"))
	})
	for situation, response := range map[string]error{
		"another pod has the name": apierrors.NewConflict(corev1.Resource("pods"), "web-0", errors.New("Precondition failed: UID in precondition: 1, UID in object meta: 2")),
		"the pod does not exist":   apierrors.NewNotFound(corev1.Resource("pods"), "web-0"),
	} {
		for _, unknown := range []bool{true, false} {
			inVirtualTime(t, fmt.Sprintf("%s, after an unknown outcome: %v", situation, unknown), func(t *testing.T) {
				n := 0
				c := k8sretryctrl.NewClient(interceptor.NewClient(cluster(), interceptor.Funcs{
					SubResourceCreate: func(context.Context, client.Client, string, client.Object, client.Object, ...client.SubResourceCreateOption) error {
						if n++; n == 1 && unknown {
							return unknownOutcome()
						}
						return response
					},
				}))
				err := c.SubResource("eviction").Create(t.Context(), pod(), evictionOf("1"))
				if unknown {
					assert.NoError(t, err)
				} else {
					assert.Same(t, response, err, "the first response is returned")
				}
			})
		}
	}
}
