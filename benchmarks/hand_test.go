package benchmarks

import (
	"context"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// hand is the loop that a good engineer writes into a service: generic, bounded,
// with jitter, a reused timer, and a look at the context before each attempt.
//
// It loses the API's error when the context ends. It has no Retry-After, looks at
// no deadline before it sleeps, knows no lost HTTP/2 connections, takes a
// webhook's denial with code 500 for a passing failure, repeats a create whose
// outcome is unknown, says nothing about its attempts in the error, and neither
// logs nor counts.
func hand[T any](ctx context.Context, fn func(context.Context) (T, error), retries int, initial time.Duration) (T, error) {
	var timer *time.Timer
	for retry := 0; ; retry++ {
		if ctx.Err() != nil {
			var none T
			return none, context.Cause(ctx)
		}
		v, err := fn(ctx)
		if err == nil || retry >= retries || !transient(err) {
			return v, err
		}
		d := handDelay(retry, initial)
		if timer == nil {
			timer = time.NewTimer(d)
		} else {
			timer.Reset(d)
		}
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// handDelay returns the delay before the given retry, the first being 0.
func handDelay(retry int, initial time.Duration) time.Duration {
	d := min(initial<<retry, maxDelay)
	return d + time.Duration(rand.Float64()*jitter*float64(d))
}

func handWritten(initial time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			v, err = hand(ctx, fn, maxRetries, initial)
		}
		return v, err
	}
}
