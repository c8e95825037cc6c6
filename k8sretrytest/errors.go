package k8sretrytest

import (
	"errors"
	"net/http"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The errors of this package are new at each call, so that a test may change one.
// For what apierrors has constructors for (NewNotFound, NewAlreadyExists, NewConflict)
// use those: the API server makes its answers with them, too.

var pods = schema.GroupResource{Resource: "pods"}

// Status is an answer with the given code and a plain text, as proxies, load
// balancers and the outer filters of kube-apiserver write it. 409 is the one to a
// request other than a POST, for which client-go makes an AlreadyExists of it.
//
// Classify: 408, 500, 502, 503 are ClassServer and 504 is ClassTimeout, all with an
// unknown outcome; 429 is ClassThrottled and not executed; 401 is ClassBlocked, 409
// ClassConflict with an unknown outcome, most others ClassPermanent.
func Status(code int) error {
	return generic(code, http.StatusText(code), 0)
}

// TooManyRequests is the 429 of kube-apiserver's flow control. retryAfter is rounded up
// to whole seconds; 0 leaves it out.
//
// Classify: ClassThrottled, not executed, with the delay as RetryAfter.
//
// A real client (see [Faults.Transport]) shows it only if retryAfter is 0: any
// other value client-go obeys by itself, 10 times.
func TooManyRequests(retryAfter time.Duration) error {
	return generic(http.StatusTooManyRequests, "Too many requests, please try again later.", wholeSeconds(retryAfter))
}

// generic is what client-go makes of an answer without a Status in its body.
func generic(code int, body string, retryAfter int) error {
	return apierrors.NewGenericServerResponse(code, http.MethodPut, pods, "web-0", body, retryAfter, true)
}

func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// ServerStatus is an answer of kube-apiserver itself: a metav1.Status with this
// code, reason ("" is that of storage faults) and message, without details.
//
// Classify judges it by the reason, then by the code, and by the message of a 403,
// 500 or 503.
func ServerStatus(code int, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	}}
}

// EtcdTimeout is the answer when etcd has not confirmed a write in time, and may
// apply it later.
//
// Classify: ClassServer, outcome unknown.
func EtcdTimeout() error {
	return ServerStatus(http.StatusInternalServerError, "", "etcdserver: request timed out")
}

// WebhookDenied is the answer when an admission webhook says no, for the reason given.
//
// Classify: ClassPermanent, not executed.
func WebhookDenied(reason string) error {
	return ServerStatus(http.StatusForbidden, metav1.StatusReasonForbidden,
		`admission webhook "policy.example.com" denied the request: `+reason)
}

// WebhookFailed is the answer when an admission webhook could not be asked.
//
// Classify: ClassServer, not executed: admission comes before storage.
func WebhookFailed() error {
	return apierrors.NewInternalError(errors.New(`failed calling webhook "policy.example.com": failed to call webhook: ` +
		`Post "https://policy.policy-system.svc:443/validate?timeout=10s": context deadline exceeded`))
}

// QuotaExceeded is the answer when a ResourceQuota is used up.
//
// Classify: ClassBlocked, not executed: it passes when somebody else makes room.
func QuotaExceeded() error {
	return apierrors.NewForbidden(pods, "web-0",
		errors.New("exceeded quota: compute, requested: pods=1, used: pods=10, limited: pods=10"))
}

// QuotaConflict is the answer when the server lost a race for the status of a
// ResourceQuota. It looks like a conflict about the object, and is none.
//
// Classify: ClassServer, not executed: send the same again.
func QuotaConflict() error {
	return apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "compute", errModified)
}

// DisruptionBudget is the answer to an eviction that a PodDisruptionBudget does not
// allow for now. It is a 429, and not one of overload.
//
// Classify: ClassDisruptionBudget, not executed.
func DisruptionBudget() error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: policyv1.DisruptionBudgetCause, Message: "The disruption budget web needs 2 healthy pods and has 2 currently",
	}}
	return err
}

// errModified is the text of every conflict about a resource version
// (k8s.io/apiserver/pkg/registry/generic/registry/store.go).
var errModified = errors.New("the object has been modified; please apply your changes to the latest version and try again")
