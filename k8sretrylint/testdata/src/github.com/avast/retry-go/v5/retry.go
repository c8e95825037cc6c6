// Package retry has what the tests need of the package of this path.
package retry

import (
	"context"
	"time"
)

type Option func()

type Retrier struct{}

type RetrierWithData[T any] struct{}

func New(opts ...Option) *Retrier                                     { return nil }
func NewWithData[T any](opts ...Option) *RetrierWithData[T]           { return nil }
func (r *Retrier) Do(f func() error) error                            { return nil }
func (r *RetrierWithData[T]) Do(f func() (T, error)) (t T, err error) { return t, nil }

func Attempts(n uint) Option             { return nil }
func Delay(d time.Duration) Option       { return nil }
func MaxDelay(d time.Duration) Option    { return nil }
func Context(ctx context.Context) Option { return nil }
func RetryIf(f func(error) bool) Option  { return nil }
func LastErrorOnly(b bool) Option        { return nil }
func Unrecoverable(err error) error      { return err }
