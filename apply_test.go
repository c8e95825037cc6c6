package k8sretry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
)

func TestApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		clientset := fake.NewClientset()
		n, err := 0, lostReply()
		clientset.PrependReactor("patch", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
			n++
			return n <= 2, nil, err
		})
		client := clientset.CoreV1().ConfigMaps("default")
		applied, got := k8sretry.Apply(ctx, client, corev1apply.ConfigMap("x", "default").WithData(map[string]string{"a": "b"}), metav1.ApplyOptions{FieldManager: "me"})
		require.NoError(t, got)
		assert.Equal(t, "b", applied.Data["a"])
		assert.Equal(t, 3, n)

		n, err = 0, apierrors.NewApplyConflict([]metav1.StatusCause{{Type: metav1.CauseTypeFieldManagerConflict}}, "owned")
		_, got = k8sretry.Apply(ctx, client, corev1apply.ConfigMap("x", "default"), metav1.ApplyOptions{FieldManager: "me"})
		requireUnchanged(t, got)
		assert.Equal(t, 1, n)
	})
}

// A conflict of an apply was taken for a stale version. But an apply names none: kube-apiserver
// has tried five times to apply it to an object that others changed meanwhile.
func TestApplyRepeatsAConflictThatTheServerLost(t *testing.T) {
	owned := caused(apierrors.NewConflict(pods, "web-0", errors.New("conflict with kubectl")), metav1.CauseTypeFieldManagerConflict, "x")
	for name, c := range map[string]struct {
		fail     error
		verb     k8sretry.Verb
		attempts int
	}{
		"apply":                           {apierrors.NewConflict(pods, "web-0", errRemodeled), k8sretry.VerbApply, 2},
		"apply, field of another manager": {owned, k8sretry.VerbApply, 1},
		"apply, no Status":                {generic(409, "PATCH", "x", 0), k8sretry.VerbApply, 1},
		"update":                          {apierrors.NewConflict(pods, "web-0", errRemodeled), k8sretry.VerbUpdate, 1},
		"patch, which may name a version": {apierrors.NewConflict(pods, "web-0", errRemodeled), k8sretry.VerbPatch, 1},
		"delete, of another UID":          {apierrors.NewConflict(pods, "web-0", errRemodeled), k8sretry.VerbDelete, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(c.fail)
				_, err := k8sretry.Do(t.Context(), s.get, k8sretry.WithVerb(c.verb))
				assert.Equal(t, c.attempts, s.attempts())
				assert.Equal(t, c.attempts == 1, err != nil)
			})
		})
	}
}
