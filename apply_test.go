package k8sretry_test

import (
	"context"
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
