// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/k8sretry/k8sretry/internal/attemptctx"
	"github.com/k8sretry/k8sretry/internal/clientgo"
	"github.com/k8sretry/k8sretry/internal/health"
)

// hedge is a read that may be sent twice at the same time. The first send runs in the
// goroutine of the call, the second one in a goroutine that ends before the call goes on.
type hedge struct {
	record        *callRecord
	req           *http.Request
	first, second *attemptctx.Context // of the two sends

	timer   *time.Timer   // starts the second send
	decided atomic.Bool   // one of them has got an answer
	ended   chan struct{} // closed when there is no second send, or no longer

	// The second send, to be read after ended. It has an exchange of its own, because a send
	// writes to what it knows of the request.
	exchange exchange
	response *http.Response
	won      bool // it has decided
	panicked any
	config   config   // with the limiter of the server
	progress progress // with its place at the limiter
}

// newHedgeBudget returns what the second requests of a Transport are paid from, so that they
// are a small share of all reads even if the server is slow with all of them.
func newHedgeBudget(p *Policy) *Budget {
	if p.duration(numHedge) == 0 {
		return nil
	}
	return NewBudget(BudgetConfig{Ratio: 0.1, MinRetries: 10, Window: 10 * time.Second})
}

// transmitRead is transmit. A GET or a LIST that has no answer after the time of WithHedge is
// sent once more, and the first answer is returned.
func (x *exchange) transmitRead(ctx context.Context, r *callRecord, req *http.Request) (*http.Response, error) {
	if x.t.hedges == nil || !x.mayHedge(r) {
		return x.transmit(ctx, r, req, &x.request)
	}
	h := &hedge{
		record: r, req: req, ended: make(chan struct{}), exchange: exchange{t: x.t, req: x.req, request: x.request},
		first: attemptctx.New(ctx, 0), second: attemptctx.New(ctx, 0), // a response is read after the call
	}
	h.timer = time.AfterFunc(x.t.policy.duration(numHedge), h.sendSecond)
	var resp *http.Response
	returned := false
	defer func() {
		if !returned { // the wrapped RoundTripper or an observer has panicked
			h.second.Cancel()
			h.wait()
			h.progress.abandon(&h.config)
			drop(h.first, resp)
			drop(h.second, h.response)
		}
	}()
	resp, err := x.transmit(h.first, r, req, &x.request)
	if isAnswer(resp, err) && h.decided.CompareAndSwap(false, true) {
		h.second.Cancel()
	}
	h.wait()
	h.report(ctx)
	if h.decided.Load() {
		x.t.hedges.earn()
	}
	if h.panicked != nil {
		panic(h.panicked)
	}
	returned = true
	if h.won || resp == nil && h.response != nil { // an answer says more than a lost connection
		drop(h.first, resp)
		h.second.End(true)
		return h.response, nil
	}
	drop(h.second, h.response)
	h.first.End(err == nil)
	return resp, err
}

// mayHedge reports whether the request may be sent twice at the same time: a read whose answer
// ends, unless the call has a breaker or a limiter that cannot be asked here.
func (x *exchange) mayHedge(r *callRecord) bool {
	q := &x.request
	switch {
	case x.req.Method != http.MethodGet && x.req.Method != "", q.Once, q.Resource == "", x.req.Body != nil && x.req.Body != http.NoBody:
		return false
	case q.Subresource != "" && q.Subresource != "status" && q.Subresource != "scale":
		return false // logs, and whatever is behind a proxy
	}
	return (r == &x.record || !r.guarded) && !x.isLease() && x.t.policy.breaker.State() == BreakerClosed
}

// isAnswer reports whether the other send need not be waited for. A 429 or a 5xx is no answer:
// the other send may get one.
func isAnswer(resp *http.Response, err error) bool {
	return err == nil && resp != nil && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < http.StatusInternalServerError
}

// sendSecond is the goroutine of the second send.
func (h *hedge) sendSecond() {
	defer close(h.ended)
	defer func() { h.panicked = recover() }()
	if !h.admitted() {
		return
	}
	h.record.hedges.Add(1)
	resp, err := h.exchange.transmit(h.second, h.record, h.req, &h.exchange.request) //nolint:bodyclose // by whoever reads it, or drop
	h.response = resp
	if isAnswer(resp, err) && h.decided.CompareAndSwap(false, true) {
		h.won = true
		h.first.Cancel()
	}
}

// admitted asks the limiter for a place, which is not that of the first send, and the budgets
// for the price of a retry. The second send does not queue.
func (h *hedge) admitted() bool {
	h.config = h.exchange.config()
	h.progress = progress{quiet: true, kind: h.config.limiterKey, attempts: 1}
	if h.config.limiter != nil {
		ticket, _, ok := h.config.limiter.calls.Enter(context.Background(), h.progress.kind, 0)
		if !ok {
			return false
		}
		h.progress.turn.ticket = ticket
	}
	return h.exchange.t.hedges.pay(1, 0) && (h.config.budget == nil || h.config.budget.pay(1, 0))
}

// wait prevents the second send, or waits for its end.
func (h *hedge) wait() {
	if h.timer.Stop() {
		close(h.ended)
	}
	<-h.ended
}

// report gives back the place of the second send.
func (h *hedge) report(ctx context.Context) {
	if !h.progress.turn.taken() {
		return
	}
	end := health.Unknown
	if h.won {
		end = health.Healthy
	}
	h.progress.report(&h.config, ctx, end, 0, nil)
}

// drop ends a send whose answer is not needed.
func drop(ctx *attemptctx.Context, resp *http.Response) {
	ctx.Cancel()
	clientgo.Discard(resp)
}
