// SPDX-License-Identifier: Apache-2.0

package attemptctx

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/k8sretry/k8sretry/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTimeoutEndsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := New(t.Context(), time.Second)
		deadline, ok := c.Deadline()
		assert.True(t, ok)
		assert.Equal(t, began.Add(time.Second), deadline)
		<-c.Done()
		assert.Equal(t, time.Second, time.Since(began))
		assert.Equal(t, context.DeadlineExceeded, c.Err())
		assert.Equal(t, context.DeadlineExceeded, context.Cause(c))
		assert.True(t, c.End(false))
		assert.Equal(t, context.DeadlineExceeded, c.Err(), "the first reason stays")
	})
}

func TestSuccessRemovesTheTimeout(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
		c := New(parent, time.Second)
		assert.False(t, c.End(true))
		derived, stop := context.WithCancel(c)
		defer stop()
		runtime.GC()
		testkit.Sleep(time.Hour)
		require.NoError(t, c.Err())
		require.NoError(t, derived.Err())
		_, ok := c.Deadline()
		assert.False(t, ok)
		assert.Equal(t, "value", c.Value(key{}))

		cause := errors.New("shutting down")
		cancel(cause)
		synctest.Wait()
		assert.Equal(t, context.Canceled, c.Err())
		assert.Equal(t, cause, context.Cause(c))
		assert.Equal(t, context.Canceled, derived.Err())
		assert.Equal(t, cause, context.Cause(derived))
	})
}

func TestFailureCancelsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := New(parent, time.Second)
		assert.False(t, c.End(false))
		<-c.Done()
		assert.Equal(t, context.Canceled, c.Err())
		testkit.Sleep(time.Hour)
		assert.Equal(t, context.Canceled, c.Err(), "neither its own timeout nor the parent's changes that")
	})
}

func TestCancelEndsAContextThatContinuesAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(t.Context(), time.Second)
		c.End(true)
		c.Cancel()
		c.Cancel()
		<-c.Done()
		assert.Equal(t, context.Canceled, c.Err())
	})
}

func TestErrSeesTheEndOfTheParentAtOnce(t *testing.T) {
	parent, cancel := context.WithCancelCause(t.Context())
	c := New(parent, time.Minute)
	defer c.End(false)
	cause := errors.New("shutting down")
	cancel(cause)
	assert.Equal(t, context.Canceled, c.Err())
	assert.Equal(t, cause, context.Cause(c))
	<-c.Done()
}

type doneOnly struct {
	context.Context
	done chan struct{}
}

func (c doneOnly) Done() <-chan struct{} { return c.done }

// Package context panics if the parent of a context ends without an error.
func TestAParentMayEndWithoutAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, endsBefore := range []bool{true, false} {
			parent := doneOnly{context.Background(), make(chan struct{})}
			if endsBefore {
				close(parent.done)
			}
			c := New(parent, time.Hour)
			derived, cancel := context.WithCancel(c)
			if !endsBefore {
				close(parent.done)
			}
			<-c.Done()
			<-derived.Done()
			assert.Equal(t, context.Canceled, c.Err())
			assert.Equal(t, context.Canceled, derived.Err())
			cancel()
			assert.False(t, c.End(false))
		}
	})
}

func TestDeadlineIsTheEarlierOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		for timeout, want := range map[time.Duration]time.Duration{time.Second: time.Second, 10 * time.Second: 3 * time.Second} {
			c := New(parent, timeout)
			deadline, ok := c.Deadline()
			assert.True(t, ok)
			assert.Equal(t, want, time.Until(deadline))
			c.End(true)
			deadline, ok = c.Deadline()
			assert.True(t, ok)
			assert.Equal(t, 3*time.Second, time.Until(deadline), "the parent's, after the attempt")
			c.Cancel()
		}
	})
}

func TestDerivedContextsNeedNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		c := New(t.Context(), time.Second)
		derived, cancel := context.WithCancel(c)
		defer cancel()
		assert.LessOrEqual(t, runtime.NumGoroutine(), before)
		<-derived.Done()
		assert.Equal(t, context.DeadlineExceeded, context.Cause(derived))
		c.End(false)
	})
}

// The parent of the outer context never ends, so a goroutine that follows it would keep the
// bubble of testing/synctest from ending.
func TestNestedContextsNeedNoGoroutine(t *testing.T) {
	for name, between := range nestings() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				outer := New(context.Background(), time.Minute)
				inner := New(between(outer), time.Minute)
				inner.End(true)
				outer.End(true)
				testkit.Sleep(time.Hour)
				assert.NoError(t, inner.Err())
			})
		})
	}
}

func TestNestedContextsEndWithTheOutermostParent(t *testing.T) {
	for name, between := range nestings() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(t.Context())
				outer := New(parent, time.Minute)
				inner := New(between(outer), time.Minute)
				inner.End(true)
				outer.End(true)
				testkit.Sleep(time.Hour)
				require.NoError(t, inner.Err())
				cancel()
				synctest.Wait()
				<-inner.Done()
				assert.Equal(t, context.Canceled, inner.Err())
			})
		})
	}
}

func nestings() map[string]func(context.Context) context.Context {
	type key struct{}
	return map[string]func(context.Context) context.Context{
		"directly":      func(ctx context.Context) context.Context { return ctx },
		"below a value": func(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, 1) },
	}
}

func TestNestedContextFollowsWhatIsBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer := New(t.Context(), time.Minute)
		between, cancel := context.WithCancel(outer)
		inner := New(between, time.Minute)
		cancel()
		<-inner.Done()
		assert.Equal(t, context.Canceled, inner.Err())
		require.NoError(t, outer.Err())
		inner.End(false)
		outer.End(true)
	})
}

// collect runs the garbage collector until its cleanups, which run after the cycle that
// queued them, have run.
func collect() {
	for range 3 {
		done := make(chan struct{})
		runtime.AddCleanup(new([16]byte), func(done chan struct{}) { close(done) }, done)
		runtime.GC()
		<-done
	}
}

func TestParentsDoNotRetainContexts(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	refs := make([]weak.Pointer[Context], 1000)
	for i := range refs {
		c := New(parent, time.Hour)
		if i%2 == 0 { // one that had a follower
			stop := context.AfterFunc(c, func() {})
			assert.True(t, stop())
			assert.False(t, stop())
		}
		c.End(true)
		refs[i] = weak.Make(c)
	}
	collect()
	for _, ref := range refs {
		require.Nil(t, ref.Value())
	}
}

func TestFollowersAreReachedAfterAGarbageCollection(t *testing.T) {
	for name, follow := range map[string]func(ctx context.Context, reached chan struct{}){
		"AfterFunc": func(ctx context.Context, reached chan struct{}) {
			context.AfterFunc(ctx, func() { close(reached) })
		},
		"derived context": func(ctx context.Context, reached chan struct{}) {
			derived, stop := context.WithCancel(ctx)
			go func() { defer stop(); <-derived.Done(); close(reached) }()
		},
		"goroutine that keeps the context": func(ctx context.Context, reached chan struct{}) {
			go func() {
				<-ctx.Done()
				_ = ctx.Err()
				close(reached)
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			parent, cancel := context.WithCancel(t.Context())
			defer cancel()
			reached := make(chan struct{})
			func() {
				c := New(parent, time.Minute)
				follow(c, reached)
				c.End(true)
			}()
			collect()
			cancel()
			select {
			case <-reached:
			case <-time.After(2 * time.Second):
				t.Error("the end of the parent did not reach the follower")
			}
		})
	}
}

func TestContextsMayBeUsedByManyGoroutines(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			c := New(parent, time.Millisecond)
			derived, stop := context.WithTimeout(c, time.Millisecond)
			defer stop()
			all.Go(func() { <-c.Done(); _ = c.Err(); _, _ = c.Deadline(); _ = context.Cause(c) })
			all.Go(func() {
				for c.Err() == nil {
					_ = fmt.Sprintf("%v", c)
				}
			})
			<-derived.Done()
			c.End(false)
			if i == 25 {
				cancel()
			}
		})
	}
	all.Wait()
}

func TestStringNamesTheOption(t *testing.T) {
	c := New(t.Context(), time.Minute)
	defer c.End(false)
	assert.Equal(t, "k8sretry.WithAttemptTimeout", fmt.Sprint(c))
}
