// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/k8sretry/k8sretry"
)

// A call that would fail again in the same way is attempted once, and the caller gets
// the error of client-go unchanged.
func TestPermanentErrorsAreReturnedUnchanged(t *testing.T) {
	c := start(t)
	ns := namespace(t, c)
	maps := client(t, c.Config(app)).CoreV1().ConfigMaps(ns)
	set, err := dynamic.NewForConfig(c.Config(app))
	require.NoError(t, err)
	untyped := set.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(ns)

	stale, err := maps.Create(t.Context(), configMap("contended", "first"), metav1.CreateOptions{})
	require.NoError(t, err)
	fresh := stale.DeepCopy()
	fresh.Data["key0"] = "second"
	_, err = maps.Update(t.Context(), fresh, metav1.UpdateOptions{})
	require.NoError(t, err)

	tests := []struct {
		name  string
		verb  k8sretry.Verb
		is    func(error) bool
		class k8sretry.Class
		call  func(context.Context) error
	}{
		{"conflict", k8sretry.VerbUpdate, apierrors.IsConflict, k8sretry.ClassConflict, func(ctx context.Context) error {
			_, err := maps.Update(ctx, stale, metav1.UpdateOptions{})
			return err
		}},
		{"conflict without a verb", k8sretry.VerbUnspecified, apierrors.IsConflict, k8sretry.ClassConflict, func(ctx context.Context) error {
			_, err := maps.Update(ctx, stale, metav1.UpdateOptions{})
			return err
		}},
		{"not found", k8sretry.VerbGet, apierrors.IsNotFound, k8sretry.ClassPermanent, func(ctx context.Context) error {
			_, err := maps.Get(ctx, "absent", metav1.GetOptions{})
			return err
		}},
		{"not found, dynamic", k8sretry.VerbDelete, apierrors.IsNotFound, k8sretry.ClassPermanent, func(ctx context.Context) error {
			return untyped.Delete(ctx, "absent", metav1.DeleteOptions{})
		}},
		{"already exists", k8sretry.VerbCreate, apierrors.IsAlreadyExists, k8sretry.ClassPermanent, func(ctx context.Context) error {
			_, err := maps.Create(ctx, configMap("contended"), metav1.CreateOptions{})
			return err
		}},
		{"invalid", k8sretry.VerbCreate, apierrors.IsInvalid, k8sretry.ClassPermanent, func(ctx context.Context) error {
			_, err := untyped.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "Not A Name"},
			}}, metav1.CreateOptions{})
			return err
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			events := &recorder{}
			var errs []error
			start := time.Now()
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
				err := test.call(ctx)
				errs = append(errs, err)
				return err
			}, k8sretry.WithVerb(test.verb), k8sretry.WithObserver(events))

			require.Len(t, errs, 1, "attempts")
			assert.Same(t, errs[0], err)
			assert.True(t, test.is(err), "%v", err)
			assert.Less(t, time.Since(start), time.Second, "there was no delay")
			failures := events.all(k8sretry.EventFailure)
			require.Len(t, failures, 1)
			assert.Equal(t, k8sretry.StopNonRetryable, failures[0].StopReason)
			assert.Equal(t, test.class, failures[0].Class)
			assert.Equal(t, 1, failures[0].Attempt)
		})
	}
}
