package k8sretry

import (
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reasonOf returns the reason that the predicates of apierrors assume for a code whose
// status has a reason they do not know.
func reasonOf(code int32) metav1.StatusReason {
	switch code {
	case http.StatusBadRequest:
		return metav1.StatusReasonBadRequest
	case http.StatusUnauthorized:
		return metav1.StatusReasonUnauthorized
	case http.StatusForbidden:
		return metav1.StatusReasonForbidden
	case http.StatusNotFound:
		return metav1.StatusReasonNotFound
	case http.StatusMethodNotAllowed:
		return metav1.StatusReasonMethodNotAllowed
	case http.StatusNotAcceptable:
		return metav1.StatusReasonNotAcceptable
	case http.StatusConflict:
		return metav1.StatusReasonConflict
	case http.StatusGone:
		return metav1.StatusReasonGone
	case http.StatusUnsupportedMediaType:
		return metav1.StatusReasonUnsupportedMediaType
	case http.StatusUnprocessableEntity:
		return metav1.StatusReasonInvalid
	case http.StatusInternalServerError:
		return metav1.StatusReasonInternalError
	case http.StatusServiceUnavailable:
		return metav1.StatusReasonServiceUnavailable
	case http.StatusGatewayTimeout:
		return metav1.StatusReasonTimeout
	}
	return metav1.StatusReasonUnknown
}

// codeMeaning returns the meaning of a code for which reasonOf has no reason.
func codeMeaning(code int32) *meaning {
	switch code {
	case http.StatusRequestTimeout:
		// Some proxies send it for a request that they have already forwarded.
		return &meansRequestTimeout
	case http.StatusTooEarly:
		return &meansTooEarly
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusVariantAlsoNegotiates,
		http.StatusNotExtended, http.StatusNetworkAuthenticationRequired:
		return &meansNotSupported
	}
	switch {
	case code >= 500:
		return &meansServerError
	case code >= 300:
		return &meansRequestRejected
	default:
		// No code at all, or a failure with a code of success.
		return &meansNoReason
	}
}
