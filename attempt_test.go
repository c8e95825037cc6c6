// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// hang is a call to a server that never answers: it waits for its context.
func hang(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func TestAttemptTimeout(t *testing.T) {
	const second = time.Second
	timeout := k8sretry.WithAttemptTimeout(10 * second)

	t.Run("an attempt that hangs is ended and repeated", func(t *testing.T) {
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
	t.Run("each attempt has the whole timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			err := k8sretry.Run(t.Context(), hang, timeout, exact, k8sretry.WithMaxRetries(2))
			assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
			assert.Equal(t, 31500*time.Millisecond, time.Since(start))
		})
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
	t.Run("the context has the attempt's deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			later, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			for _, ctx := range []context.Context{t.Context(), later} {
				require.NoError(t, k8sretry.Run(ctx, func(ctx context.Context) error {
					deadline, ok := ctx.Deadline()
					assert.True(t, ok)
					assert.Equal(t, 10*second, time.Until(deadline))
					return nil
				}, timeout))
			}
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
	t.Run("Err reports the caller's cancel at once", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := k8sretry.Run(ctx, func(ctx context.Context) error { cancel(); return ctx.Err() }, timeout)
		assert.ErrorIs(t, err, context.Canceled)
	})
	t.Run("after a success the context lives on, without a timeout, until the caller's context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			type key struct{}
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
			opened, err := k8sretry.Do(ctx, func(ctx context.Context) (context.Context, error) { return ctx, nil }, timeout)
			require.NoError(t, err)
			derived, stop := context.WithCancel(opened)
			defer stop()
			runtime.GC()
			testkit.Sleep(time.Hour)
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
	t.Run("after a failure the context is over, and its error does not change", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var first context.Context
			n := 0
			require.NoError(t, k8sretry.Run(ctx, func(ctx context.Context) error {
				if n++; n == 1 {
					first = ctx
					return tooMany(0)
				}
				assert.Equal(t, context.Canceled, first.Err())
				return nil
			}, timeout))
			testkit.Sleep(time.Minute)
			assert.Equal(t, context.Canceled, first.Err(), "although the caller's deadline has passed")
		})
	})
	t.Run("a derived context sees the timeout, without a goroutine for each", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			before := runtime.NumGoroutine()
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
				derived, cancel := context.WithCancel(ctx)
				defer cancel()
				assert.LessOrEqual(t, runtime.NumGoroutine(), before)
				<-derived.Done()
				assert.Equal(t, context.DeadlineExceeded, context.Cause(derived))
				return derived.Err()
			}, timeout, k8sretry.WithMaxRetries(0))
			assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		})
	})
}

// What a successful attempt has opened hears of the end of the caller's context, in
// whatever way it waits for it, also after the garbage collector has run.
func TestAttemptTimeoutFollowsTheCallersContextAfterGC(t *testing.T) {
	for how, wait := range map[string]func(ctx context.Context, closed chan struct{}){
		"AfterFunc": func(ctx context.Context, closed chan struct{}) { context.AfterFunc(ctx, func() { close(closed) }) },
		"a derived context": func(ctx context.Context, closed chan struct{}) {
			derived, cancel := context.WithCancel(ctx)
			t.Cleanup(cancel)
			go func() { <-derived.Done(); close(closed) }()
		},
		"a loop with a select": func(ctx context.Context, closed chan struct{}) {
			events := make(chan int)
			go func() {
				for {
					select {
					case <-events:
					case <-ctx.Done():
						close(closed)
						return
					}
				}
			}()
		},
	} {
		t.Run(how, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			closed := make(chan struct{})
			require.NoError(t, k8sretry.Run(ctx, func(ctx context.Context) error { wait(ctx, closed); return nil }, k8sretry.WithAttemptTimeout(time.Minute)))
			collect()
			cancel()
			within(t, closed)
		})
	}
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("a stream, HTTP/2: %v", http2), func(t *testing.T) {
			gone := make(chan struct{})
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				close(gone)
			}))
			server.EnableHTTP2 = http2
			forgetBubbles()
			server.StartTLS()
			defer server.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			body := func() interface{ Close() error } {
				resp, err := k8sretry.Do(ctx, func(ctx context.Context) (*http.Response, error) {
					req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
					if err != nil {
						return nil, err
					}
					return server.Client().Do(req)
				}, k8sretry.WithAttemptTimeout(time.Minute))
				require.NoError(t, err)
				return resp.Body // and nothing else of the response
			}()
			collect()
			cancel()
			within(t, gone)
			_ = body.Close()
			server.Client().CloseIdleConnections()
		})
	}
}

// within waits for an event that follows at once.
func within(t *testing.T, event chan struct{}) {
	t.Helper()
	select {
	case <-event:
	case <-time.After(10 * time.Second):
		t.Error("the end of the caller's context had no effect")
	}
}

// Millions of calls may be made under one context that ends with the process. It does not
// keep the contexts of their attempts.
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
	rounds(2)
	before := heap()
	rounds(10)
	assert.Less(t, heap(), before+10_000*100/4, "a context of an attempt takes some hundred bytes")
}

// An attempt within an attempt needs no goroutine, also with values between the two: the
// context of a write has a record, and callers have values of their own. A bubble with a
// goroutine that is left does not end.
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
				testkit.Sleep(time.Hour)
				require.NoError(t, inner.Err(), "after a success it lives on")
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

// A context that the caller ends between two attempts ends the inner one, and not the
// outer.
func TestAttemptTimeoutBelowTheCallersOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bounded := k8sretry.WithAttemptTimeout(time.Minute)
		err := k8sretry.Run(t.Context(), func(outer context.Context) error {
			between, cancel := context.WithCancel(outer)
			time.AfterFunc(time.Second, cancel)
			began := time.Now()
			err := k8sretry.Run(between, hang, bounded)
			assert.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, time.Second, time.Since(began))
			return outer.Err()
		}, bounded)
		assert.NoError(t, err)
	})
}

// The context of an attempt may be used and printed by several goroutines, also after the
// attempt. The race detector finds what is wrong.
func TestContextOfAnAttemptIsSafeForConcurrentUse(t *testing.T) {
	t.Run("used", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					_ = k8sretry.Run(ctx, func(ctx context.Context) error {
						derived, cancel := context.WithTimeout(ctx, time.Millisecond)
						defer cancel()
						go func() { <-ctx.Done(); _ = ctx.Err(); _, _ = ctx.Deadline(); _ = context.Cause(ctx) }()
						<-derived.Done()
						return derived.Err()
					}, k8sretry.WithAttemptTimeout(time.Millisecond), k8sretry.WithInitialDelay(0), k8sretry.WithVerb(k8sretry.VerbUpdate))
				})
			}
			wg.Wait()
		})
	})
	t.Run("printed", func(t *testing.T) {
		_ = k8sretry.Run(t.Context(), func(ctx context.Context) error {
			for ctx.Err() == nil {
				_ = fmt.Sprintf("%v", ctx)
			}
			return nil
		}, k8sretry.WithAttemptTimeout(5*time.Millisecond))
	})
}

// The context of an attempt carries an httptrace for verbs that write, and for no other.
func TestVerbsThatWriteAreTraced(t *testing.T) {
	for verb := k8sretry.VerbUnspecified; verb <= k8sretry.VerbDeleteCollection; verb++ {
		for _, way := range ways {
			_, err := way.call(t.Context(), func(ctx context.Context) (string, error) {
				assert.Equal(t, verb >= k8sretry.VerbCreate, httptrace.ContextClientTrace(ctx) != nil, "%v, %s", verb, way.name)
				return "", nil
			}, []k8sretry.Option{k8sretry.WithVerb(verb)})
			require.NoError(t, err)
		}
	}
}

// A panic of fn passes through, and so does runtime.Goexit.
func TestPanicAndGoexitPassThrough(t *testing.T) {
	for name, opts := range map[string][]k8sretry.Option{
		"no option":          nil,
		"a Policy":           {k8sretry.NewPolicy(k8sretry.WithMaxRetries(2))},
		"an attempt timeout": {k8sretry.WithAttemptTimeout(time.Second)},
		"a verb that writes": {k8sretry.WithVerb(k8sretry.VerbUpdate)},
		"an Observer":        {k8sretry.WithObserver(new(silentObserver))},
		"a Limiter":          {k8sretry.WithLimiter(k8sretry.NewLimiter())},
	} {
		t.Run("panic in the first attempt, "+name, func(t *testing.T) {
			assert.PanicsWithValue(t, "boom", func() {
				_ = k8sretry.Run(t.Context(), func(context.Context) error { panic("boom") }, opts...)
			})
		})
		t.Run("panic in the second attempt, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				assert.PanicsWithValue(t, "boom", func() {
					_ = k8sretry.Run(t.Context(), func(context.Context) error {
						if n++; n == 2 {
							panic("boom")
						}
						return tooMany(0)
					}, opts...)
				})
			})
		})
		t.Run("Goexit, "+name, func(t *testing.T) {
			returned, done := false, make(chan struct{})
			go func() {
				defer close(done)
				_ = k8sretry.Run(t.Context(), func(context.Context) error { runtime.Goexit(); return nil }, opts...)
				returned = true
			}()
			<-done
			assert.False(t, returned)
		})
	}
	t.Run("the context of the attempt is over after a panic", func(t *testing.T) {
		var attempt context.Context
		assert.Panics(t, func() {
			_ = k8sretry.Run(t.Context(), func(ctx context.Context) error { attempt = ctx; panic("boom") }, k8sretry.WithAttemptTimeout(time.Hour))
		})
		assert.Error(t, attempt.Err())
	})
}

// A server that accepts connections and never answers is noticed by the attempt timeout
// alone.
func TestServerThatNeverAnswers(t *testing.T) {
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
		url := urls[min(n, 1)]
		n++
		timeout := time.AfterFunc(10*time.Second, func() { t.Error("the attempt hangs") })
		defer timeout.Stop()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		return client.Do(req)
	}, k8sretry.WithAttemptTimeout(300*time.Millisecond), k8sretry.WithInitialDelay(0))
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.GreaterOrEqual(t, n, 2)
}
