package k8sretry

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/attemptctx"
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
	k := apirequest.Read(req)
	var resp *http.Response
	var err error
	if record := recordIn(req.Context()); record != nil {
		x := &exchange{t: t, req: req, kind: k}
		resp, err = x.guarded(req.Context(), record)
	} else if k.Once {
		resp, err = t.once(req)
	} else {
		resp, err = t.repeat(req, k)
	}
	clientgo.HideRetryAfter(resp)
	return resp, clientgo.HideError(err, &k, req.Method)
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

// repeat sends in the loop of all calls.
func (t *transport) repeat(req *http.Request, k apirequest.Request) (*http.Response, error) {
	x := &exchange{t: t, req: req, kind: k}
	opts := [...]Option{nil, t.policy, WithVerb(Verb(k.Verb)), nil, nil}
	if t.policy.name == "" {
		opts[0] = WithName(k.Name())
	}
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		opts[3] = WithMaxRetries(0)
	}
	if t.policy.limiter != nil {
		opts[4] = WithLimiter(t.policy.limiter.server(req.URL.Host))
	}
	c := resolve(opts[:])
	c.setDefaults()
	resp, err := run(req.Context(), x.attempt, &c, &x.record)
	if x.sends == 0 {
		closeBody(req) // the context was over
	}
	if err != nil {
		return x.last(err)
	}
	return resp, nil
}

// exchange is one request on its way through a Transport.
type exchange struct {
	t       *transport
	req     *http.Request
	kind    apirequest.Request
	record  wire // if the loop is the Transport's own
	first   send
	sends   int
	failure *http.Response      // the answer of the last attempt, if it was one that failed
	judged  error               // what that answer is as an error
	bounded *attemptctx.Context // on which that answer is read, nil without an attempt timeout
}

// attempt is the function that the loop calls.
func (x *exchange) attempt(ctx context.Context) (*http.Response, error) {
	x.discard()
	resp, err := x.send(ctx, &x.record)
	if err != nil {
		// As net/http will hand it on: by this an error is known to be of the wire.
		return nil, &url.Error{Op: x.req.Method, URL: x.req.URL.Redacted(), Err: err}
	}
	if resp.StatusCode < http.StatusBadRequest {
		return resp, nil
	}
	x.record.keepContext()
	x.bounded, _ = ctx.(*attemptctx.Context)
	x.failure, x.judged = resp, clientgo.ResponseError(resp, &x.kind, x.req.Method, x.sends > 1 || x.t.policy.given&(hasCondition|hasClassifier) != 0)
	return resp, x.judged
}

// last turns the end of the loop into what the client gets.
func (x *exchange) last(err error) (*http.Response, error) {
	e, _ := err.(*Error)
	if x.failure != nil {
		// The answer itself, unless the error knows more than it.
		if e == nil || len(e.ended) == 0 && e.Outcome <= Classify(x.judged).Outcome {
			resp := x.failure
			x.failure, x.bounded = nil, nil // see send
			return resp, nil
		}
		x.discard()
	}
	if e == nil {
		return nil, withoutURL(err)
	}
	e.Err = withoutURL(e.Err)
	for i := range e.ended {
		e.ended[i] = withoutURL(e.ended[i])
	}
	return nil, e
}

// discard gives up the answer that failed. What remains of it may take as long as an
// attempt.
func (x *exchange) discard() {
	if c := x.bounded; c != nil {
		timer := time.AfterFunc(x.t.policy.duration(numAttemptTimeout), c.Cancel)
		defer func() { timer.Stop(); c.Cancel() }()
	}
	clientgo.Discard(x.failure)
	x.failure, x.judged, x.bounded = nil, nil, nil
}

func withoutURL(err error) error {
	if u, ok := err.(*url.Error); ok {
		return u.Err
	}
	return err
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // nothing was sent: there is nobody to tell
	}
}
