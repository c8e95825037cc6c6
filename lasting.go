package k8sretry

import (
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// lastingAnswer reports whether err is an answer of the API that no repetition would
// change. It is Classify for the commonest failures, an API status with nothing around
// it, and knows nothing of others.
func lastingAnswer(err error) (lasting, known bool) {
	e, ok := err.(*apierrors.StatusError)
	if !ok || e == nil {
		return false, false
	}
	s := &e.ErrStatus
	if s.Code == http.StatusNotFound && s.Reason == metav1.StatusReasonNotFound && (s.Details == nil || len(s.Details.Causes) == 0) {
		return true, true // what judgeStatus would find, too
	}
	return !judgeStatus(s).class.transient(), true
}
