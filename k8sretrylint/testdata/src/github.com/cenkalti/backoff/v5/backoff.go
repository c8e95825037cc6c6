// Package backoff has what the tests need of the package of this path.
package backoff

import (
	"context"
	"time"
)

type BackOff interface{ NextBackOff() time.Duration }

type RetryOption func()

func NewConstantBackOff(d time.Duration) BackOff          { return nil }
func NewExponentialBackOff() BackOff                      { return nil }
func WithBackOff(b BackOff) RetryOption                   { return nil }
func WithMaxTries(n uint) RetryOption                     { return nil }
func WithMaxElapsedTime(d time.Duration) RetryOption      { return nil }
func WithNotify(n func(error, time.Duration)) RetryOption { return nil }
func Permanent(err error) error                           { return err }
func Retry[T any](ctx context.Context, operation func() (T, error), opts ...RetryOption) (t T, err error) {
	return t, nil
}

type PermanentError struct{ Err error }

func (e *PermanentError) Error() string { return e.Err.Error() }
