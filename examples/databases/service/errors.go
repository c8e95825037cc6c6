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
	Error   string            `json:"error"`             // one word for programs
	Message string            `json:"message"`           // for people
	Fields  map[string]string `json:"fields,omitempty"`  // what is wrong with which field
	Outcome string            `json:"outcome,omitempty"` // "unknown": the work may have been done
}

// badRequest is a fault of the caller, found before anything was sent.
type badRequest struct {
	code            int
	reason, message string
	fields          map[string]string
}

func (b *badRequest) Error() string { return b.message }

// errTaken: another request's database has the name.
var errTaken = errors.New("another database has this name")

// comeBack is the Retry-After where the API server did not ask for one.
const comeBack = 5 * time.Second

// codeClientGone is what proxies log for a caller that did not wait. Nobody reads
// the answer.
const codeClientGone = 499

// explain turns an error of a call into the answer to the caller. The answer never
// quotes an error text of the cluster, but for what it says about the caller's own
// object.
func explain(ctx context.Context, err error) reply {
	var bad *badRequest
	if errors.As(err, &bad) {
		return reply{code: bad.code, body: problem{Error: bad.reason, Message: bad.message, Fields: bad.fields}}
	}
	p := problem{}
	if errors.Is(err, k8sretry.ErrOutcomeUnknown) {
		p.Outcome = "unknown"
	}
	say := func(code int, word, message string) reply {
		p.Error, p.Message = word, message
		return reply{code: code, body: p}
	}
	later := func(word, message string) reply {
		answer := say(http.StatusServiceUnavailable, word, message)
		answer.retryAfter = comeBack
		var stopped *k8sretry.Error
		if errors.As(err, &stopped) && stopped.RetryAfter > 0 {
			answer.retryAfter = stopped.RetryAfter
		}
		return answer
	}

	switch {
	// The end of the request comes first: the API error beside it explains nothing.
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded), errors.Is(err, k8sretry.ErrDeadline):
		return say(http.StatusGatewayTimeout, "deadline", "the cluster did not answer in time")
	case errors.Is(context.Cause(ctx), context.Canceled):
		return say(codeClientGone, "client_gone", "the caller did not wait")
	case ctx.Err() != nil:
		return later("stopping", "the service is stopping; ask again")

	case errors.Is(err, errTaken), apierrors.IsAlreadyExists(err):
		return say(http.StatusConflict, "already_exists", "another database has this name")
	case isObjectNotFound(err):
		return say(http.StatusNotFound, "not_found", "there is none of this name")
	case apierrors.IsNotFound(err):
		return later("not_installed", "the cluster does not serve this resource, or the namespace is missing")
	case apierrors.IsConflict(err):
		return say(http.StatusConflict, "conflict", "somebody else changed it at the same time; look again")
	case apierrors.IsInvalid(err):
		return say(http.StatusUnprocessableEntity, "refused", err.Error())
	case apierrors.IsForbidden(err):
		return say(http.StatusForbidden, "forbidden", "the cluster does not allow it; the log tells why")

	case gaveUp(err):
		return later("unavailable", "the cluster cannot do it right now; ask again")
	}
	return say(http.StatusInternalServerError, "internal", "something went wrong; the log has it")
}

// gaveUp reports whether k8sretry stopped on a failure that may pass.
func gaveUp(err error) bool {
	var stopped *k8sretry.Error
	return errors.As(err, &stopped) && stopped.StopReason != k8sretry.StopNonRetryable
}

// isObjectNotFound tells an object that is not there from an API that is not there,
// which is a 404 as well, and from a namespace that is missing.
func isObjectNotFound(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return !apierrors.IsUnexpectedServerError(err) && details != nil && details.Kind != "namespaces"
}
