// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
	"github.com/k8sretry/k8sretry/internal/turns"
)

// otherToken is the token of another Modify.
const otherToken = "ABCDEFGHIJKLMNOPQRSTUVWX27"

func TestModify(t *testing.T) {
	policy := map[string]string{k8sretry.TokenAnnotation: "set by a policy"}
	own := errors.New("not today")
	for name, tt := range map[string]struct {
		prepare  func(*cluster)
		mutate   func(*corev1.ConfigMap) error
		options  []k8sretry.Option
		fails    func(*testing.T, error)
		is       func(error) bool
		requests string
		count    string
	}{
		"success":                {requests: "get update", count: "1"},
		"mutate changes nothing": {mutate: func(*corev1.ConfigMap) error { return nil }, requests: "get", count: "0"},
		"an empty map instead of nil is no change": {
			mutate: func(o *corev1.ConfigMap) error { o.Labels = map[string]string{}; return nil }, requests: "get", count: "0",
		},
		"error of mutate": {
			mutate: func(*corev1.ConfigMap) error { return own }, requests: "get", count: "0",
			fails: func(t *testing.T, err error) { assert.Equal(t, own, err) },
		},
		"a transient error of mutate is not retried": {
			mutate: func(*corev1.ConfigMap) error { return unavailable() }, requests: "get", count: "0", fails: requireUnchanged,
		},
		"NotFound": {
			prepare: func(c *cluster) { c.remove("x") }, requests: "get", fails: requireUnchanged, is: apierrors.IsNotFound,
		},
		"the read fails for a while": {
			prepare: func(c *cluster) { c.on("get", failed(unavailable()), failed(lostReply())) }, requests: "get get get update", count: "1",
		},
		"conflict: read and mutate again": {
			prepare:  func(c *cluster) { c.on("get", &fault{then: bump(c)}) },
			requests: "get update get update", count: "2",
		},
		"conflict without retries": {
			prepare: func(c *cluster) { c.on("get", &fault{then: bump(c)}) }, options: []k8sretry.Option{k8sretry.WithMaxRetries(0)},
			requests: "get update", count: "1", is: apierrors.IsConflict,
			fails: func(t *testing.T, err error) { assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown) },
		},
		"more conflicts than retries": {
			prepare: func(c *cluster) {
				for range 20 {
					c.on("get", &fault{then: bump(c)})
				}
			},
			options:  []k8sretry.Option{k8sretry.WithMaxRetries(1)},
			requests: strings.Repeat("get update ", 21), count: "21",
		},
		"response lost: applied once": {
			prepare: func(c *cluster) { c.on("update", lost(lostReply())) }, requests: "get update update get", count: "1",
		},
		"request lost": {
			prepare: func(c *cluster) { c.on("update", failed(lostReply())) }, requests: "get update update", count: "1",
		},
		"response lost, changed by another client since: applied once": {
			prepare:  func(c *cluster) { c.on("update", &fault{after: lostReply(), then: bump(c)}) },
			requests: "get update update get watch", count: "2",
		},
		"request lost, changed by another client: applied once after that": {
			prepare:  func(c *cluster) { c.on("update", &fault{before: lostReply(), then: bump(c)}) },
			requests: "get update update get get update", count: "2",
		},
		"request lost, changed by two other clients: applied once after that": {
			prepare:  func(c *cluster) { c.on("update", &fault{before: lostReply(), then: twice(bump(c), c)}) },
			requests: "get update update get watch get update", count: "2",
		},
		"request lost, another client changes another field and removes the token: applied once after that": {
			prepare: func(c *cluster) {
				c.on("update", &fault{before: lostReply(), then: func() {
					c.change("x", func(o *corev1.ConfigMap) { o.Annotations, o.Data["touched"] = nil, "1" })
				}})
			},
			requests: "get update update get get update", count: "1",
		},
		// The assumption was that a change without the token is that of another client. An
		// admission plugin may have removed it.
		"response lost, an admission plugin removes the token: unknown, not applied again": {
			prepare: func(c *cluster) {
				c.admit = func(o *corev1.ConfigMap) { o.Annotations = nil }
				c.on("update", lost(lostReply()))
			},
			requests: "get update update get", count: "1", fails: requireUnknown, is: apierrors.IsConflict,
		},
		"response lost, an admission plugin removes the token, which was there before: unknown, not applied again": {
			prepare: func(c *cluster) {
				c.change("x", func(o *corev1.ConfigMap) { o.Annotations = map[string]string{k8sretry.TokenAnnotation: otherToken} })
				c.admit = func(o *corev1.ConfigMap) { o.Annotations = nil }
				c.on("update", lost(lostReply()))
			},
			requests: "get update update get", count: "1", fails: requireUnknown, is: apierrors.IsConflict,
		},
		// The assumption was that another value is the token of another call.
		"response lost, an admission plugin replaces the token: unknown, not applied again": {
			prepare: func(c *cluster) {
				c.admit = func(o *corev1.ConfigMap) { o.Annotations = policy }
				c.on("update", lost(lostReply()))
			},
			requests: "get update update get", count: "1", fails: requireUnknown, is: apierrors.IsConflict,
		},
		"response lost, an admission plugin replaces the token, as it has before: unknown, not applied again": {
			prepare: func(c *cluster) {
				c.change("x", func(o *corev1.ConfigMap) { o.Annotations = policy })
				c.admit = func(o *corev1.ConfigMap) { o.Annotations = policy }
				c.on("update", lost(lostReply()))
			},
			requests: "get update update get", count: "1", fails: requireUnknown, is: apierrors.IsConflict,
		},
		"response lost, changed by another client since, an admission plugin replaces the tokens: unknown, not applied again": {
			prepare: func(c *cluster) {
				c.admit = func(o *corev1.ConfigMap) { o.Annotations = policy }
				c.on("update", &fault{after: lostReply(), then: bump(c)})
			},
			requests: "get update update get watch", count: "2", fails: requireUnknown, is: apierrors.IsConflict,
		},
		"response lost, others remove all annotations before the check: unknown, not applied again": {
			prepare: func(c *cluster) {
				c.compacted = 99
				c.on("update", &fault{after: lostReply(), then: func() { c.change("x", func(o *corev1.ConfigMap) { o.Annotations = nil }) }})
			},
			requests: "get update update get watch watch", count: "1", fails: requireUnknown, is: apierrors.IsConflict,
		},
		"request lost, another client counts without a token: unknown": {
			prepare: func(c *cluster) {
				c.on("update", &fault{before: lostReply(), then: func() { c.change("x", func(o *corev1.ConfigMap) { _ = plusOne(o) }) }})
			},
			requests: "get update update get", count: "1", fails: requireUnknown, is: apierrors.IsConflict,
		},
		"request lost, another client counts and keeps the token of the call before: applied once after that": {
			prepare: func(c *cluster) {
				c.change("x", func(o *corev1.ConfigMap) { o.Annotations = map[string]string{k8sretry.TokenAnnotation: otherToken} })
				c.on("update", &fault{before: lostReply(), then: func() { c.change("x", func(o *corev1.ConfigMap) { _ = plusOne(o) }) }})
			},
			requests: "get update update get get update", count: "2",
		},
		"response lost, overwritten since, the watch begins with the current state: unknown, not applied again": {
			prepare: func(c *cluster) {
				c.watches = func(all []watch.Event) []watch.Event {
					return []watch.Event{{Type: watch.Added, Object: all[len(all)-1].Object}}
				}
				c.on("update", &fault{after: lostReply(), then: bump(c)})
			},
			requests: "get update update get watch", count: "2", fails: requireUnknown, is: apierrors.IsConflict,
		},
		"response lost, overwritten since, the change is compacted: unknown, not applied again": {
			prepare: func(c *cluster) {
				c.on("update", &fault{after: lostReply(), then: func() { bump(c)(); c.compacted = c.version }})
			},
			requests: "get update update get watch watch", count: "2", fails: requireUnknown, is: apierrors.IsConflict,
		},
		"all responses lost: the final check finds the update": {
			prepare: func(c *cluster) {
				c.on("update", lost(lostReply()), failed(lostReply()), failed(lostReply()), failed(lostReply()))
			},
			requests: "get update update update update get", count: "1",
		},
		"conflict, another object has the name": {
			prepare: func(c *cluster) {
				c.on("get", &fault{then: func() { c.remove("x"); c.put(configMap("x", "n", "7")) }})
			},
			requests: "get update get", count: "7", fails: requireUnchanged, is: apierrors.IsConflict,
		},
		"permanent error": {
			prepare: func(c *cluster) { c.on("update", failed(forbidden("x"))) }, requests: "get update", count: "0",
			fails: requireUnchanged, is: apierrors.IsForbidden,
		},
		"success without an object: send again": {
			prepare: func(c *cluster) { c.on("update", &fault{empty: true}) }, requests: "get update update", count: "1",
		},
		"no token, response lost: unknown": {
			prepare: func(c *cluster) { c.on("update", lost(lostReply())) }, options: []k8sretry.Option{k8sretry.WithTokenAnnotation("")},
			requests: "get update update get", count: "1", fails: requireUnknown,
		},
		"no token, request lost, another client changed another field: applied once after that": {
			prepare: func(c *cluster) {
				c.on("update", &fault{before: lostReply(), then: func() { c.change("x", func(o *corev1.ConfigMap) { o.Data["touched"] = "1" }) }})
			},
			options:  []k8sretry.Option{k8sretry.WithTokenAnnotation("")},
			requests: "get update update get get update", count: "1",
		},
		"no token, request lost, another client counts: unknown": {
			prepare:  func(c *cluster) { c.on("update", &fault{before: lostReply(), then: bump(c)}) },
			options:  []k8sretry.Option{k8sretry.WithTokenAnnotation("")},
			requests: "get update update get", count: "1", fails: requireUnknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.put(configMap("x", "n", "0"))
				if tt.prepare != nil {
					tt.prepare(c)
				}
				mutate := plusOne
				if tt.mutate != nil {
					mutate = tt.mutate
				}
				got, err := k8sretry.Modify(context.Background(), c, "x", mutate, tt.options...)
				if tt.fails == nil {
					require.NoError(t, err)
					assert.Equal(t, "x", got.Name)
				} else {
					tt.fails(t, err)
					assert.Nil(t, got)
				}
				if tt.is != nil {
					assert.True(t, tt.is(err), "%v", err)
				}
				c.expectRequests(t, strings.Fields(tt.requests)...)
				if o := c.objects["x"]; o != nil {
					assert.Equal(t, tt.count, o.Data["n"])
				}
			})
		})
	}
}

func TestModifyDoesNotRetryAnErrorOfMutate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own, calls := errors.New("not today"), 0
		_, err := k8sretry.Modify(t.Context(), newCluster(configMap("x")), "x",
			func(*corev1.ConfigMap) error { calls++; return own },
			k8sretry.WithRetryIf(func(error) bool { return true }))
		assert.Equal(t, 1, calls)
		assert.Equal(t, own, err)
	})
}

func TestModifyWaitsShortlyAfterAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("x"))
		for range 5 {
			c.on("get", &fault{then: bump(c)})
		}
		began := time.Now()
		_, err := k8sretry.Modify(context.Background(), c, "x", plusOne, k8sretry.ForWrite())
		require.NoError(t, err)
		assert.Positive(t, time.Since(began), "not at once")
		assert.LessOrEqual(t, time.Since(began), 310*time.Millisecond, "10, 20, 40, 80 and 160 ms at most")
	})
}

// Up to 100 conflicts do not count as retries. After 3 more, which do, the call ends.
func TestModifyLimitsConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("x"))
		c.always = func(verb string) *fault {
			if verb == "get" {
				return &fault{then: bump(c)}
			}
			return nil
		}
		_, err := k8sretry.Modify(context.Background(), c, "x", plusOne)
		assert.True(t, apierrors.IsConflict(err))
		assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, 104, c.count("update"))
	})
}

// Calls that begin together take turns after their first conflict, so that each has at most
// one.
func TestModifyTakesTurns(t *testing.T) {
	const n = 50
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(settings("x"))
		c.always = func(string) *fault { return &fault{then: func() { testkit.Sleep(10 * time.Millisecond) }} }
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				_, err := k8sretry.Modify(t.Context(), c, "x", plusOne)
				assert.NoError(t, err)
			})
		}
		all.Wait()
		assert.Equal(t, strconv.Itoa(n), c.get("x").Data["n"])
		assert.LessOrEqual(t, c.count("update"), 2*n-1)
	})
}

// A turn that does not end holds up another call for 2 s at most. Calls that end leave
// nothing behind.
func TestModifyWaitsAtMostTwoSecondsForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(settings("x"))
		ctx, cancel := context.WithCancel(t.Context())
		hung := make(chan struct{})
		rounds := 0
		var all sync.WaitGroup
		all.Go(func() { // has a conflict, gets its turn and hangs in it
			_, err := k8sretry.Modify(ctx, c, "x", func(o *corev1.ConfigMap) error {
				if rounds++; rounds == 1 {
					bump(c)()
					return plusOne(o)
				}
				close(hung)
				<-ctx.Done()
				return ctx.Err()
			})
			assert.ErrorIs(t, err, context.Canceled)
		})
		<-hung
		began := time.Now()
		withConflict := func() func(*corev1.ConfigMap) error {
			conflict := false
			return func(o *corev1.ConfigMap) error {
				if !conflict {
					conflict = true
					bump(c)()
				}
				return plusOne(o)
			}
		}
		short, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		_, err := k8sretry.Modify(short, c, "x", withConflict())
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.InDelta(t, 1, time.Since(began).Seconds(), 0.01)

		_, err = k8sretry.Modify(t.Context(), c, "x", withConflict())
		require.NoError(t, err)
		assert.InDelta(t, 1+2, time.Since(began).Seconds(), 0.1)
		cancel()
		all.Wait()
		assert.Zero(t, turns.Objects())
	})
}

// WithMaxElapsed ends a call that waits for its turn, with the conflict, and no request follows.
func TestModifyTakesNoTurnAfterMaxElapsed(t *testing.T) {
	for _, limited := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var limiter *k8sretry.Limiter
			if limited {
				limiter = k8sretry.NewLimiter()
			}
			c := newCluster(settings("x"))
			began := time.Now()
			late := 0
			c.always = func(string) *fault {
				if time.Since(began) > 10*time.Second {
					late++
				}
				return &fault{then: func() { testkit.Sleep(time.Second) }}
			}
			var all sync.WaitGroup
			var done, ended atomic.Int32
			for range 40 {
				all.Go(func() {
					_, err := k8sretry.Modify(t.Context(), c, "x", plusOne, k8sretry.WithMaxElapsed(10*time.Second), k8sretry.WithLimiter(limiter))
					if err == nil {
						done.Add(1)
						return
					}
					ended.Add(1)
					assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
					assert.True(t, apierrors.IsConflict(err), "%v", err)
					assert.Equal(t, k8sretry.StopMaxElapsed, asError(t, err).StopReason)
				})
			}
			all.Wait()
			t.Log(done.Load(), ended.Load(), late, time.Since(began))
			assert.Equal(t, strconv.Itoa(int(done.Load())), c.get("x").Data["n"])
			assert.Positive(t, ended.Load())
			assert.LessOrEqual(t, late, 1, "of the call that had its turn before")
			assert.LessOrEqual(t, time.Since(began), 13*time.Second)
			assert.Zero(t, turns.Objects())
		})
	}
}

// A turn of another call that takes long makes no call longer than WithMaxElapsed says.
func TestModifyWaitsForNoTurnBeyondMaxElapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(settings("x"))
		c.on("get", &fault{then: bump(c)})
		other := turns.Take(t.Context(), c.get("x").UID)
		defer other.Leave()
		began := time.Now()
		_, err := k8sretry.Modify(t.Context(), c, "x", plusOne, k8sretry.WithMaxElapsed(500*time.Millisecond))
		assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
		assert.True(t, apierrors.IsConflict(err), "%v", err)
		assert.Equal(t, 500*time.Millisecond, time.Since(began))
	})
}

// Parallel tests, each with the clock of its own bubble, may use objects of the same UID.
func TestTurnsInParallelBubbles(t *testing.T) {
	for range 4 {
		t.Run("a bubble", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(settings("x"))
				c.always = func(string) *fault { return &fault{then: func() { testkit.Sleep(10 * time.Millisecond) }} }
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						_, err := k8sretry.Modify(t.Context(), c, "x", plusOne)
						assert.NoError(t, err)
					})
				}
				all.Wait()
				assert.Equal(t, "20", c.get("x").Data["n"])
			})
		})
	}
}
