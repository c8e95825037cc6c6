// SPDX-License-Identifier: Apache-2.0

package ctxerr

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// broken has a Done of its own, but the Err of a context that never ends.
type broken struct {
	context.Context
	done chan struct{}
}

func newBroken() broken { return broken{context.Background(), make(chan struct{})} }

func (b broken) Done() <-chan struct{} { return b.done }

func TestOf(t *testing.T) {
	assert.NoError(t, Of(context.Background()))
	live, cancel := context.WithCancel(t.Context())
	assert.NoError(t, Of(live))
	cancel()
	assert.Equal(t, context.Canceled, Of(live))
	late, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	assert.Equal(t, context.DeadlineExceeded, Of(late))

	assert.Equal(t, context.DeadlineExceeded, Of(onlyErr{context.Background()}), "only Err says that it is over")

	b := newBroken()
	assert.NoError(t, Of(b))
	close(b.done)
	assert.Equal(t, context.Canceled, Of(b), "only Done says that it is over")
}

// onlyErr has an Err, and no Done.
type onlyErr struct{ context.Context }

func (onlyErr) Err() error { return context.DeadlineExceeded }

// between ends after the first look at its Err.
type between struct {
	context.Context
	cancel context.CancelFunc
}

func (b between) Err() error { defer b.cancel(); return b.Context.Err() }

func TestOfSeesAnEndBetweenErrAndDone(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	assert.Equal(t, context.Canceled, Of(between{ctx, func() { cancel(errors.New("why")) }}))
}

// following counts what follows it.
type following struct {
	context.Context
	calls *int
}

func (f following) AfterFunc(do func()) func() bool {
	*f.calls++
	return context.AfterFunc(f.Context, do)
}

func TestParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, endsBefore := range []bool{true, false} {
			b := newBroken()
			if endsBefore {
				close(b.done)
			}
			derived, cancel := context.WithTimeout(Parent(b), time.Hour)
			if !endsBefore {
				assert.NoError(t, derived.Err())
				close(b.done)
				synctest.Wait()
			}
			assert.Equal(t, context.Canceled, derived.Err())
			cancel()
		}
	})

	ctx, cancel := context.WithCancelCause(t.Context())
	before := runtime.NumGoroutine()
	derived, cancelDerived := context.WithCancel(Parent(ctx))
	defer cancelDerived()
	assert.LessOrEqual(t, runtime.NumGoroutine(), before, "package context follows it without a goroutine")
	cause := errors.New("why")
	cancel(cause)
	assert.Equal(t, context.Canceled, derived.Err())
	assert.Equal(t, cause, context.Cause(derived))

	calls := 0
	_, cancelDerived = context.WithCancel(Parent(following{newBroken(), &calls}))
	cancelDerived()
	assert.Equal(t, 1, calls, "by the AfterFunc of a foreign context")
}
