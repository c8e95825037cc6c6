package k8sretry

import (
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestIsUnavailable(t *testing.T) {
	for _, reason := range []metav1.StatusReason{
		"", "le", "ServiceUnavailab", "ServiceUnavailabl", "ServiceUnavailablE", "serviceUnavailable", "ServiceUnavailable ",
		metav1.StatusReasonServiceUnavailable, metav1.StatusReasonServerTimeout, metav1.StatusReasonTooManyRequests,
	} {
		assert.Equal(t, reason == metav1.StatusReasonServiceUnavailable, isUnavailable(reason), reason)
	}
}
