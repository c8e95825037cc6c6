package k8sretry

import (
	"context"
	"net/http"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/clientgo"
)

// Transport gives every call of every client built from a rest.Config (typed,
// dynamic, metadata, discovery, controller-runtime) the loop of [Do], below client-go:
//
//	cfg.Wrap(k8sretry.Transport(k8sretry.ForRead()))
//
// It becomes the one owner of retries. client-go's own loops, which repeat any verb up
// to ten times on a 429 or 5xx with Retry-After, no longer start: the server sees at
// most one send more than the policy has retries, the repetitions that net/http makes
// by itself included. The client gets the last answer as the server sent it, so
// apierrors.SuggestsClientDelay and all other predicates are right; or the last error
// of the connection, in an [*Error] if it was a passing one.
//
// Inside a [Do] (or a [Run], a [Wrap]) whose context reaches the request, a Transport
// sends once for each attempt, has no loop and no events, and tells the Do what it saw.
// Of two Transports around one client, the outer one loops.
//
// The verb comes from the request: method, path, query, and content type of a patch;
// WithVerb is ignored. What must not be repeated without knowing what became of it (a
// create, a JSON patch without a test) is not. Reviews, token requests and dry runs
// store nothing and are repeated. A body without GetBody is sent once. Watches, logs
// that are followed, exec, attach and port-forward are sent once, without a loop and
// without events: their callers resume them. If an earlier attempt may have been
// carried out and the last answer does not say so, the client gets an *Error that
// holds both: errors.Is finds ErrOutcomeUnknown, the predicates find the answer.
//
// Events and errors name the call by verb and resource, such as "get pods", "create
// deployments.apps" or "create pods/eviction"; WithName overrides. Each answer of 400
// and above is an event, as in Do.
//
// Budget, breaker and gate are asked here as in Do, the gate for each server by itself. A
// Do above that has none of its own passes those of the Transport.
//
// WithAttemptTimeout covers a send up to the headers of its answer; what is read
// afterwards, a watch as well as an object, is bounded by the caller's context. It is
// what notices a server that accepts and never answers. The timeout of rest.Config,
// which net/http applies above the Transport, covers all sends of a call and the waits
// between them. Retries pass below client-go's rate limiter and its metrics.
//
// The RoundTripper is safe for concurrent use if the wrapped one is. It never changes
// the request and sets no header. Of a 429 or 5xx answer it hides the Retry-After until
// the body is first read, which is when client-go has decided not to repeat the request;
// and it hides from client-go's loop, but not from errors.Is, that a GET's connection broke. It has WrappedRoundTripper, and passes
// CloseIdleConnections on. Options that make no sense are the error of each request.
func Transport(opts ...Option) func(http.RoundTripper) http.RoundTripper {
	policy := NewPolicy(opts...)
	transportBuilt.Store(true)
	return func(next http.RoundTripper) http.RoundTripper {
		if next == nil {
			next = http.DefaultTransport
		}
		return &transport{next: next, policy: policy}
	}
}

type transport struct {
	next   http.RoundTripper
	policy *Policy
}

// WrappedRoundTripper returns what the Transport wraps, as k8s.io/apimachinery's
// RoundTripperWrapper asks for.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

// CloseIdleConnections passes the request on to the first wrapped RoundTripper that
// takes it.
func (t *transport) CloseIdleConnections() {
	for next := t.next; next != nil; {
		switch rt := next.(type) {
		case interface{ CloseIdleConnections() }:
			rt.CloseIdleConnections()
			return
		case interface{ WrappedRoundTripper() http.RoundTripper }:
			next = rt.WrappedRoundTripper()
		default:
			return
		}
	}
}

// RoundTrip sends the request, as often as the policy allows.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return t.next.RoundTrip(req)
	}
	if t.policy.problem != "" {
		closeBody(req)
		return nil, t.policy.invalid()
	}
	if req.Context().Value(sendKey{}) != nil {
		return t.next.RoundTrip(req) // another Transport, above this one, sees to it
	}
	x := &exchange{t: t, req: req, request: apirequest.Read(req)}
	var resp *http.Response
	var err error
	if record := recordIn(req.Context()); record != nil {
		resp, err = x.guarded(req.Context(), record)
	} else if x.request.Once {
		resp, err = t.once(req)
	} else {
		resp, err = x.repeat()
	}
	clientgo.HideRetryAfter(resp)
	return resp, clientgo.HideError(err, &x.request, req.Method)
}

// once sends without a loop.
func (t *transport) once(req *http.Request) (*http.Response, error) {
	if t.policy.duration(numAttemptTimeout) == 0 {
		return t.next.RoundTrip(req)
	}
	return attempt(req.Context(), func(ctx context.Context) (*http.Response, error) {
		resp, err := t.next.RoundTrip(req.WithContext(ctx))
		if resp != nil {
			resp.Request = req
		}
		return resp, err
	}, &t.policy.config, new(progress))
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // nothing was sent: there is nobody to tell
	}
}
