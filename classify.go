// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry/internal/errchain"
)

// IsRetryableK8sError reports whether err contains an API status whose code is 408,
// 429, 500, 502, 503 or 504. Nothing but the code matters.
//
// The status may be anywhere in the chain: wrapped, joined by errors.Join or by several
// %w, or in an Aggregate of k8s.io/apimachinery/pkg/util/errors, which the predicates of
// apierrors do not search. If there are several statuses, the first in depth-first order
// decides, as it does for those predicates. The result is false for a nil error, an error
// without a status and a nil *StatusError. It never panics.
//
// [Do] uses the more precise [Classify] instead: a 500 can be permanent (an object too
// large for etcd), a 409 transient (a conflict on the status of a quota), and after a 504
// the server may have carried out the request.
func IsRetryableK8sError(err error) bool {
	w := walk{left: errchain.MaxNodes}
	switch code, _ := w.firstCode(err); code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// IsRetryableConnectionError reports whether err is a transient failure of the
// connection: refused, no route, reset, broken pipe, EOF, a truncated body, a lost HTTP/2
// connection or stream, a DNS server that did not respond, a proxy that temporarily
// rejected the connection, or a timeout of the dial, of the TLS handshake or of the client.
//
// The result is false for
//
//   - anything that contains an API status, whatever its message says: the server responded;
//   - certificates and TLS alerts of a handshake, which fail the same way again;
//   - a host name that does not exist, which is usually a typing error.
//     [Classify] gives it [ClassBlocked], so that a caller can choose to retry it;
//   - [context.Canceled], also beside another error, and errors of the HTTP client that
//     this package does not know.
//
// It does not know the caller's context. The result for [context.DeadlineExceeded] is
// true, because the timeouts of rest.Config and of package net cannot be told from it:
// check ctx.Err() first, as Do does.
func IsRetryableConnectionError(err error) bool {
	is, canceled := connectionFailure(err)
	return is && !canceled
}

// connectionFailure reports whether err is a transient failure of the connection, and whether
// it contains a cancellation, too.
func connectionFailure(err error) (is, canceled bool) {
	w := walk{left: errchain.MaxNodes}
	w.visit(err, errorPath{})
	if w.worst == nil || w.status || w.permanent || w.worst == &meansUnknownHTTP || w.worst == &meansPluginFailed {
		return false, w.canceled
	}
	switch w.worst.class {
	case ClassRefused, ClassConnection, ClassTimeout:
		return true, w.canceled
	default:
		return false, w.canceled
	}
}

// Classify returns what err means: whether it is transient, what the server did, and how
// long the server asked to wait. [Do] decides by it. The Verdict of a nil error is zero.
//
// Classify knows the statuses of kube-apiserver, admission webhooks, etcd, aggregated API
// servers and proxies, and the errors of net/http, golang.org/x/net/http2, crypto/tls, net
// and context, anywhere in the chain. docs/errors.md lists them. An API status takes
// precedence over the errors that wrap it. If several errors are joined, the result is
// the least safe combination: a permanent failure before a transient one, any failure
// before a cancellation (one request may have canceled the others), the highest
// [Outcome], the longest RetryAfter. An [*Error] of this package is classified by the API
// error in it; an [*Error] with [StopQueueTimeout] and no API error is [ClassThrottled].
//
// Some results that may be unexpected:
//
//   - An error marked with [Permanent] is [ClassPermanent]; its Outcome, StatusCode and
//     RetryAfter are those of what was marked.
//   - 401, a missing namespace, a quota, an API that is not served and a host name that
//     does not exist are [ClassBlocked]. They are retried only if the caller asks for it.
//   - AlreadyExists is [ClassPermanent]. In a response that is no Status its outcome is
//     unknown, because client-go makes it of every such 409 to a POST
//     (k8s.io/apimachinery/pkg/api/errors, NewGenericServerResponse).
//   - [context.DeadlineExceeded] is [ClassTimeout], because Classify does not know the
//     caller's context.
//   - An unknown error is [ClassConnection] with an unknown outcome if it is inside a
//     *url.Error, that is, if it came from the HTTP client. Otherwise it is
//     [ClassPermanent] and not executed: it is the caller's own error.
//   - A chain of more than 4096 errors, or one without end, is [ClassPermanent] with an
//     unknown outcome.
func Classify(err error) (v Verdict) {
	_ = classify(err, &v)
	return v
}

// classify stores the verdict on err in v, whatever v contained. It returns the first
// Error of this package in err: the error of an inner call, nil if there is none.
func classify(err error, v *Verdict) (inner *Error) {
	if e, ok := err.(*apierrors.StatusError); ok && e != nil { // the most frequent failure, nothing to search
		v.setStatus(&e.ErrStatus)
		return nil //nolint:nilerr // no error of an inner call
	}
	*v = Verdict{}
	if err == nil {
		return nil
	}
	w := walk{left: errchain.MaxNodes}
	w.visit(err, errorPath{})
	w.verdict(v)
	if e := w.inner; e != nil && e.Attempts == 0 && (e.StopReason == StopBreakerOpen || e.StopReason == StopQueueTimeout) {
		// Nothing was sent. The API error in it, if there is one, belongs to another call.
		v.Outcome, v.RetryAfter = OutcomeNotExecuted, max(v.RetryAfter, e.RetryAfter)
		v.flags &^= answered
	}
	if w.permanent {
		v.Class, v.Detail = ClassPermanent, "marked permanent"
		v.flags |= markedPermanent
	}
	return w.inner
}

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
