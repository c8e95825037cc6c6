// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// hand is a carefully hand-written loop: generic, bounded, with jitter, a reused
// timer, and a check of the context before each attempt.
//
// When the context ends, it loses the error of the API. It ignores Retry-After, does
// not check the deadline before it waits, does not recognize lost HTTP/2 connections,
// treats a denial of a webhook with code 500 as transient, repeats a create of unknown
// outcome, does not report its attempts in the error, and has no logs and metrics.
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

// handDelay returns the delay before the given retry, counted from 0.
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
