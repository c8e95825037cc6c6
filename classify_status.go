// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Causes defined in k8s.io/api/core/v1 and k8s.io/api/policy/v1, which are not imported
// for two strings.
const (
	causeNamespaceTerminating metav1.CauseType = "NamespaceTerminating"
	causeDisruptionBudget     metav1.CauseType = "DisruptionBudget"
)

// setStatus stores the verdict on an API status in v.
func (v *Verdict) setStatus(s *metav1.Status) {
	m := statusMeaning(s)
	v.Class, v.Outcome, v.flags, v.Detail = m.class, m.outcome, m.flags|answered, m.detail
	v.StatusCode, v.RetryAfter = int(s.Code), retryAfter(s)
}

// statusMeaning returns the meaning of an API status, never nil. The order of the tests
// matters: a webhook can deny a request with any code, reason and cause, causes are more
// precise than reasons, and reasons more precise than codes. Messages decide only where
// nothing else does.
func statusMeaning(s *metav1.Status) *meaning {
	if deniedByWebhook(s.Message) {
		if (s.Code == http.StatusTooManyRequests || s.Code == http.StatusServiceUnavailable) && retryAfter(s) > 0 {
			return &meansDeniedWithDelay
		}
		return &meansDeniedByWebhook
	}

	var generic *metav1.StatusCause
	if s.Details != nil {
		for i := range s.Details.Causes {
			switch c := &s.Details.Causes[i]; c.Type {
			case metav1.CauseTypeUnexpectedServerResponse:
				generic = c
			case causeNamespaceTerminating:
				return &meansNamespaceTerminating
			case causeDisruptionBudget:
				return evictionMeaning(s)
			case metav1.CauseTypeFieldManagerConflict:
				return &meansFieldOwned
			case metav1.CauseTypeResourceVersionTooLarge:
				return &meansVersionTooLarge
			}
		}
	}

	// apierrors.IsTooManyRequests and IsRequestEntityTooLargeError accept these codes with
	// any reason.
	switch s.Code {
	case http.StatusTooManyRequests:
		return throttledMeaning(generic)
	case http.StatusRequestEntityTooLarge:
		return &meansTooLarge
	}
	if m := reasonMeaning(s.Reason, s, generic); m != nil {
		return m
	}
	if m := reasonMeaning(reasonOf(s.Code), s, generic); m != nil {
		return m
	}
	return codeMeaning(s.Code)
}

// throttledMeaning recognises the text with which kube-apiserver refuses requests before it
// looks at them (tooManyRequests in k8s.io/apiserver/pkg/server/filters/maxinflight.go). Other
// 429 are about a resource, such as that of a watch cache that is not ready.
func throttledMeaning(generic *metav1.StatusCause) *meaning {
	if generic != nil && strings.HasPrefix(generic.Message, "Too many requests, please try again later.") {
		return &meansLevelExhausted
	}
	return &meansTooManyRequests
}

// deniedByWebhook recognises the text with which kube-apiserver begins the message of
// every denial (k8s.io/apiserver/pkg/admission/plugin/webhook/errors/statuserror.go).
func deniedByWebhook(message string) bool {
	return strings.HasPrefix(message, `admission webhook "`) && strings.Contains(message, "denied the request")
}

// retryAfter returns the delay in the details of s. An int32 of seconds always fits a
// Duration.
func retryAfter(s *metav1.Status) time.Duration {
	if s.Details == nil || s.Details.RetryAfterSeconds <= 0 {
		return 0
	}
	return time.Duration(s.Details.RetryAfterSeconds) * time.Second
}

// evictionMeaning returns the meaning of an eviction rejected because of a
// PodDisruptionBudget (k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go).
func evictionMeaning(s *metav1.Status) *meaning {
	switch {
	case s.Code != http.StatusTooManyRequests:
		return &meansDisruptionInvalid
	case retryAfter(s) > 0:
		return &meansDisruptionPending
	default:
		return &meansDisruptionNotAllowed
	}
}

// reasonMeaning returns the meaning of a reason, nil if it is not known. generic is the
// cause that client-go adds to a status of its own making, for a response that was no
// Status; it contains the body. It is nil in a status of the server.
func reasonMeaning(r metav1.StatusReason, s *metav1.Status, generic *metav1.StatusCause) *meaning {
	switch r {
	case metav1.StatusReasonNotFound:
		return notFoundMeaning(s, generic)
	case metav1.StatusReasonConflict:
		return conflictMeaning(s, generic)
	case metav1.StatusReasonAlreadyExists:
		return existsMeaning(s, generic)
	case metav1.StatusReasonForbidden:
		return forbiddenMeaning(s, generic)
	case metav1.StatusReasonUnauthorized:
		if strings.Contains(s.Message, "ValidatingAdmissionPolicy '") {
			return &meansDeniedByPolicy
		}
		return &meansUnauthorized
	case metav1.StatusReasonServiceUnavailable:
		return unavailableMeaning(s, generic)
	case metav1.StatusReasonTimeout:
		return &meansServerTimedOut
	case metav1.StatusReasonServerTimeout:
		return &meansNotCompleted
	case metav1.StatusReasonTooManyRequests:
		return &meansTooManyRequests
	case metav1.StatusReasonInternalError:
		return internalMeaning(s, generic)
	case metav1.StatusReasonInvalid:
		return invalidMeaning(s)
	case metav1.StatusReasonGone, metav1.StatusReasonExpired:
		return &meansExpired
	case reasonStoreReadError:
		return &meansStoredUnreadable
	case metav1.StatusReasonBadRequest, metav1.StatusReasonMethodNotAllowed, metav1.StatusReasonNotAcceptable,
		metav1.StatusReasonRequestEntityTooLarge, metav1.StatusReasonUnsupportedMediaType:
		return &meansNotAccepted
	}
	return nil
}

// reasonStoreReadError is metav1.StatusReasonStoreReadError, which apimachinery v0.31 lacks.
const reasonStoreReadError metav1.StatusReason = "StorageReadError"

// existsMeaning tells an object that another client has made from one that will be gone
// (k8s.io/apiserver/pkg/registry/generic/registry/store.go).
func existsMeaning(s *metav1.Status, generic *metav1.StatusCause) *meaning {
	switch {
	case generic != nil:
		return &meansPlainTextExists
	case strings.HasPrefix(s.Message, "object is being deleted: "):
		return &meansBeingDeleted
	}
	return &meansAlreadyExists
}

// isAllocated reports whether the address or a port of a Service is taken, which it no longer is
// when another one is deleted (k8s.io/kubernetes/pkg/registry/core/service).
func isAllocated(message string) bool {
	return strings.Contains(message, "provided IP is already allocated") || strings.Contains(message, "provided port is already allocated")
}

// invalidMeaning tells a JSON patch that does not apply to the object as it is from an
// object that is invalid. kube-apiserver reports the patch as a generic status without
// details (k8s.io/apiserver/pkg/endpoints/handlers/patch.go), in which
// apierrors.NewGenericServerResponse replaces the text.
func invalidMeaning(s *metav1.Status) *meaning {
	if strings.HasPrefix(s.Message, "the server rejected our request") &&
		(s.Details == nil || s.Details.Kind == "" && len(s.Details.Causes) == 0) {
		return &meansPatchTestFailed
	}
	if isAllocated(s.Message) {
		return &meansAllocated
	}
	return &meansInvalid
}

func notFoundMeaning(s *metav1.Status, generic *metav1.StatusCause) *meaning {
	switch {
	case generic != nil && strings.HasPrefix(generic.Message, "404 page not found"):
		return &meansNotServed
	case generic != nil:
		return &meansPathNotFound
	case s.Details != nil && s.Details.Kind == "namespaces":
		return &meansNamespaceNotFound
	}
	return &meansNotFound
}

// conflictMeaning tells conflicts about the object of the call from conflicts of the
// server about an object of its own, and those about the UID that the request names from
// others (k8s.io/apiserver/pkg/endpoints/handlers/patch.go and pkg/storage/interfaces.go).
func conflictMeaning(s *metav1.Status, generic *metav1.StatusCause) *meaning {
	if generic != nil {
		return &meansPlainTextConflict
	}
	if s.Details != nil {
		switch s.Details.Kind {
		case "resourcequotas", "clusterresourcequotas":
			return &meansQuotaConflict
		case "poddisruptionbudgets":
			return &meansDisruptionConflict
		case "pods/binding":
			// Every failure of a binding becomes a conflict, also one of the storage.
			if _, cause, ok := strings.Cut(s.Message, `": `); ok && hasPrefix(storagePrefixes, cause) {
				return &meansBindingFailed
			}
		}
	}
	if strings.Contains(s.Message, `": uid mismatch: `) || strings.Contains(s.Message, "Precondition failed: UID in precondition: ") {
		return &meansUIDConflict
	}
	return &meansConflict
}

// forbiddenMeaning looks at the cause in the message. admission.NewForbidden and
// apierrors.NewForbidden write it after the object and "is forbidden: ".
func forbiddenMeaning(s *metav1.Status, generic *metav1.StatusCause) *meaning {
	if generic == nil {
		if m := findPrefix(forbiddenTexts, forbiddenCause(s.Message)); m != nil {
			return m
		}
	}
	return &meansForbidden
}

// unavailableMeaning looks at the text to find out whether a 503 was sent before the
// request reached the server that would have executed it.
func unavailableMeaning(s *metav1.Status, generic *metav1.StatusCause) *meaning {
	text := s.Message
	if generic != nil {
		text = generic.Message
	}
	if m := findPrefix(unavailableTexts, text); m != nil {
		return m
	}
	switch {
	case generic != nil && text == "service unavailable": // kube-aggregator, before it forwards the request
		return &meansAggregatedUnavailable
	case strings.HasPrefix(text, "Resource kind ") && strings.Contains(text, "delay between when CustomResourceDefinitions are created"):
		return &meansKindUnknown
	}
	if cause, ok := strings.CutPrefix(text, "error trying to reach service: "); ok {
		return backendMeaning(cause)
	}
	return &meansUnavailable
}

// internalMeaning looks at the message: every error that the server could not convert to
// a status is a 500, from a webhook that could not be called to a write that etcd may
// still execute.
func internalMeaning(s *metav1.Status, generic *metav1.StatusCause) *meaning {
	if s.Code > http.StatusInternalServerError {
		if generic != nil && strings.HasPrefix(generic.Message, "the backend attempted to redirect this request") {
			return &meansBackendRedirects
		}
		return codeMeaning(s.Code)
	}
	if generic == nil {
		text := strings.TrimPrefix(s.Message, "Internal error occurred: ")
		if cause, ok := strings.CutPrefix(text, dialPrefix); ok {
			return dialMeaning(cause)
		}
		if m := findPrefix(internalTexts, text); m != nil {
			return m
		}
		if rejectedPatch(text) {
			return &meansBadPatch
		}
		for i := range storageTexts {
			if e := &storageTexts[i]; strings.Contains(text, e.text) {
				return e.means
			}
		}
	}
	return &meansInternalError
}
