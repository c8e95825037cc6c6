package k8sretry

import (
	"context"
	"net/http"
	"net/url"

	"github.com/k8sretry/k8sretry/internal/clientgo"
	"github.com/k8sretry/k8sretry/internal/health"
)

// guarded sends once for an attempt of a Do above, past the breaker and the limiter of the
// Transport. A Do with a breaker or a limiter of its own has already asked those.
func (x *exchange) guarded(ctx context.Context, record *wire) (*http.Response, error) {
	shared := &x.t.policy.config
	record.lend(shared.budget)
	if x.kind.Once || record.guarded || !shared.guarded() {
		return x.send(ctx, record)
	}
	c := *shared
	c.setNumber(numVerb, int64(x.kind.Verb))
	if c.limiter != nil {
		c.limiter = c.limiter.server(x.req.URL.Host)
	}
	if c.name == "" {
		c.name = x.kind.Name()
		c.copyName = x.kind.Name
	}
	c.limiterKey = c.keyOfLimiter()
	p := new(progress)
	c.numbers[numMaxElapsed] = 0 // it bounds the Transport's own loop
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
	resp, err := x.send(ctx, record)
	returned = true
	h, v, failure := health.Healthy, Verdict{}, err
	if err != nil {
		failure = &url.Error{Op: x.req.Method, URL: x.req.URL.Redacted(), Err: err}
	} else if resp.StatusCode >= http.StatusBadRequest {
		failure = clientgo.ResponseError(resp, &x.kind, x.req.Method, false)
	}
	if failure != nil {
		v = Classify(failure)
		h = p.health(ctx, &v)
		p.verdict = v
	}
	p.report(&c, ctx, h, v.RetryAfter, failure)
	return resp, err
}

// lend gives a Do without a budget that of the Transport.
func (w *wire) lend(b *Budget) {
	if b == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget = b
}

// lent is the budget that a Transport has lent, nil if none has.
func (w *wire) lent() *Budget {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.budget
}
