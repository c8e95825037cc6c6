// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Each function returns a new error, so that a test may modify it. Errors for which
// apierrors has a constructor (NewNotFound, NewAlreadyExists, NewConflict) are not
// repeated here: the API server uses those constructors itself.

// The object of errors that name one; see [Named].
var pods = schema.GroupResource{Resource: "pods"}

const podName = "web-0"

// Status returns the error for a response with the given code and a plain text body,
// as proxies, load balancers and the outer filters of kube-apiserver send it. A 409 is
// the response to a method other than POST: client-go turns a 409 to a POST into
// AlreadyExists.
//
// Classify returns ClassServer for 408, 500, 502 and 503, and ClassTimeout for 504,
// all with an unknown outcome; ClassThrottled for 429, not executed; ClassBlocked for
// 401; ClassConflict for 409 with an unknown outcome; ClassPermanent for most others.
func Status(code int) error {
	return generic(code, http.StatusText(code), 0)
}

// TooManyRequests returns the 429 of kube-apiserver's flow control. The Retry-After
// is retryAfter, rounded up to whole seconds; there is none if retryAfter is 0.
//
// Classify returns ClassThrottled, not executed, with the delay as RetryAfter.
//
// client-go itself retries a response with a Retry-After up to 10 times. Behind
// [Faults.Transport], a caller sees such an error only after 11 faults.
func TooManyRequests(retryAfter time.Duration) error {
	return generic(http.StatusTooManyRequests, "Too many requests, please try again later.", wholeSeconds(retryAfter))
}

// generic returns the error that client-go makes of a response without a Status in
// its body.
func generic(code int, body string, retryAfter int) error {
	return apierrors.NewGenericServerResponse(code, http.MethodPut, pods, podName, body, retryAfter, true)
}

func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// ServerStatus returns the error for a metav1.Status sent by kube-apiserver, with the
// given code, reason and message and without details. Storage errors have an empty
// reason.
//
// Classify uses the reason first, then the code; for a 403, 500 or 503 also the
// message.
func ServerStatus(code int, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	}}
}

// EtcdTimeout returns the error for a write that etcd did not confirm in time and may
// still apply.
//
// Classify returns ClassServer with an unknown outcome.
func EtcdTimeout() error {
	return ServerStatus(http.StatusInternalServerError, "", "etcdserver: request timed out")
}

// WebhookDenied returns the error for a request that an admission webhook denied for
// the given reason.
//
// Classify returns ClassPermanent, not executed.
func WebhookDenied(reason string) error {
	return ServerStatus(http.StatusForbidden, metav1.StatusReasonForbidden,
		`admission webhook "policy.example.com" denied the request: `+reason)
}

// WebhookFailed returns the error for a request whose admission webhook did not
// respond.
//
// Classify returns ClassServer, not executed: admission precedes storage.
func WebhookFailed() error {
	return apierrors.NewInternalError(errors.New(`failed calling webhook "policy.example.com": failed to call webhook: ` +
		`Post "https://policy.policy-system.svc:443/validate?timeout=10s": context deadline exceeded`))
}

// QuotaExceeded returns the error for a request that would exceed a ResourceQuota.
//
// Classify returns ClassBlocked, not executed: a retry succeeds only after other
// objects have been deleted or the quota has been raised.
func QuotaExceeded() error {
	return apierrors.NewForbidden(pods, podName,
		errors.New("exceeded quota: compute, requested: pods=1, used: pods=10, limited: pods=10"))
}

// QuotaConflict returns the error for a request during which the server failed to
// update the status of a ResourceQuota because of a concurrent update. It is a 409,
// but not a conflict about the object of the request.
//
// Classify returns ClassServer, not executed: the same request may be sent again.
func QuotaConflict() error {
	return apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "compute", errModified)
}

// DisruptionBudget returns the error for an eviction that a PodDisruptionBudget does
// not allow at the moment. It is a 429, but not a sign of overload.
//
// Classify returns ClassDisruptionBudget, not executed.
func DisruptionBudget() error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: policyv1.DisruptionBudgetCause, Message: "The disruption budget web needs 2 healthy pods and has 2 currently",
	}}
	return err
}

// errModified has the text of every conflict about a resource version
// (k8s.io/apiserver/pkg/registry/generic/registry/store.go).
var errModified = errors.New("the object has been modified; please apply your changes to the latest version and try again")

// Named returns a copy of err that is about another object: the group, the resource and the
// name are in its details and in its message, as the server and client-go write them. An empty
// name stands for an object that is not named yet, as in a create.
//
//	err := k8sretrytest.Named(k8sretrytest.QuotaExceeded(), corev1.Resource("configmaps"), "settings")
//
// [Faults] do that for the errors that they return.
//
// The errors of [Status], [TooManyRequests] and [QuotaExceeded] are about the pod web-0. Named
// returns all others as they are: they name nothing, as those of a webhook, or an object of the
// server, as [QuotaConflict].
func Named(err error, resource schema.GroupResource, name string) error {
	s, ok := err.(*apierrors.StatusError) //nolint:errorlint // what the functions of this package return
	if !ok || s.ErrStatus.Details == nil || s.ErrStatus.Details.Kind != pods.Resource || s.ErrStatus.Details.Name != podName {
		return err
	}
	status := *s.ErrStatus.DeepCopy()
	status.Details.Group, status.Details.Kind, status.Details.Name = resource.Group, resource.Resource, name
	quoted, plain := resource.String(), resource.String()
	if name != "" {
		quoted, plain = fmt.Sprintf("%s %q", resource, name), resource.String()+" "+name
	}
	status.Message = strings.NewReplacer(
		fmt.Sprintf("%s %q is", pods, podName), quoted+" is",
		pods.String()+" "+podName+")", plain+")",
	).Replace(status.Message)
	return &apierrors.StatusError{ErrStatus: status}
}
