package k8sretry

import (
	"context"

	"github.com/k8sretry/k8sretry/internal/attemptctx"
)

// attempt calls fn once, with the context that the options ask for. Breaker and limiter
// have let the attempt through; if fn panics, what they gave is given back here.
func attempt[T any](ctx context.Context, fn func(context.Context) (T, error), c *config, p *progress) (T, error) {
	p.count(1)
	timeout := c.duration(numAttemptTimeout)
	if p.record == nil && timeout == 0 && !p.turn.taken() {
		return fn(ctx)
	}
	var bounded *attemptctx.Context
	returned, ok := false, false
	defer func() {
		if !returned { // fn has panicked, or its goroutine exits
			p.abandon(c)
			p.record.close()
		}
		if bounded != nil {
			p.turn.timedOut = bounded.End(ok)
		}
	}()
	if p.record != nil {
		p.record.attempt(int(p.attempts))
		ctx = p.record.context(ctx)
	}
	if timeout > 0 {
		bounded = attemptctx.New(ctx, timeout)
		ctx = bounded
	}
	v, err := fn(ctx)
	returned, ok = true, err == nil || p.record.contextKept()
	return v, p.record.reveal(err)
}
