package k8sretry

import (
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// lastingAnswer reports whether err is, with nothing around it, an answer of the API
// that no repetition would change. It is Classify for the commonest failure, a Get
// that finds nothing, and for nothing else.
func lastingAnswer(err error) bool {
	e, ok := err.(*apierrors.StatusError)
	if !ok || e == nil {
		return false
	}
	s := &e.ErrStatus
	if s.Code == http.StatusNotFound && s.Reason == metav1.StatusReasonNotFound && (s.Details == nil || len(s.Details.Causes) == 0) {
		return true // what judgeStatus would find, too
	}
	return !judgeStatus(s).class.transient()
}
