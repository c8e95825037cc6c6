// Package retry has what the tests need of the package of this path.
package retry

import (
	"context"
	"time"
)

type Option func()

type Error []error

func (e Error) Error() string { return "" }

func Attempts(n uint) Option                                                 { return nil }
func Delay(d time.Duration) Option                                           { return nil }
func MaxDelay(d time.Duration) Option                                        { return nil }
func Context(ctx context.Context) Option                                     { return nil }
func RetryIf(f func(error) bool) Option                                      { return nil }
func LastErrorOnly(b bool) Option                                            { return nil }
func OnRetry(f func(n uint, err error)) Option                               { return nil }
func Unrecoverable(err error) error                                          { return err }
func Do(f func() error, opts ...Option) error                                { return nil }
func DoWithData[T any](f func() (T, error), opts ...Option) (t T, err error) { return t, nil }
