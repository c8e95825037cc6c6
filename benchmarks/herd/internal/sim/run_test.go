// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func arrivals(s Setup) (at []time.Duration, clients []int) {
	for c := range s.Arrivals() {
		at, clients = append(at, c.At), append(clients, c.Client)
	}
	return at, clients
}

func TestSeedDeterminesTheArrivals(t *testing.T) {
	s := Setup{Clients: 50, Offered: Curve{{0, 100}, {time.Minute, 100}, {time.Minute, 300}}, Length: 2 * time.Minute, Seed: 1}
	at, clients := arrivals(s)
	again, same := arrivals(s)
	assert.Equal(t, at, again)
	assert.Equal(t, clients, same)
	assert.True(t, slices.IsSorted(at))
	half, _ := slices.BinarySearch(at, time.Minute)
	assert.InDelta(t, 6000, half, 250)
	assert.InDelta(t, 18000, len(at)-half, 450)

	s.Seed = 2
	other, _ := arrivals(s)
	assert.NotEqual(t, at, other)
}

func TestEveryClientCallsInARush(t *testing.T) {
	s := Setup{Clients: 50, Offered: Constant(1), Length: time.Minute, Rush: []time.Duration{30 * time.Second}}
	at, clients := arrivals(s)
	var rushed []int
	for i := range at {
		if at[i] == 30*time.Second {
			rushed = append(rushed, clients[i])
		}
	}
	assert.True(t, slices.IsSorted(at))
	assert.Len(t, rushed, 50)
	assert.Len(t, slices.Compact(rushed), 50)
}

// twoRetries retries twice after a second.
func twoRetries(ctx context.Context, _ Verb, attempt Attempt) (err error) {
	for range 3 {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		err = attempt(ctx)
		cancel()
		if err == nil {
			return nil
		}
		time.Sleep(time.Second)
	}
	return err
}

func TestEveryCallAndRequestIsCounted(t *testing.T) {
	s := Setup{
		Clients: 100, Offered: Constant(40), Length: 2 * time.Minute, Seed: 3,
		Server: Server{Queue: 500, ErrorRatio: 0.1, Down: []Window{{time.Minute, 70 * time.Second}},
			Capacity: Curve{{0, 50}, {20 * time.Second, 50}, {20 * time.Second, 10}, {40 * time.Second, 10}, {40 * time.Second, 50}}},
	}
	var r *Record
	processes := 0
	synctest.Test(t, func(*testing.T) {
		r = Run(s, 7, func() Process { processes++; return twoRetries })
	})
	assert.Equal(t, 7, processes)
	at, _ := arrivals(s)
	var sum Second
	for _, s := range r.Seconds {
		sum.Calls += s.Calls
		sum.Good += s.Good
		sum.Bad += s.Bad
		sum.Attempts += s.Attempts
		sum.Rejected += s.Rejected
		sum.Refused += s.Refused
		sum.Wasted += s.Wasted
	}
	attempts, good := 0, 0
	for _, c := range r.Calls {
		attempts += c.Attempts
		if c.OK {
			good++
		}
		assert.GreaterOrEqual(t, c.End, c.At)
	}
	assert.Len(t, r.Calls, len(at))
	assert.Equal(t, len(at), sum.Calls)
	assert.Equal(t, len(at), sum.Good+sum.Bad)
	assert.Equal(t, good, sum.Good)
	assert.Equal(t, attempts, sum.Attempts)
	assert.Equal(t, attempts, r.Accepted+sum.Rejected+sum.Refused)
	assert.Equal(t, r.Accepted, r.Served+r.Lost+r.Dropped)
	assert.Equal(t, r.Served, good+r.Wasted, "a served request belongs to a successful call or to a client that has left")
	assert.Equal(t, r.Wasted, sum.Wasted)
	assert.Zero(t, r.Seconds[len(r.Seconds)-1].Queue)
	assert.Positive(t, sum.Wasted)
	assert.Positive(t, sum.Refused)
	assert.Positive(t, r.Lost)
}

func TestEarlyAttemptsAreCounted(t *testing.T) {
	s := Setup{Clients: 10, Offered: Constant(20), Length: time.Minute,
		Server: Server{Queue: 500, Capacity: Constant(1000), Limit: Constant(1)}}
	for _, c := range []struct {
		wait  time.Duration
		early bool
	}{{900 * time.Millisecond, true}, {5 * time.Second, false}} {
		synctest.Test(t, func(*testing.T) {
			r := Run(s, 1, func() Process {
				return func(ctx context.Context, _ Verb, attempt Attempt) error {
					if attempt(ctx) != nil {
						time.Sleep(c.wait)
						return attempt(ctx)
					}
					return nil
				}
			})
			early, asked := 0, 0
			for _, call := range r.Calls {
				early += call.Early
				asked += call.Asked
			}
			assert.Positive(t, asked)
			if c.early {
				assert.Equal(t, asked, early)
			} else {
				assert.Zero(t, early)
			}
		})
	}
}
