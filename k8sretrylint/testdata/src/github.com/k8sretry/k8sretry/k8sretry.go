// Package k8sretry has what the tests need of the package of this path.
package k8sretry

import (
	"context"
	"errors"
	"net/http"
	"time"
)

var (
	ErrMaxRetries     = errors.New("max retries reached")
	ErrDeadline       = errors.New("no time left before the deadline")
	ErrOutcomeUnknown = errors.New("the server may have carried out the call")
)

type (
	Option interface{}
	Policy struct{}
	Verb   int
)

const (
	VerbGet Verb = iota
	VerbList
	VerbCreate
	VerbUpdate
	VerbPatch
	VerbDelete
	VerbDeleteCollection
)

func Do[T any](ctx context.Context, fn func(context.Context) (T, error), opts ...Option) (t T, err error) {
	return t, nil
}
func Run(ctx context.Context, fn func(context.Context) error, opts ...Option) error { return nil }

func Modify[T any](ctx context.Context, client any, name string, mutate func(T) error, options ...Option) (t T, err error) {
	return t, nil
}
func Create[T any](ctx context.Context, client any, obj T, opts any, options ...Option) (t T, err error) {
	return t, nil
}

func NewPolicy(opts ...Option) *Policy                                   { return nil }
func ForRead() *Policy                                                   { return nil }
func ForWrite() *Policy                                                  { return nil }
func ReadOnly() Option                                                   { return nil }
func IncludeLeases() Option                                              { return nil }
func WithVerb(v Verb) Option                                             { return nil }
func WithMaxRetries(n int) Option                                        { return nil }
func WithAttemptTimeout(d time.Duration) Option                          { return nil }
func Transport(opts ...Option) func(http.RoundTripper) http.RoundTripper { return nil }
func WithInitialDelay(d time.Duration) Option                            { return nil }
func WithMaxDelay(d time.Duration) Option                                { return nil }
func WithMaxElapsed(d time.Duration) Option                              { return nil }
func WithMultiplier(m float64) Option                                    { return nil }
func WithRetryIf(f func(error) bool) Option                              { return nil }
func StatusSubresource(client any) any                                   { return client }
func Permanent(err error) error                                          { return err }
