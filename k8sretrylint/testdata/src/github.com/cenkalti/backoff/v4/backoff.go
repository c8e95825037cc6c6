// Package backoff has what the tests need of the package of this path.
package backoff

import (
	"context"
	"time"
)

type BackOff interface{ NextBackOff() time.Duration }

type ExponentialBackOff struct {
	BackOff
	InitialInterval, MaxInterval, MaxElapsedTime time.Duration
	Multiplier                                   float64
}

func NewExponentialBackOff() *ExponentialBackOff                                     { return nil }
func NewConstantBackOff(d time.Duration) BackOff                                     { return nil }
func WithMaxRetries(b BackOff, max uint64) BackOff                                   { return b }
func WithContext(b BackOff, ctx context.Context) BackOff                             { return b }
func Permanent(err error) error                                                      { return err }
func Retry(o func() error, b BackOff) error                                          { return nil }
func RetryNotify(o func() error, b BackOff, notify func(error, time.Duration)) error { return nil }

type PermanentError struct{ Err error }

func (e *PermanentError) Error() string { return e.Err.Error() }
