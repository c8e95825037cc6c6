// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// running calls test in a bubble in which a demo runs. It checks that the demo ends with its
// context and leaves no goroutine, without which the bubble does not end.
func running(t *testing.T, test func(t *testing.T, d *demo)) {
	synctest.Test(t, func(t *testing.T) {
		d, err := newDemo(1)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.run(ctx)
		}()
		test(t, d)
		cancel()
		canceled := time.Now()
		<-ended
		assert.LessOrEqual(t, time.Since(canceled), 6*time.Second)
	})
}

// compared returns the figures of the clients in their order.
func compared(d *demo) (ours, plain, loop figures) {
	return d.clients[0].book.figures(), d.clients[1].book.figures(), d.clients[2].book.figures()
}

func TestWithoutAFaultAllClientsDoTheSame(t *testing.T) {
	running(t, func(t *testing.T, d *demo) {
		testkit.Sleep(burstInterval + 450*time.Millisecond)
		for _, c := range d.clients {
			f := c.book.figures()
			assert.Equal(t, 43+listBurst, f.Counts[succeeded]+f.Counts[pending], c.name)
			assert.LessOrEqual(t, f.Counts[pending], 1, c.name)
			assert.Zero(t, f.Refusals, c.name)
		}
		latest, retries, waits := d.feed.state()
		assert.Empty(t, latest)
		assert.Zero(t, retries)
		assert.Zero(t, waits)
	})
}

func TestEachFaultShowsInTheFiguresAndHeals(t *testing.T) {
	for _, test := range []struct {
		fault  fault
		lasts  time.Duration
		heals  time.Duration
		during func(t *testing.T, d *demo)
	}{
		{lostAnswers, 6 * time.Second, 6 * time.Second, func(t *testing.T, d *demo) {
			_, plain, loop := compared(d)
			assert.Greater(t, plain.Counts[falseFail], 3, "calls of plain client-go fail, though they were done")
			assert.Greater(t, loop.Counts[twice], 3, "the loop does calls twice")
		}},
		{unavailable, 4 * time.Second, 10 * time.Second, func(t *testing.T, d *demo) {
			ours, plain, loop := compared(d)
			assert.Greater(t, plain.Counts[failed], 20)
			assert.Greater(t, ours.Waiting(), 20, "the calls wait")
			assert.Less(t, 4*ours.Refusals, loop.Refusals, "the server is spared")
			limited := d.limiter.Limited()
			require.NotEmpty(t, limited)
			assert.Equal(t, k8sretry.ScopeServer, limited[0].Scope)
		}},
		{throttled, 9 * time.Second, 16 * time.Second, func(t *testing.T, d *demo) {
			ours, plain, _ := compared(d)
			assert.Less(t, 3*ours.Refusals, plain.Refusals, "the server is spared")
			assert.Less(t, ours.Median[create], time.Second/10, "ConfigMaps do not wait")
			limited := d.limiter.Limited()
			require.Len(t, limited, 1)
			assert.Equal(t, k8sretry.ScopeKind, limited[0].Scope)
			assert.Equal(t, "list pods", limited[0].Name)
		}},
		{slow, 12 * time.Second, 16 * time.Second, func(t *testing.T, d *demo) {
			_, plain, _ := compared(d)
			assert.Greater(t, plain.Counts[failed], 10)
			assert.Positive(t, plain.Counts[falseFail], "the server goes on after the client has given up")
			assert.NotEmpty(t, d.limiter.Limited())
		}},
		{deadConnections, 6 * time.Second, 3 * time.Second, func(t *testing.T, d *demo) {
			ours, plain, loop := compared(d)
			assert.Greater(t, plain.Counts[failed], 15, "it stays on its dead connection")
			assert.Greater(t, loop.Counts[pending], 30, "and so does the loop")
			assert.Less(t, ours.Counts[pending], 3, "the Transport takes a new one")
		}},
	} {
		t.Run(string(test.fault), func(t *testing.T) {
			running(t, func(t *testing.T, d *demo) {
				testkit.Sleep(2 * time.Second)
				d.setFaults([]fault{test.fault})
				testkit.Sleep(test.lasts)
				test.during(t, d)
				ours, _, _ := compared(d)
				assertOnlySuccess(t, ours)
				_, retries, waits := d.feed.state()
				assert.Positive(t, retries)
				assert.Positive(t, waits)

				d.setFaults(nil)
				testkit.Sleep(test.heals)
				ours, _, _ = compared(d)
				assertOnlySuccess(t, ours)
				assert.LessOrEqual(t, ours.Counts[pending], 1+listBurst, "the calls that waited have ended")
				assert.Empty(t, d.limiter.Limited())
			})
		})
	}
}

// assertOnlySuccess asserts that no call has ended otherwise.
func assertOnlySuccess(t *testing.T, f figures) {
	t.Helper()
	assert.Positive(t, f.Counts[succeeded])
	for r := failed; r < results; r++ {
		assert.Zero(t, f.Counts[r], marks[r].Title)
	}
}

func TestTheDemoEndsInTheMiddleOfEveryFault(t *testing.T) {
	running(t, func(_ *testing.T, d *demo) {
		testkit.Sleep(2 * time.Second)
		d.setFaults([]fault{lostAnswers, throttled, slow, deadConnections})
		testkit.Sleep(4 * time.Second)
	})
}

func TestServersForgetWhatTheBookForgets(t *testing.T) {
	running(t, func(t *testing.T, d *demo) {
		testkit.Sleep(memory + 2*burstInterval + time.Second/2)
		for _, c := range d.clients {
			objects, err := c.server.objects().List(t.Context(), metav1.ListOptions{})
			require.NoError(t, err)
			created := len(objects.Items) - counters
			assert.Positive(t, created)
			assert.LessOrEqual(t, created, int((memory+time.Second)/writeInterval)/3+2, c.name)
			assert.Less(t, len(c.server.stored.Actions()), 100, c.name)
		}
	})
}

func TestASeedChoosesTheAnswersThatAreLost(t *testing.T) {
	choice := func(seed uint64) (chosen []bool) {
		s := &server{seed: seed}
		for id := range 400 {
			chosen = append(chosen, s.loses(id, 0), s.loses(id, 1))
		}
		return chosen
	}
	assert.Equal(t, choice(7), choice(7))
	assert.NotEqual(t, choice(7), choice(8))
	n := 0
	for _, lost := range choice(7) {
		if lost {
			n++
		}
	}
	assert.InDelta(t, lostShare, float64(n)/800, 0.05)
}

func TestABookComparesTheErrorWithWhatWasDone(t *testing.T) {
	failure := errors.New("no answer")
	for name, test := range map[string]struct {
		kind kind
		done int // before the end
		err  error
		late int // after the end
		want result
	}{
		"a write that is done once": {create, 1, nil, 0, succeeded},
		"a read":                    {list, 0, nil, 0, succeeded},
		"a write that fails":        {create, 0, failure, 0, failed},
		"a read that fails":         {list, 0, failure, 0, failed},
		"a write that is done, and its answer lost":     {create, 1, failure, 0, falseFail},
		"a write that is done after its caller left":    {increment, 0, failure, 1, falseFail},
		"a write whose error says that it is not known": {create, 0, k8sretry.ErrOutcomeUnknown, 0, unknown},
		"the same, done":                           {create, 1, k8sretry.ErrOutcomeUnknown, 0, unknown},
		"a write that is repeated":                 {increment, 2, nil, 0, twice},
		"a write that is done again after its end": {increment, 1, nil, 1, twice},
		"a success without a write":                {remove, 0, nil, 0, lost},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook()
			b.begin(1, test.kind)
			assert.Equal(t, 1, b.figures().Counts[pending])
			for range test.done {
				b.done(1)
			}
			b.end(1, test.err)
			for range test.late {
				b.done(1)
			}
			f := b.figures()
			var want [results]int
			want[test.want] = 1
			assert.Equal(t, want, f.Counts)
			assert.Equal(t, []result{test.want}, f.Tape)
		})
	}
}

func TestABookForgetsOperationsAndKeepsTheirCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.begin(1, create)
		testkit.Sleep(2 * memory)
		b.forget()
		assert.True(t, b.knows(1), "it has not ended")
		b.done(1)
		b.end(1, nil)
		testkit.Sleep(memory + time.Second)
		b.forget()
		assert.False(t, b.knows(1))
		b.done(1)
		assert.Equal(t, 1, b.figures().Counts[succeeded])
		assert.Equal(t, 2*memory, b.figures().Median[create])
	})
}

func TestDecisionsAreDescribed(t *testing.T) {
	for want, e := range map[string]k8sretry.Event{
		"": {Kind: k8sretry.EventSuccess, Function: "list pods", Attempt: 1},
		"list pods: succeeded at attempt 3, 1.5 s after the first": {Kind: k8sretry.EventSuccess, Function: "list pods", Attempt: 3, Elapsed: 1500 * time.Millisecond},
		"list pods: attempt 1 failed (429, throttled), next one in 2.0 s": {
			Kind: k8sretry.EventRetry, Function: "list pods", Attempt: 1, Class: k8sretry.ClassThrottled, StatusCode: 429, Delay: 2 * time.Second,
		},
		"create configmaps: attempt 1 failed (connection, may have been done), next one in 0.2 s": {
			Kind: k8sretry.EventRetry, Function: "create configmaps", Attempt: 1, Class: k8sretry.ClassConnection, Outcome: k8sretry.OutcomeUnknown, Delay: 200 * time.Millisecond,
		},
		"list pods: failed after attempt 4 (max_retries): no": {
			Kind: k8sretry.EventFailure, Function: "list pods", Attempt: 4, StopReason: k8sretry.StopMaxRetries, Err: errors.New("no"),
		},
		"the limiter limits this server, because list pods failed (503, server)": {
			Kind: k8sretry.EventLimiter, Limited: true, Scope: k8sretry.ScopeServer, Function: "list pods", Class: k8sretry.ClassServer, StatusCode: 503,
		},
		"the limiter limits this kind no longer (list pods)": {Kind: k8sretry.EventLimiter, Scope: k8sretry.ScopeKind, Function: "list pods"},
	} {
		assert.Equal(t, want, describe(e))
	}
}
