// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"net/http"
	"time"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/attemptctx"
	"github.com/k8sretry/k8sretry/internal/clientgo"
	"github.com/k8sretry/k8sretry/internal/redial"
)

// Transport returns a wrapper for rest.Config.Wrap that retries the requests of every
// client built from that config (typed, dynamic, metadata, discovery, controller-runtime)
// as [Do] does, below client-go:
//
//	cfg.Wrap(k8sretry.Transport(k8sretry.WithAttemptTimeout(30 * time.Second)))
//
// It replaces client-go's own retries, which repeat any verb up to ten times on a 429 or
// 5xx with Retry-After. With n retries the server sees at most n + 1 requests, including
// those that net/http repeats by itself. There are four exceptions: if a kept HTTP/1.1
// connection breaks in the last attempt of a read, net/http sends it once more; before a
// Transport repeats a delete or an eviction by name, it reads the object, see below; with
// [WithHedge], an attempt of a read may be two requests at the same time; and a redirect that
// net/http follows is a new request, with retries of its own. The client
// receives the last answer as the server sent it, so apierrors.SuggestsClientDelay and the
// other predicates are right; or the last error of the connection, in an [*Error] if it was
// transient.
//
// Inside a [Do], [Run] or wrapped function whose context reaches the request, a Transport
// sends once for each attempt, without a loop and without events, and reports what it saw to
// the Do. Of two Transports around one client, the outer one retries.
//
// The verb comes from the request: its method, path, query, and the content type of a patch.
// WithVerb and ReadOnly have no effect. Behind a proxy or a gateway the innermost path of the
// API counts. A request that must not be repeated while its outcome is unknown is not
// repeated: a create of an object without a name (generateName), a create of a subresource
// (a binding, but not an eviction), a JSON patch without a test and the strategic merge patches that [Patch]
// does not repeat, a deletecollection, a write to a subresource other than status, scale,
// finalize, approval, ephemeralcontainers and resize (it may be an action, such as the
// restart of a virtual machine), and a write to a path that is not one of the API, such as
// what a service serves behind its proxy. A create of an object with a name is repeated,
// because there cannot be a second one of that name beside it (one that others have removed before
// the repetition is created again); AlreadyExists then comes in an *Error, see below. Reviews, token requests and dry runs store nothing and are repeated. A request
// with a body but without GetBody is sent once. Watches, followed logs, exec, attach and
// port-forward are sent once, without
// events: their callers resume them. If an earlier attempt may have been carried out and the
// last answer does not say so, the client gets an *Error that holds both: errors.Is finds
// ErrOutcomeUnknown, and the predicates find the answer. The error of a write whose successful
// answer ends before it is complete matches ErrOutcomeUnknown, too; the client reads the body after
// the Transport has returned, which does not repeat the request then.
//
// A delete or an eviction with a UID or a resourceVersion as a precondition is repeated. Of
// one without, another object may have the name by now. So before the repetition the Transport reads the
// object: a GET of the same path with the headers of the request, which asks for metadata
// only. If the object is gone, or is being deleted in the way that was asked for, the client
// gets that answer. If it is older than the call, by its creationTimestamp and the Date of
// the answer and by more than 10 s, by which the clocks of servers may differ or be set forward
// during the call, the delete is repeated with its UID as a precondition. Otherwise, and if the
// client may not read the object, the error matches ErrOutcomeUnknown. A NotFound after a
// repeated delete reaches the client as it came. If the server refuses the repetition because another object has the name,
// the client gets a success.
//
// Before each repetition of an eviction by name the Transport reads the pod, whose deletion of
// any kind is a success. The client needs the right to get pods.
//
// A PUT without a resourceVersion, and a merge or strategic merge patch that names none, are
// repeated and may undo what other clients have written in between. With a resourceVersion
// (in a JSON patch: a test of it) they change nothing then; a Conflict after an answer that
// was lost comes in an *Error with ErrOutcomeUnknown.
//
// A write that is answered by a page, such as that of a login, or by another content type than
// those of the API, has failed like one that is answered by a 503. A 301, 302 or 303, which
// net/http would follow with a GET, ends the call; its outcome is unknown. So does a 307 or 308
// after an attempt that may have been carried out. If a RoundTripper below the Transport has
// repeated a write by itself after an answer, a failure that the first request may have caused is an
// *Error with ErrOutcomeUnknown. A repetition after a lost connection is not noticed: leave those to
// the Transport.
//
// Events and errors name the call by verb and resource, such as "get pods", "create
// deployments.apps" or "create pods/eviction"; WithName overrides the name. Each answer of
// 400 and above is an event, as in Do.
//
// Budget, Breaker and Limiter are asked as in Do, the Limiter separately for each host and each path
// before that of the API, which may lead to another cluster. A Do
// above that has none of its own uses those of the Transport. Requests for
// leases.coordination.k8s.io are sent once and pass the Limiter; see [IncludeLeases].
//
// Each send is bounded by WithAttemptTimeout, without the option by 75 s, which is longer than
// the 60 s that a server works on a request by default; WithAttemptTimeout(0) removes the bound.
// It detects a server that accepts requests and never answers. It covers a send up to the headers
// of its answer: what is read afterwards, a watch as well as an object, is bounded by the
// caller's context. The 75 s do not apply to requests that may take longer: watches, followed
// logs, exec, attach, port-forward and what goes through a proxy subresource. A Do above that has
// no attempt timeout of its own has that of the Transport. rest.Config.Timeout, which net/http
// applies above the Transport, covers all sends of a call and the waits between them. Retries
// pass below client-go's rate limiter and its metrics.
//
// client-go reads the bearer token above a Transport that rest.Config.Wrap has added, once for
// all sends of a request. For policies that go on for minutes, docs/recipes.md shows how to put
// the Transport outside.
//
// If a send runs into a timeout or deadline on a kept connection, and no other one has got an
// answer on that connection since it began, the sends of the next minute use new connections,
// through a copy of the http.Transport. The old connection and other requests on it are left
// alone. This needs a Transport directly around an http.Transport, as in client-go unless
// rest.Config was given another RoundTripper or wrapper before.
//
// The RoundTripper is safe for concurrent use if the wrapped one is. It never changes the
// request and sets no header, but for the repetition of a delete or an eviction by name. It hides the
// Retry-After of a 429 or 5xx answer until the client
// reads the body, which is when client-go has decided not to repeat the request. Readers among
// the RoundTrippers above it do not see the header; if one replaces the body by a copy, the
// client's error has no delay, unless the Status in the body has one. A Transport also hides
// from client-go's loop, but not from errors.Is, that the connection of a GET broke. It
// implements WrappedRoundTripper and CloseIdleConnections. An invalid option is the error of
// each request. A nil RoundTripper stands for http.DefaultTransport.
func Transport(opts ...Option) func(http.RoundTripper) http.RoundTripper {
	policy := NewPolicy(opts...)
	if policy.given&(1<<numAttemptTimeout) == 0 {
		policy.numbers[numAttemptTimeout] = int64(usualTimeout) // not given: see timeout and queueTimeout
	}
	transportBuilt.Store(true)
	hedges := newHedgeBudget(policy)
	return func(next http.RoundTripper) http.RoundTripper {
		if next == nil {
			next = http.DefaultTransport
		}
		return &transport{next: next, conns: redial.New(next), policy: policy, hedges: hedges}
	}
}

type transport struct {
	next   http.RoundTripper
	conns  *redial.Connections // of next
	policy *Policy
	hedges *Budget // nil without WithHedge
}

// WrappedRoundTripper returns what the Transport wraps. It implements RoundTripperWrapper of
// k8s.io/apimachinery/pkg/util/net.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

// CloseIdleConnections calls that method of the first wrapped RoundTripper that has it.
func (t *transport) CloseIdleConnections() {
	t.conns.CloseIdleConnections()
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

// RoundTrip sends the request until it succeeds or the policy gives up.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return t.next.RoundTrip(req)
	}
	if t.policy.problem != "" {
		closeBody(req)
		return nil, t.policy.invalid()
	}
	if req.Context().Value(sendKey{}) != nil {
		return t.conns.RoundTrip(req) // another Transport above this one retries
	}
	x := &exchange{t: t, req: req, request: apirequest.Read(req)}
	var resp *http.Response
	var err error
	if record := recordIn(req.Context()); record != nil {
		resp, err = x.guarded(req.Context(), record)
	} else if x.request.Once || x.isLease() {
		resp, err = x.once()
	} else {
		x.record.transport = true
		resp, err = x.repeat()
		x.markCut(resp)
	}
	clientgo.HideRetryAfter(resp, req)
	clientgo.HideReadErrors(resp, &x.request, req.Method)
	return resp, clientgo.HideError(err, &x.request, req.Method)
}

// once sends without a loop.
func (x *exchange) once() (*http.Response, error) {
	return x.inTime(x.req.Context(), func(ctx context.Context) (*http.Response, error) {
		req := x.req
		if ctx != req.Context() {
			req = req.WithContext(ctx)
		}
		resp, err := x.t.conns.RoundTrip(req)
		if resp != nil {
			resp.Request = x.req
		}
		return resp, err
	})
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // nothing was sent, so its error does not matter
	}
}

// usualTimeout bounds a send of a Transport without WithAttemptTimeout. kube-apiserver gives up
// on a request after 60 s by default (--request-timeout).
const usualTimeout = 75 * time.Second

// timeout is how long a send may take, 0 for no limit.
func (x *exchange) timeout() time.Duration {
	c := &x.t.policy.config
	if c.given&(1<<numAttemptTimeout) == 0 && (x.request.Once || x.request.Subresource == "proxy") {
		return 0
	}
	return c.duration(numAttemptTimeout)
}

// inTime sends with the timeout of the request.
func (x *exchange) inTime(ctx context.Context, send func(context.Context) (*http.Response, error)) (resp *http.Response, err error) {
	timeout := x.timeout()
	if timeout == 0 {
		return send(ctx)
	}
	ok := false
	c := attemptctx.New(ctx, timeout)
	defer func() { c.End(ok) }()
	resp, err = send(c)
	ok = err == nil
	return resp, err
}

// sendInTime sends for an attempt of a Do above, with the timeout of the Transport if the Do has
// none.
func (x *exchange) sendInTime(ctx context.Context, r *callRecord) (*http.Response, error) {
	if r.bounded {
		return x.send(ctx, r, nil)
	}
	return x.inTime(ctx, func(ctx context.Context) (*http.Response, error) { return x.send(ctx, r, nil) })
}
