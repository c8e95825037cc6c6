package k8sretry

import (
	"context"
	"net/http"
	"time"

	"github.com/k8sretry/k8sretry/internal/attemptctx"
)

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
