// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/attemptctx"
	"github.com/k8sretry/k8sretry/internal/clientgo"
	"github.com/k8sretry/k8sretry/internal/health"
)

// exchange is one request on its way through a Transport.
type exchange struct {
	t        *transport
	req      *http.Request
	request  apirequest.Request
	record   callRecord // if the loop is the Transport's own
	sends    int
	failure  error               // of the last attempt
	unknown  bool                // an earlier attempt may have been carried out
	response *http.Response      // of the last attempt, if it was one that failed
	judged   error               // that response as an error
	stray    error               // the failure, if it ends the call because of its context
	bounded  *attemptctx.Context // on which the response is read, nil without an attempt timeout
}

// config is that of the Transport for the request.
func (x *exchange) config() config {
	c := x.t.policy.config
	c.setNumber(numVerb, int64(x.request.Verb))
	c.numbers[numAttemptTimeout] = int64(x.timeout())
	// A create names its object in the body, or cannot be repeated: see riskConfirmed. An
	// eviction is repeated like a deletion.
	c.namedCreate = x.request.Risk == apirequest.RiskNoName || x.request.Evicts()
	if c.limiter != nil {
		c.limiter, c.limiterKey = c.limiter.server(x.server()), x.kind()
	}
	if c.name == "" {
		c.name, c.copyName = x.request.Name(), x.request.Name
	}
	return c
}

// server is the server of the request for a Limiter. Behind one host, paths that come before that of
// the API may lead to other servers.
func (x *exchange) server() string {
	if x.request.Prefix == "" {
		return x.req.URL.Host
	}
	return x.req.URL.Host + "/" + x.request.Prefix
}

// kind is the kind of the request for a Limiter: all but the name of the object.
func (x *exchange) kind() uint64 {
	h := hashOf(firstHash, x.request.Resource)
	for _, text := range [...]string{x.request.Group, x.request.Subresource, x.request.Namespace} {
		h = hashOf((h^'/')*31, text)
	}
	if x.request.Resource == "" {
		h = hashOf(h, x.req.URL.Path)
	}
	return kindKey(h, Verb(x.request.Verb))
}

// repeat sends in the loop of all calls.
func (x *exchange) repeat() (*http.Response, error) {
	c := x.config()
	if x.req.Body != nil && x.req.Body != http.NoBody && x.req.GetBody == nil {
		c.numbers[numMaxRetries] = 0 // there is no second copy of the body
	}
	returned := false
	defer func() {
		if !returned { // an observer has panicked
			x.discard()
		}
	}()
	resp, err := run(x.req.Context(), x.attempt, &c, &x.record, 0)
	returned = true
	if x.sends == 0 {
		closeBody(x.req) // the context had ended
	}
	if err != nil {
		return x.result(err)
	}
	return resp, nil
}

// attempt is the function that the loop of a Transport calls.
func (x *exchange) attempt(ctx context.Context) (*http.Response, error) {
	x.remember()
	body, err := x.body()
	if err != nil {
		return nil, Permanent(x.failure) // it cannot be sent again
	}
	x.discard()
	resp, err := x.send(ctx, &x.record, body)
	if m, ok := err.(*permanentError); ok { //nolint:errorlint // only that of notRepeated
		x.failure = x.urlError(m.err)
		return nil, Permanent(x.failure)
	}
	if err != nil {
		x.failure = x.urlError(err)
		return nil, x.orStray(x.failure)
	}
	if resp.StatusCode < http.StatusBadRequest {
		return x.redirected(resp)
	}
	x.record.KeepContext()
	x.bounded, _ = ctx.(*attemptctx.Context)
	readBody := x.sends > 1 || x.t.policy.given&(hasCondition|hasClassifier) != 0
	x.response, x.judged = resp, clientgo.ResponseError(resp, &x.request, x.req.Method, readBody)
	x.failure = x.judged
	return resp, x.orStray(x.judged)
}

// body returns the body of the next send, nil for that of the request itself.
func (x *exchange) body() (io.ReadCloser, error) {
	if x.sends == 0 || x.req.Body == nil || x.req.Body == http.NoBody {
		return nil, nil
	}
	return x.req.GetBody()
}

// urlError wraps an error of the connection as net/http will do. Classify recognizes such
// errors by their *url.Error.
func (x *exchange) urlError(err error) error {
	return &url.Error{Op: x.req.Method, URL: x.req.URL.Redacted(), Err: err}
}

// result returns what the client gets when the loop has failed with err.
func (x *exchange) result(err error) (*http.Response, error) {
	if x.stray != nil {
		return nil, x.stray
	}
	e, _ := err.(*Error) //nolint:errorlint // what the loop returns, not what it wraps
	if x.response != nil {
		// The response itself, unless an earlier attempt makes the outcome less certain.
		// A NotFound after a deletion or an eviction says what the client wants to know.
		gone := x.request.Removes() && isAbsent(x.judged, x.request.Object) && !isBudgetNotFound(x.judged)
		if e == nil || gone || len(e.ended) == 0 && e.Outcome <= Classify(x.judged).Outcome {
			resp := x.response
			x.response, x.bounded = nil, nil
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
	for i := range e.history {
		e.history[i] = withoutURL(e.history[i])
	}
	return nil, e
}

// discard closes the response of the failed attempt, after reading what remains of it for
// at most the attempt timeout.
func (x *exchange) discard() {
	if c := x.bounded; c != nil {
		timer := time.AfterFunc(x.t.policy.duration(numAttemptTimeout), c.Cancel)
		defer func() { timer.Stop(); c.Cancel() }()
	}
	clientgo.Discard(x.response)
	x.response, x.judged, x.bounded = nil, nil, nil
}

func withoutURL(err error) error {
	if u, ok := err.(*url.Error); ok { //nolint:errorlint // only that of urlError
		return u.Err
	}
	return err
}

// guarded sends once for an attempt of a Do above, if the breaker and the limiter of the
// Transport allow it. They are not asked if the Do has a breaker or a limiter of its own.
func (x *exchange) guarded(ctx context.Context, r *callRecord) (*http.Response, error) {
	shared := &x.t.policy.config
	r.lend(shared.budget)
	if x.request.Once || r.guarded || !shared.guarded() {
		return x.sendInTime(ctx, r)
	}
	c := x.config()
	if r.priority || x.isLease() {
		c.limiter = nil
	}
	c.numbers[numMaxElapsed] = 0 // it bounds the Transport's own loop
	p := &progress{quiet: true, kind: c.limiterKey}
	if stopped := p.admit(&c, ctx); stopped != nil {
		closeBody(x.req)
		return nil, stopped
	}
	returned := false
	defer func() {
		if !returned {
			p.abandon(&c)
		}
	}()
	p.attempts++
	resp, err := x.sendInTime(ctx, r)
	returned = true
	failure := err
	if err != nil {
		failure = x.urlError(err)
	} else if resp.StatusCode >= http.StatusBadRequest {
		failure = clientgo.ResponseError(resp, &x.request, x.req.Method, false)
	}
	h := health.Healthy
	if failure != nil {
		p.verdict = Classify(failure)
		h = p.health(ctx, &p.verdict)
	}
	p.report(&c, ctx, h, p.verdict.RetryAfter, failure)
	return resp, err
}

// errNotTaken replaces the error of the last HTTP/2 try, which says that the request could
// not be written.
var errNotTaken = errors.New("the server takes no request on this connection (HTTP/2 REFUSED_STREAM or GOAWAY)")

// errNoResponse is the error of a wrapped RoundTripper that returns two nils, which
// net/http does not allow either.
var errNoResponse = errors.New("k8sretry: the wrapped RoundTripper returned neither a response nor an error")

// send sends the request once, with another body if it is not nil, and records what became of it.
func (x *exchange) send(ctx context.Context, r *callRecord, body io.ReadCloser) (*http.Response, error) {
	req := x.req
	if body != nil {
		req = req.WithContext(ctx)
		req.Body = body
	}
	d, repeats := x.deletion(r)
	if repeats {
		again, resp, err := x.repeatDeletion(ctx, r, d)
		if again != x.req {
			closeBody(req)
			req = again
		}
		if again == nil {
			return resp, err
		}
	}
	if x.request.Removes() {
		r.Deletes()
	}
	x.sends++
	resp, err := x.transmitRead(ctx, r, req)
	if repeats && err == nil && x.isReplaced(resp) {
		return x.removed(resp), nil // the object is gone
	}
	x.noteDeletion(r, resp, err)
	return resp, err
}

// isLease reports whether the request is for a lease that is neither limited nor retried.
func (x *exchange) isLease() bool {
	return x.request.Resource == "leases" && x.request.Group == "coordination.k8s.io" && x.t.policy.given&hasLeases == 0
}
