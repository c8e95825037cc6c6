package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry"
)

// hang never answers: it waits for its context, as a call to a black hole does.
func hang(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func TestAttemptTimeout(t *testing.T) {
	const second = time.Second
	timeout := k8sretry.WithAttemptTimeout(10 * second)

	t.Run("an attempt that hangs is ended and retried", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start, n := time.Now(), 0
			var ended error
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
				if n++; n == 1 {
					ended = hang(ctx)
					return ended
				}
				return nil
			}, timeout, exact)
			require.NoError(t, err)
			assert.Equal(t, context.DeadlineExceeded, ended)
			assert.Equal(t, 10500*time.Millisecond, time.Since(start), "10 s of timeout and half of the schedule's 1 s")
		})
	})
	t.Run("an error that only says canceled is a timeout all the same", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var seen recorder
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
				<-ctx.Done()
				return context.Canceled // as an HTTP/2 stream or a derived context may have it
			}, timeout, k8sretry.WithMaxRetries(1), k8sretry.WithObserver(&seen))
			assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
			assert.Equal(t, k8sretry.ClassTimeout, seen.last(t).Class)
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		})
	})
	t.Run("the client's rate limiter sees no room before the attempt's deadline: a timeout, nothing was sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var seen recorder
			s := fails(fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("rate: Wait(n=1) would exceed context deadline")))
			_, err := k8sretry.Do(t.Context(), s.get, timeout, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithObserver(&seen))
			require.NoError(t, err)
			assert.Equal(t, k8sretry.ClassTimeout, seen.events[0].Class)
			assert.Equal(t, k8sretry.OutcomeNotExecuted, seen.events[0].Outcome)
		})
	})
	t.Run("a foreign cancellation before the timeout is none", func(t *testing.T) {
		s := fails(context.Canceled)
		_, err := k8sretry.Do(t.Context(), s.get, timeout)
		assert.Same(t, context.Canceled, err)
		assert.Equal(t, 1, s.attempts())
	})
	t.Run("the caller's deadline is earlier", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*second)
			defer cancel()
			start := time.Now()
			err := k8sretry.Run(ctx, func(ctx context.Context) error {
				deadline, ok := ctx.Deadline()
				assert.True(t, ok)
				assert.Equal(t, 3*second, time.Until(deadline))
				return hang(ctx)
			}, timeout)
			assert.Equal(t, 3*second, time.Since(start))
			assert.ErrorIs(t, err, k8sretry.ErrDeadline)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, 1, asError(t, err).Attempts)
		})
	})
	t.Run("the caller cancels during an attempt: at once, with the cause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cause := errors.New("shutting down")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(second, func() { cancel(cause) })
			start := time.Now()
			err := k8sretry.Run(ctx, func(ctx context.Context) error {
				err := hang(ctx)
				assert.Equal(t, context.Canceled, err)
				assert.Equal(t, cause, context.Cause(ctx))
				return err
			}, timeout)
			assert.Equal(t, second, time.Since(start))
			assert.ErrorIs(t, err, cause)
			assert.ErrorIs(t, err, context.Canceled)
		})
	})
	t.Run("what a successful attempt opened lives on, without a timeout, until the caller's context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			type key struct{}
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
			opened, err := k8sretry.Do(ctx, func(ctx context.Context) (context.Context, error) { return ctx, nil }, timeout)
			require.NoError(t, err)
			derived, stop := context.WithCancel(opened)
			defer stop()
			runtime.GC()
			time.Sleep(time.Hour)
			require.NoError(t, opened.Err())
			_, bounded := opened.Deadline()
			assert.False(t, bounded)
			assert.Equal(t, "value", opened.Value(key{}))
			cancel()
			synctest.Wait()
			assert.Equal(t, context.Canceled, opened.Err())
			assert.Equal(t, context.Canceled, derived.Err())
		})
	})
	t.Run("a failed attempt's context is over when fn has returned", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var first context.Context
			n := 0
			require.NoError(t, k8sretry.Run(t.Context(), func(ctx context.Context) error {
				if n++; n == 1 {
					first = ctx
					return tooMany(0)
				}
				assert.ErrorIs(t, first.Err(), context.Canceled)
				return nil
			}, timeout))
		})
	})
}

// Millions of calls may be made under one context that ends with the process: it must
// not remember each of them.
func TestAttemptTimeoutLeavesNothingAtTheCallersContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rounds := func(n int) {
		for range n {
			for range 1000 {
				_ = k8sretry.Run(ctx, func(context.Context) error { return nil }, k8sretry.WithAttemptTimeout(time.Hour))
			}
			collect()
		}
	}
	heap := func() uint64 {
		collect()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	rounds(3)
	before := heap()
	rounds(30)
	assert.Less(t, heap(), before+30_000*100/4, "a context of an attempt is some hundred bytes")
}

// An attempt within an attempt needs no goroutine, also with values between the two: a write
// has a record, and callers have their own. A bubble does not end with one.
func TestAttemptTimeoutWithinAnother(t *testing.T) {
	bounded := k8sretry.WithAttemptTimeout(time.Minute)
	type own struct{}
	for _, verb := range []k8sretry.Verb{k8sretry.VerbGet, k8sretry.VerbCreate} {
		for _, with := range []func(context.Context) context.Context{
			func(ctx context.Context) context.Context { return ctx },
			func(ctx context.Context) context.Context { return context.WithValue(ctx, own{}, 1) },
		} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var inner context.Context
				err := k8sretry.Run(ctx, func(ctx context.Context) error {
					return k8sretry.Run(with(ctx), func(ctx context.Context) error { inner = ctx; return nil }, bounded, k8sretry.WithVerb(verb))
				}, bounded, k8sretry.WithVerb(verb))
				require.NoError(t, err)
				time.Sleep(time.Hour)
				require.NoError(t, inner.Err(), "what a success has opened lives on")
				cancel()
				synctest.Wait()
				assert.ErrorIs(t, inner.Err(), context.Canceled)
			})
			synctest.Test(t, func(t *testing.T) {
				err := k8sretry.Run(context.Background(), func(ctx context.Context) error {
					return k8sretry.Run(with(ctx), func(context.Context) error { return nil }, bounded, k8sretry.WithVerb(verb))
				}, bounded, k8sretry.WithVerb(verb))
				assert.NoError(t, err)
			})
		}
	}
}

// A context that the caller ends between two attempts ends the inner one, and not the outer.
func TestAttemptTimeoutBelowTheCallersOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bounded := k8sretry.WithAttemptTimeout(time.Minute)
		err := k8sretry.Run(t.Context(), func(outer context.Context) error {
			between, cancel := context.WithCancel(outer)
			time.AfterFunc(time.Second, cancel)
			began := time.Now()
			err := k8sretry.Run(between, func(inner context.Context) error {
				<-inner.Done()
				return inner.Err()
			}, bounded)
			assert.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, time.Second, time.Since(began))
			return outer.Err()
		}, bounded)
		assert.NoError(t, err)
	})
}

// collect runs the garbage collector until its cleanups, which run after the cycle
// that asked for them, have come.
func collect() {
	for range 3 {
		done := make(chan struct{})
		runtime.AddCleanup(new([16]byte), func(done chan struct{}) { close(done) }, done)
		runtime.GC()
		<-done
	}
}

// A stream that a successful attempt has opened ends with the caller's context, also after
// a garbage collection.
func TestAttemptTimeoutLetsStreamsContinue(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprint("HTTP/2 ", h2), func(t *testing.T) {
			gone := make(chan struct{})
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				close(gone)
			}))
			server.EnableHTTP2 = h2
			server.StartTLS()
			defer server.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			resp, err := k8sretry.Do(ctx, func(ctx context.Context) (*http.Response, error) {
				req, _ := http.NewRequestWithContext(ctx, "GET", server.URL, nil)
				return server.Client().Do(req)
			}, k8sretry.WithAttemptTimeout(time.Minute))
			require.NoError(t, err)
			body := resp.Body
			resp = nil
			collect()
			cancel()
			select {
			case <-gone:
			case <-time.After(3 * time.Second):
				t.Error("the stream has not ended")
			}
			_ = body.Close()
			server.Client().CloseIdleConnections()
		})
	}
}

// A port that swallows bytes: only the attempt timeout notices.
func TestBlackHole(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()

	urls := []string{"http://" + listener.Addr().String(), server.URL}
	n := 0
	resp, err := k8sretry.Do(t.Context(), func(ctx context.Context) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, urls[n], nil)
		if err != nil {
			return nil, err
		}
		n++
		return client.Do(req)
	}, k8sretry.WithAttemptTimeout(100*time.Millisecond), k8sretry.WithInitialDelay(0))
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, 2, n)
}
