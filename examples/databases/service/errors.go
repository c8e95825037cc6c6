// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
)

// problem is the JSON of an error.
type problem struct {
	Error   string            `json:"error"`             // machine-readable reason
	Message string            `json:"message"`           // human-readable
	Fields  map[string]string `json:"fields,omitempty"`  // error by field
	Outcome string            `json:"outcome,omitempty"` // "unknown": the request may have been carried out
}

// badRequest is an invalid request, rejected before a call to the API server.
type badRequest struct {
	code            int
	reason, message string
	fields          map[string]string
}

func (b *badRequest) Error() string { return b.message }

// errTaken is returned if the database of another request has the name.
var errTaken = errors.New("another database has this name")

// defaultRetryAfter is the Retry-After if the API server did not send one.
const defaultRetryAfter = 5 * time.Second

// codeClientGone is the status code that proxies log for a caller that disconnected.
const codeClientGone = 499

// errorReply returns the reply for an error. It does not contain the error text of the
// API server, except for validation errors of the caller's object.
func errorReply(ctx context.Context, err error) reply {
	var bad *badRequest
	if errors.As(err, &bad) {
		return reply{code: bad.code, body: problem{Error: bad.reason, Message: bad.message, Fields: bad.fields}}
	}
	p := problem{}
	if errors.Is(err, k8sretry.ErrOutcomeUnknown) {
		p.Outcome = "unknown"
	}
	fail := func(code int, reason, message string) reply {
		p.Error, p.Message = reason, message
		return reply{code: code, body: p}
	}
	retryLater := func(reason, message string) reply {
		answer := fail(http.StatusServiceUnavailable, reason, message)
		answer.retryAfter = defaultRetryAfter
		var stopped *k8sretry.Error
		if errors.As(err, &stopped) && stopped.RetryAfter > 0 {
			answer.retryAfter = stopped.RetryAfter
		}
		return answer
	}

	switch {
	// The request's own end comes first: it is the cause of the error.
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded), errors.Is(err, k8sretry.ErrDeadline):
		return fail(http.StatusGatewayTimeout, "deadline", "the cluster did not answer in time")
	case errors.Is(context.Cause(ctx), context.Canceled):
		return fail(codeClientGone, "client_gone", "the caller disconnected")
	case ctx.Err() != nil:
		return retryLater("stopping", "the service is stopping; try again")

	case errors.Is(err, errTaken), apierrors.IsAlreadyExists(err):
		return fail(http.StatusConflict, "already_exists", "another database has this name")
	case isObjectNotFound(err):
		return fail(http.StatusNotFound, "not_found", "no object has this name")
	case apierrors.IsNotFound(err):
		return retryLater("not_installed", "the cluster does not serve this resource or has no such namespace")
	case apierrors.IsConflict(err):
		return fail(http.StatusConflict, "conflict", "the object was changed at the same time; read it again")
	case apierrors.IsInvalid(err):
		return fail(http.StatusUnprocessableEntity, "refused", err.Error())
	case apierrors.IsForbidden(err):
		return fail(http.StatusForbidden, "forbidden", "the cluster does not permit it; see the log")

	case gaveUp(err):
		return retryLater("unavailable", "the cluster is unavailable; try again")
	}
	return fail(http.StatusInternalServerError, "internal", "internal error; see the log")
}

// gaveUp reports whether k8sretry stopped at a transient failure.
func gaveUp(err error) bool {
	var stopped *k8sretry.Error
	return errors.As(err, &stopped) && stopped.StopReason != k8sretry.StopNonRetryable
}

// isObjectNotFound reports whether the object is missing. A missing API or namespace
// is answered 404, too.
func isObjectNotFound(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return !apierrors.IsUnexpectedServerError(err) && details != nil && details.Kind != "namespaces"
}
