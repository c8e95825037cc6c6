// SPDX-License-Identifier: Apache-2.0

// Package ctxerr reads the error of contexts, also of those that break the contract of
// context.Context: Done is closed, but Err returns nil. A type that embeds
// context.Background() and has a Done of its own does that. Such a context counts as
// canceled. Otherwise every wait for it would end at once, and package context, which
// panics if the parent of a context ends without an error, would end the process.
package ctxerr

import "context"

// Of returns ctx.Err(), or context.Canceled if only Done says that ctx is over. It returns
// nil for a context that is not over.
func Of(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		if err := ctx.Err(); err != nil { // it has ended in between
			return err
		}
		return context.Canceled
	default:
		return nil
	}
}

// Parent returns a context from which package context can derive others, whether or not ctx
// keeps the contract. A context derived from it follows ctx as it would without Parent.
func Parent(ctx context.Context) context.Context {
	if follower, ok := ctx.(afterFuncer); ok {
		return soundFollower{sound{ctx}, follower}
	}
	return sound{ctx}
}

// afterFuncer is what package context uses of a foreign context instead of a goroutine.
type afterFuncer interface {
	AfterFunc(f func()) (stop func() bool)
}

type sound struct{ context.Context }

func (s sound) Err() error { return Of(s.Context) }

type soundFollower struct {
	sound
	afterFuncer
}
