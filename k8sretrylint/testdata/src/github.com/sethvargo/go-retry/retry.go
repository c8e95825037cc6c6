// Package retry has what the tests need of the package of this path.
package retry

import (
	"context"
	"time"
)

type Backoff interface{ Next() (time.Duration, bool) }

func NewExponential(base time.Duration) Backoff                              { return nil }
func NewFibonacci(base time.Duration) Backoff                                { return nil }
func WithFullJitter(next Backoff) Backoff                                    { return next }
func WithJitterPercent(j uint64, next Backoff) Backoff                       { return next }
func NewConstant(t time.Duration) Backoff                                    { return nil }
func WithMaxRetries(max uint64, next Backoff) Backoff                        { return next }
func WithCappedDuration(cap time.Duration, next Backoff) Backoff             { return next }
func WithMaxDuration(timeout time.Duration, next Backoff) Backoff            { return next }
func WithJitter(j time.Duration, next Backoff) Backoff                       { return next }
func RetryableError(err error) error                                         { return err }
func Do(ctx context.Context, b Backoff, f func(context.Context) error) error { return nil }
func DoValue[T any](ctx context.Context, b Backoff, f func(context.Context) (T, error)) (v T, err error) {
	return v, nil
}
