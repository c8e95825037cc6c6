// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// phases is an object that is read: each read fails with an error, or returns the number of
// the successful read.
type phases struct {
	script
	read int
}

func phasesWith(errs ...error) *phases { return &phases{script: script{fails: errs}} }

func (p *phases) get(ctx context.Context) (int, error) {
	if _, err := p.script.get(ctx); err != nil {
		return -1, err
	}
	p.read++
	return p.read, nil
}

// since returns a condition that holds from a read on.
func since(n int) func(int) (bool, error) { return func(v int) (bool, error) { return v >= n, nil } }

const endless = 1 << 30

// When Until reads, what it returns, and with which error.
func TestUntil(t *testing.T) {
	fatal := errors.New("the pod has failed")
	for _, c := range []struct {
		situation string
		fails     []error
		holds     func(int) (bool, error)
		timeout   time.Duration // of the context
		opts      []k8sretry.Option
		waits     []time.Duration
		value     int
		check     func(*testing.T, error)
	}{
		{situation: "the condition holds: one read", holds: since(1), value: 1},
		{
			situation: "it holds at the fourth read: a read each second",
			holds:     since(4), waits: seconds(1, 1, 1), value: 4,
		},
		{
			situation: "another initial delay: the pace of the reads",
			holds:     since(3), opts: []k8sretry.Option{k8sretry.WithInitialDelay(5 * time.Second)}, waits: seconds(5, 5), value: 3,
		},
		{
			situation: "a Backoff is for failures only",
			fails:     []error{nil, unavailable()},
			holds:     since(3), opts: []k8sretry.Option{k8sretry.WithBackoff(constantBackoff{9 * time.Second})}, waits: seconds(1, 9, 1), value: 3,
		},
		{
			situation: "a schedule of its own, counted in reads, not in attempts",
			fails:     []error{nil, unavailable(), unavailable()},
			holds:     since(3),
			opts: []k8sretry.Option{k8sretry.WithBackoffFor(k8sretry.ClassNone, k8sretry.BackoffFunc(func(read int) time.Duration {
				return time.Duration(10*read) * time.Second
			}))},
			waits: seconds(10, 1, 2, 20), value: 3,
		},
		{
			situation: "a negative delay: no wait",
			holds:     since(3), opts: []k8sretry.Option{k8sretry.WithBackoffFor(k8sretry.ClassNone, constantBackoff{-1})}, waits: seconds(0, 0), value: 3,
		},
		{
			situation: "reads fail between: retried, each time with all retries",
			fails:     []error{unavailable(), unavailable(), nil, unavailable(), unavailable(), nil, unavailable()},
			holds:     since(3), opts: []k8sretry.Option{k8sretry.WithMaxRetries(2)}, waits: seconds(1, 2, 1, 1, 2, 1, 1), value: 3,
		},
		{
			situation: "a read fails for good: its error, and the value before",
			fails:     []error{nil, nil, notFound()},
			holds:     since(endless), waits: seconds(1, 1), value: 2,
			check: func(t *testing.T, err error) { assert.Equal(t, notFound(), err) },
		},
		{
			situation: "the first read fails for good: no value",
			fails:     []error{notFound()},
			holds:     since(endless),
			check:     func(t *testing.T, err error) { assert.Equal(t, notFound(), err) },
		},
		{
			situation: "no retries are left: the last error of the API, and the attempts of all reads",
			fails:     []error{nil, nil, unavailable(), unavailable()},
			holds:     since(endless), opts: []k8sretry.Option{k8sretry.WithMaxRetries(1)}, waits: seconds(1, 1, 1), value: 2,
			check: func(t *testing.T, err error) {
				e := asError(t, err)
				assert.Equal(t, k8sretry.StopMaxRetries, e.StopReason)
				assert.Equal(t, 4, e.Attempts)
				assert.Equal(t, 3*time.Second, e.Elapsed)
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.NotErrorIs(t, err, k8sretry.ErrConditionNotMet)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown, "it only reads")
			},
		},
		{
			situation: "the condition ends the call: its error as it is",
			holds:     func(v int) (bool, error) { return false, fatalAt(v, 2, fatal) }, waits: seconds(1), value: 2,
			check: func(t *testing.T, err error) { assert.Same(t, fatal, err) },
		},
		{
			situation: "its error is marked as permanent: without the mark",
			holds:     func(v int) (bool, error) { return false, k8sretry.Permanent(fatalAt(v, 2, fatal)) }, waits: seconds(1), value: 2,
			check: func(t *testing.T, err error) { assert.Same(t, fatal, err) },
		},
		{
			situation: "the next read would come after the deadline: no wait for it",
			holds:     since(endless), timeout: 3500 * time.Millisecond, waits: seconds(1, 1, 1), value: 4,
			check: func(t *testing.T, err error) {
				e := asError(t, err)
				assert.Equal(t, k8sretry.StopDeadline, e.StopReason)
				assert.Equal(t, 4, e.Attempts)
				assert.Equal(t, 3*time.Second, e.Elapsed)
				assert.Same(t, k8sretry.ErrConditionNotMet, e.Err)
				assert.NotErrorIs(t, err, context.DeadlineExceeded)
				assert.ErrorContains(t, err, "no time left before the deadline after 4 attempts in 3s: condition not met")
			},
		},
		{
			situation: "max elapsed, counted from the first read, whatever the reads do",
			fails:     []error{nil, nil, unavailable()},
			holds:     since(endless), opts: []k8sretry.Option{k8sretry.WithMaxElapsed(4500 * time.Millisecond)}, waits: seconds(1, 1, 1, 1), value: 4,
			check: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
				assert.ErrorIs(t, err, k8sretry.ErrConditionNotMet)
				assert.Equal(t, 5, asError(t, err).Attempts)
			},
		},
		{
			situation: "the last read fails until the deadline: the error of the API",
			fails:     []error{nil, unavailable(), unavailable(), unavailable()},
			holds:     since(endless), timeout: 2500 * time.Millisecond, waits: seconds(1, 1), value: 1,
			check: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrDeadline)
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.Equal(t, 3, asError(t, err).Attempts)
			},
		},
		{
			situation: "a history: the errors of all reads",
			fails:     []error{unavailable(), nil, badGateway(), nil, gatewayTimeout()},
			holds:     since(endless), timeout: 6500 * time.Millisecond, opts: []k8sretry.Option{k8sretry.WithErrorHistory(2)},
			waits: seconds(1, 1, 1, 1, 0.5, 1), value: 4,
			check: func(t *testing.T, err error) {
				assert.Equal(t, []error{badGateway(), gatewayTimeout()}, asError(t, err).History())
			},
		},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.timeout)
					defer cancel()
				}
				object := phasesWith(c.fails...)
				value, err := k8sretry.Until(ctx, object.get, c.holds, append([]k8sretry.Option{exact}, c.opts...)...)
				assert.Equal(t, c.waits, object.waits())
				assert.Equal(t, c.value, value)
				if c.check == nil {
					assert.NoError(t, err)
				} else {
					c.check(t, err)
				}
			})
		})
	}
}

func fatalAt(v, n int, err error) error {
	if v < n {
		return nil
	}
	return err
}

// A context that ends during a wait or a read ends the call at once.
func TestUntilTheContextEnds(t *testing.T) {
	cause := errors.New("shutting down")
	for _, c := range []struct {
		situation string
		slow      time.Duration // a read
		after     time.Duration
		value     int
		attempts  int
	}{
		{"during a wait", 0, 2500 * time.Millisecond, 3, 3},
		{"during a read", 2 * time.Second, 4 * time.Second, 1, 2},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(c.after, func() { cancel(cause) })
				object, began := phasesWith(), time.Now()
				value, err := k8sretry.Until(ctx, func(ctx context.Context) (int, error) {
					if c.slow > 0 {
						select {
						case <-time.After(c.slow):
						case <-ctx.Done():
							return 0, ctx.Err()
						}
					}
					return object.get(ctx)
				}, since(endless), exact)
				assert.Equal(t, c.after, time.Since(began))
				assert.Equal(t, c.value, value)
				e := asError(t, err)
				assert.Equal(t, k8sretry.StopCanceled, e.StopReason)
				assert.Equal(t, c.attempts, e.Attempts)
				assert.Same(t, k8sretry.ErrConditionNotMet, e.Err)
				assert.ErrorIs(t, err, context.Canceled)
				assert.ErrorIs(t, err, cause)
			})
		})
	}
	t.Run("in Done only, not in Err", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx := newDoneOnly()
			time.AfterFunc(2500*time.Millisecond, func() { close(ctx.done) })
			object, began := phasesWith(), time.Now()
			_, err := k8sretry.Until(ctx, object.get, since(endless), exact)
			assert.Equal(t, 2500*time.Millisecond, time.Since(began))
			assert.Equal(t, 3, object.attempts())
			assert.ErrorIs(t, err, context.Canceled)
		})
	})
	t.Run("before the first read", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		object := phasesWith()
		_, err := k8sretry.Until(ctx, object.get, since(1))
		assert.Same(t, cause, err)
		assert.Zero(t, object.attempts())
	})
	t.Run("in the condition", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		object := phasesWith()
		value, err := k8sretry.Until(ctx, object.get, func(int) (bool, error) { cancel(); return false, nil })
		assert.Equal(t, 1, value)
		assert.ErrorIs(t, err, context.Canceled)
		assert.Same(t, k8sretry.ErrConditionNotMet, asError(t, err).Err)
	})
	t.Run("with the condition", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := k8sretry.Until(ctx, phasesWith().get, func(int) (bool, error) { cancel(); return true, nil })
		assert.NoError(t, err)
	})
}

// The delay between reads is spread, and the spread is drawn from the time that is left.
func TestUntilSpreadsItsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 50 {
			object := phasesWith()
			_, err := k8sretry.Until(t.Context(), object.get, since(2))
			require.NoError(t, err)
			wait := object.waits()[0]
			assert.GreaterOrEqual(t, wait, time.Second)
			assert.LessOrEqual(t, wait, 1200*time.Millisecond)
			seen[wait] = true

			object = phasesWith()
			_, err = k8sretry.Until(t.Context(), object.get, since(2), k8sretry.WithMaxElapsed(1001*time.Millisecond))
			require.NoError(t, err)
		}
		assert.Greater(t, len(seen), 10)
	})
}

// Each read is a call with events of its own, and the end between two reads is a failure.
func TestUntilReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen recorder
		_, err := k8sretry.Until(t.Context(), phasesWith(unavailable()).get, since(endless), exact, k8sretry.WithMaxElapsed(2*time.Second), k8sretry.WithObserver(&seen))
		require.Error(t, err)
		var kinds []k8sretry.EventKind
		for _, e := range seen.events {
			kinds = append(kinds, e.Kind)
		}
		assert.Equal(t, []k8sretry.EventKind{k8sretry.EventRetry, k8sretry.EventSuccess, k8sretry.EventSuccess, k8sretry.EventFailure}, kinds)
		last := seen.last(t)
		assert.Equal(t, k8sretry.StopMaxElapsed, last.StopReason)
		assert.Same(t, k8sretry.ErrConditionNotMet, last.Err)
		assert.Equal(t, k8sretry.OutcomeNotExecuted, last.Outcome)
	})
}

func TestUntilGivesBackItsPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := k8sretry.NewLimiter()
		object := phasesWith(nil, unavailable())
		_, err := k8sretry.Until(t.Context(), object.get, func(v int) (bool, error) {
			assert.Zero(t, limiter.State().InFlight)
			return v == 3, nil
		}, k8sretry.WithLimiter(limiter))
		require.NoError(t, err)
		testkit.Sleep(time.Hour)
	})
}

func TestUntilWithInvalidArguments(t *testing.T) {
	object := phasesWith()
	_, err := k8sretry.Until(t.Context(), nil, since(1))
	assert.EqualError(t, err, "k8sretry: the function to call is nil")
	_, err = k8sretry.Until(t.Context(), object.get, nil)
	assert.EqualError(t, err, "k8sretry: the function to call is nil")
	var none context.Context
	_, err = k8sretry.Until(none, object.get, since(1))
	assert.EqualError(t, err, "k8sretry: the context is nil")
	_, err = k8sretry.Until(t.Context(), object.get, since(1), k8sretry.WithVerb(k8sretry.VerbPatch))
	assert.EqualError(t, err, "k8sretry: WithVerb(patch): Until only reads")
	_, err = k8sretry.Until(t.Context(), object.get, since(1), k8sretry.WithMaxRetries(-1))
	assert.ErrorContains(t, err, "WithMaxRetries(-1)")
	assert.Zero(t, object.attempts())
}

// watched is a client of one object, whose reads and watches follow a script. The last read is
// repeated.
type watched struct {
	reads   []any // a number of the object, an error, or nil for an object that does not exist
	watches []watching
	asked   []string // the times of all requests, and the resource versions of the watches
	open    int      // watches that were not stopped
	began   time.Time
}

// watching is what becomes of a watch: events, each after a time, and then its end, or nothing
// more.
type watching struct {
	err    error
	events []event
	ends   time.Duration // after the last event; 0: never
}

type event struct {
	after time.Duration
	kind  watch.EventType
	n     int // of the object
}

// numbered is the object in one of its states.
func numbered(n int) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: strconv.Itoa(n)}}
}

func (w *watched) ask(what string) {
	if w.began.IsZero() {
		w.began = time.Now()
	}
	w.asked = append(w.asked, fmt.Sprintf("%v %s", time.Since(w.began), what))
}

func (w *watched) Get(context.Context, string, metav1.GetOptions) (*corev1.ConfigMap, error) {
	w.ask("get")
	next := w.reads[0]
	if len(w.reads) > 1 {
		w.reads = w.reads[1:]
	}
	switch next := next.(type) {
	case error:
		return nil, next
	case int:
		return numbered(next), nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("configmaps"), "a")
}

func (w *watched) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	w.ask("watch " + opts.ResourceVersion + " " + opts.FieldSelector)
	next := watching{}
	if len(w.watches) > 0 {
		next, w.watches = w.watches[0], w.watches[1:]
	}
	if next.err != nil {
		return nil, next.err
	}
	w.open++
	events := make(chan watch.Event)
	stopped, stop := context.WithCancel(ctx)
	go func() {
		defer close(events)
		for _, e := range next.events {
			object := runtime.Object(numbered(e.n))
			if e.kind == watch.Error {
				object = &apierrors.NewResourceExpired("too old resource version").ErrStatus
			}
			select {
			case <-time.After(e.after):
			case <-stopped.Done():
				return
			}
			select {
			case events <- watch.Event{Type: e.kind, Object: object}:
			case <-stopped.Done():
				return
			}
		}
		if next.ends > 0 {
			select {
			case <-time.After(next.ends):
				return
			case <-stopped.Done():
			}
		}
		<-stopped.Done()
	}()
	return &stoppable{events, func() { w.open--; stop() }}, nil
}

type stoppable struct {
	events chan watch.Event
	stop   func()
}

func (s *stoppable) ResultChan() <-chan watch.Event { return s.events }
func (s *stoppable) Stop()                          { s.stop() }

// What UntilWatch asks, when, and what it returns.
func TestUntilWatch(t *testing.T) {
	const s = time.Second
	reaches := func(n string) func(*corev1.ConfigMap) (bool, error) {
		return func(o *corev1.ConfigMap) (bool, error) { return o != nil && o.ResourceVersion == n, nil }
	}
	forbidden := status(403, metav1.StatusReasonForbidden)
	fatal := errors.New("it has failed")
	const from = " metadata.name=a"
	for _, c := range []struct {
		situation string
		client    watched
		holds     func(*corev1.ConfigMap) (bool, error)
		opts      []k8sretry.Option
		asked     []string
		took      time.Duration // 0: it does not matter
		value     string        // resource version; "" for none
		check     func(*testing.T, error)
	}{
		{
			situation: "the condition holds already: one read, no watch",
			client:    watched{reads: []any{3}}, holds: reaches("3"), asked: []string{"0s get"}, value: "3",
		},
		{
			situation: "a change: seen at once",
			client:    watched{reads: []any{3}, watches: []watching{{events: []event{{1500 * time.Millisecond, watch.Modified, 4}, {2 * s, watch.Modified, 5}}}}},
			holds:     reaches("5"), asked: []string{"0s get", "0s watch 3" + from}, value: "5",
		},
		{
			situation: "a bookmark, and an object of another kind: no change",
			client:    watched{reads: []any{3}, watches: []watching{{events: []event{{s, watch.Bookmark, 9}, {s, watch.Modified, 4}}}}},
			holds:     func(o *corev1.ConfigMap) (bool, error) { return o.ResourceVersion != "3", nil }, asked: []string{"0s get", "0s watch 3" + from}, value: "4",
		},
		{
			situation: "it does not exist yet: watched until it does",
			client:    watched{reads: []any{nil}, watches: []watching{{events: []event{{s, watch.Added, 7}}}}},
			holds:     reaches("7"), asked: []string{"0s get", "0s watch " + from}, value: "7",
		},
		{
			situation: "it is deleted, which is what the condition waits for",
			client:    watched{reads: []any{3}, watches: []watching{{events: []event{{s, watch.Modified, 4}, {s, watch.Deleted, 5}}}}},
			holds:     func(o *corev1.ConfigMap) (bool, error) { return o == nil, nil }, asked: []string{"0s get", "0s watch 3" + from},
		},
		// The assumption was that a watch reports what follows the read.
		{
			situation: "the watch begins with the history: a condition that held once is not met",
			client: watched{reads: []any{10}, watches: []watching{{events: []event{
				{0, watch.Added, 5}, {0, watch.Modified, 7}, {0, watch.Modified, 10}, {s, watch.Modified, 11},
			}}}},
			holds: func(o *corev1.ConfigMap) (bool, error) {
				return o.ResourceVersion == "5" || o.ResourceVersion == "7" || o.ResourceVersion == "11", nil
			},
			asked: []string{"0s get", "0s watch 10" + from}, value: "11",
		},
		{
			situation: "the watch begins with the deletion of an earlier object of the name: it is not deleted",
			client: watched{reads: []any{10}, watches: []watching{{events: []event{
				{0, watch.Added, 5}, {0, watch.Deleted, 6}, {0, watch.Added, 10}, {s, watch.Deleted, 11},
			}}}},
			holds: func(o *corev1.ConfigMap) (bool, error) { return o == nil, nil }, asked: []string{"0s get", "0s watch 10" + from}, took: s,
		},
		{
			situation: "the watch repeats what it has reported",
			client: watched{reads: []any{3}, watches: []watching{{events: []event{
				{s, watch.Modified, 8}, {0, watch.Modified, 4}, {0, watch.Deleted, 8}, {0, watch.Deleted, 4}, {s, watch.Added, 9},
			}}}},
			holds: func(o *corev1.ConfigMap) (bool, error) {
				return o != nil && (o.ResourceVersion == "4" || o.ResourceVersion == "9"), nil
			},
			asked: []string{"0s get", "0s watch 3" + from}, value: "9",
		},
		{
			situation: "it is deleted and created again: one watch",
			client:    watched{reads: []any{3}, watches: []watching{{events: []event{{s, watch.Deleted, 4}, {s, watch.Added, 5}}}}},
			holds:     reaches("5"), asked: []string{"0s get", "0s watch 3" + from}, value: "5",
		},
		{
			situation: "the watch is lost: read again, and the change in between is seen",
			client:    watched{reads: []any{3, 4}, watches: []watching{{ends: 5 * s}}},
			holds:     reaches("4"), asked: []string{"0s get", "0s watch 3" + from, "6s get"}, value: "4",
		},
		{
			situation: "it was deleted and created again while the watch was lost",
			client:    watched{reads: []any{3, nil}, watches: []watching{{ends: s}, {events: []event{{s, watch.Added, 9}}}}},
			holds:     reaches("9"), asked: []string{"0s get", "0s watch 3" + from, "2s get", "2s watch " + from}, value: "9",
		},
		{
			situation: "410 Gone in the watch: read again",
			client:    watched{reads: []any{3, 8}, watches: []watching{{events: []event{{0, watch.Error, 0}}}, {events: []event{{s, watch.Modified, 9}}}}},
			holds:     reaches("9"), asked: []string{"0s get", "0s watch 3" + from, "1s get", "1s watch 8" + from}, value: "9",
		},
		{
			situation: "410 Gone in place of a watch: the same",
			client:    watched{reads: []any{3, 8}, watches: []watching{{err: apierrors.NewResourceExpired("too old resource version")}}},
			holds:     reaches("8"), asked: []string{"0s get", "0s watch 3" + from, "1s get"}, value: "8",
		},
		{
			situation: "the watch does not begin: read again, at the pace of Until",
			client:    watched{reads: []any{3, 3, 4}, watches: []watching{{err: unavailable()}, {err: noConnection()}}},
			holds:     reaches("4"), opts: []k8sretry.Option{k8sretry.WithInitialDelay(2 * s)},
			asked: []string{"0s get", "0s watch 3" + from, "2s get", "2s watch 3" + from, "4s get"}, value: "4",
		},
		{
			situation: "the watch is silent: read again each minute",
			client:    watched{reads: []any{3, 3, 4}},
			holds:     reaches("4"), asked: []string{"0s get", "0s watch 3" + from, "1m1s get", "1m1s watch 3" + from, "2m2s get"}, value: "4",
		},
		{
			situation: "no right to watch: that error",
			client:    watched{reads: []any{3}, watches: []watching{{err: forbidden}}},
			holds:     reaches("4"), asked: []string{"0s get", "0s watch 3" + from}, value: "3",
			check: func(t *testing.T, err error) { assert.Same(t, forbidden, err) },
		},
		{
			situation: "a read fails for good: that error, and what was seen last",
			client:    watched{reads: []any{3, forbidden}, watches: []watching{{events: []event{{s, watch.Modified, 4}}, ends: s}}},
			holds:     reaches("9"), asked: []string{"0s get", "0s watch 3" + from, "3s get"}, value: "4",
			check: func(t *testing.T, err error) { assert.Same(t, forbidden, err) },
		},
		{
			situation: "a 404 of something else is an error",
			client:    watched{reads: []any{error(status(404, metav1.StatusReasonNotFound))}},
			holds:     func(o *corev1.ConfigMap) (bool, error) { return o == nil, nil }, asked: []string{"0s get"},
			check: func(t *testing.T, err error) { assert.True(t, apierrors.IsNotFound(err), "%v", err) },
		},
		{
			situation: "reads fail, and their errors are kept",
			client:    watched{reads: []any{3, unavailable(), badGateway(), unavailable()}, watches: []watching{{ends: s}}},
			holds:     reaches("9"), opts: []k8sretry.Option{k8sretry.WithMaxRetries(1), k8sretry.WithErrorHistory(9)},
			asked: []string{"0s get", "0s watch 3" + from, "2s get", "3s get"}, value: "3",
			check: func(t *testing.T, err error) {
				e := asError(t, err)
				assert.Equal(t, []error{unavailable(), badGateway()}, e.History())
				assert.Equal(t, 3, e.Attempts)
				assert.Equal(t, k8sretry.StopMaxRetries, e.StopReason)
				assert.Equal(t, 3*s, e.Elapsed)
			},
		},
		{
			situation: "the condition ends the call in the watch: its error as it is",
			client:    watched{reads: []any{3}, watches: []watching{{events: []event{{s, watch.Modified, 4}}}}},
			holds: func(o *corev1.ConfigMap) (bool, error) {
				if o.ResourceVersion == "4" {
					return false, k8sretry.Permanent(fatal)
				}
				return false, nil
			},
			asked: []string{"0s get", "0s watch 3" + from}, value: "4",
			check: func(t *testing.T, err error) { assert.Same(t, fatal, err) },
		},
		{
			situation: "the time is over in the watch: the condition is not met",
			client:    watched{reads: []any{3}, watches: []watching{{events: []event{{s, watch.Modified, 4}}}}},
			holds:     reaches("9"), opts: []k8sretry.Option{k8sretry.WithMaxElapsed(10 * s)},
			asked: []string{"0s get", "0s watch 3" + from}, value: "4",
			check: func(t *testing.T, err error) {
				e := asError(t, err)
				assert.Equal(t, k8sretry.StopMaxElapsed, e.StopReason)
				assert.Same(t, k8sretry.ErrConditionNotMet, e.Err)
				assert.Equal(t, 10*s, e.Elapsed)
			},
		},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				value, err := k8sretry.UntilWatch(t.Context(), &c.client, "a", c.holds, append([]k8sretry.Option{k8sretry.ForRead(), exact, k8sretry.WithMaxElapsed(time.Hour)}, c.opts...)...)
				if c.check == nil {
					assert.NoError(t, err)
				} else {
					c.check(t, err)
				}
				assert.Equal(t, c.asked, c.client.asked)
				if c.took > 0 {
					assert.Equal(t, c.took, time.Since(began))
				}
				if c.value == "" {
					assert.Nil(t, value)
				} else if assert.NotNil(t, value) {
					assert.Equal(t, c.value, value.ResourceVersion)
				}
				assert.Zero(t, c.client.open, "each watch is stopped")
			})
		})
	}
}

// The caller's context ends the watch, and is the reason.
func TestUntilWatchEndsWithItsContext(t *testing.T) {
	never := func(*corev1.ConfigMap) (bool, error) { return false, nil }
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(90*time.Second, cancel)
		client, began := &watched{reads: []any{3}}, time.Now()
		value, err := k8sretry.UntilWatch(ctx, client, "a", never)
		assert.Equal(t, 90*time.Second, time.Since(began))
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, k8sretry.ErrConditionNotMet)
		assert.Equal(t, "3", value.ResourceVersion)
		assert.Zero(t, client.open)
	})
	// The assumption was that the context has an Err when it is over. Package context panics if the
	// parent of a context ends without one.
	synctest.Test(t, func(t *testing.T) {
		ctx := newDoneOnly()
		time.AfterFunc(5*time.Second, func() { close(ctx.done) })
		client, began := &watched{reads: []any{3}}, time.Now()
		_, err := k8sretry.UntilWatch(ctx, client, "a", never)
		assert.Equal(t, 5*time.Second, time.Since(began))
		assert.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, []string{"0s get", "0s watch 3 metadata.name=a"}, client.asked)
		assert.Zero(t, client.open)
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := k8sretry.UntilWatch(ctx, &watched{reads: []any{3}}, "a", never)
		assert.ErrorIs(t, err, k8sretry.ErrDeadline)
		assert.ErrorIs(t, err, k8sretry.ErrConditionNotMet)
	})
}

// Over connections, with a typed and a dynamic client, and a Transport: the connections are
// lost in the middle, and then the object is changed.
func TestUntilWatchOverConnections(t *testing.T) {
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			began, stored := time.Now(), fake.NewClientset()
			k8sretrytest.EmulateServer(&stored.Fake)
			server := k8sretrytest.NewServer(&stored.Fake, scheme.Scheme)
			defer server.Close()
			clients := clientset(t, server.Config(), wrapper(t, k8sretry.ForRead()))
			dynamicClient, err := dynamic.NewForConfig(server.Config())
			require.NoError(t, err)
			var all sync.WaitGroup
			all.Add(4)
			time.AfterFunc(5*time.Second, func() {
				defer all.Done()
				_, err := clients.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("settings"), metav1.CreateOptions{})
				assert.NoError(t, err)
				if lost {
					server.KillConnections()
				}
			})
			time.AfterFunc(10*time.Second, func() {
				defer all.Done()
				_, err := k8sretry.Modify(t.Context(), clients.CoreV1().ConfigMaps("default"), "settings", func(o *corev1.ConfigMap) error {
					o.Data = map[string]string{"ready": "yes"}
					return nil
				})
				assert.NoError(t, err)
			})
			go func() {
				defer all.Done()
				object, err := k8sretry.UntilWatch(t.Context(), clients.CoreV1().ConfigMaps("default"), "settings", func(o *corev1.ConfigMap) (bool, error) {
					return o != nil && o.Data["ready"] == "yes", nil
				}, k8sretry.ForRead(), k8sretry.WithMaxElapsed(time.Hour))
				assert.NoError(t, err)
				assert.Equal(t, "yes", object.Data["ready"])
			}()
			go func() {
				defer all.Done()
				object, err := k8sretry.UntilWatch(t.Context(), k8sretry.Dynamic(dynamicClient.Resource(configMaps.WithVersion("v1")).Namespace("default")), "settings", func(o *unstructured.Unstructured) (bool, error) {
					if o == nil {
						return false, nil
					}
					data, _, err := unstructured.NestedString(o.UnstructuredContent(), "data", "ready")
					return data == "yes", err
				}, k8sretry.ForRead(), k8sretry.WithMaxElapsed(time.Hour))
				assert.NoError(t, err)
				assert.Equal(t, "settings", object.GetName())
			}()
			all.Wait()
			if lost {
				assert.LessOrEqual(t, time.Since(began), 3*time.Minute)
			} else {
				assert.Equal(t, 10*time.Second, time.Since(began))
			}
		})
	}
}

func TestUntilWatchWithInvalidArguments(t *testing.T) {
	client := &watched{reads: []any{3}}
	_, err := k8sretry.UntilWatch[*corev1.ConfigMap](t.Context(), nil, "a", func(*corev1.ConfigMap) (bool, error) { return true, nil })
	assert.EqualError(t, err, "k8sretry: the client is nil")
	_, err = k8sretry.UntilWatch(t.Context(), client, "a", nil)
	assert.EqualError(t, err, "k8sretry: the function to call is nil")
	_, err = k8sretry.UntilWatch(t.Context(), client, "a", func(*corev1.ConfigMap) (bool, error) { return true, nil }, k8sretry.WithVerb(k8sretry.VerbPatch))
	assert.ErrorContains(t, err, "only reads")
	assert.Empty(t, client.asked)
}
