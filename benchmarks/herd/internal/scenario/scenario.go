// SPDX-License-Identifier: Apache-2.0

// Package scenario contains the scenarios of the simulation and their metrics.
package scenario

import (
	"time"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// The common settings of the scenarios. The attempt timeout is 10 s (see package contender),
// so a request in the queue is useless after 10 s.
const (
	clients  = 2000
	capacity = 200.0 // requests per second
	usual    = 0.7   // offered load as a share of the capacity
)

// Scenario is one kind of fault.
type Scenario struct {
	Name, Title string
	Fault       sim.Window
	Load        float64                       // default load as a share of the capacity
	Setup       func(load float64) *sim.Setup // setup for a load
	Metrics     []Metric
	// Shape is set for the scenarios beyond S1 to S5.
	Shape bool
}

// All returns the scenarios in order, except the contention scenario, which has its own
// model.
func All() []Scenario {
	minute := window(30, 90)
	return []Scenario{
		{
			Name: "S2", Title: "Brown-out: a fifth of the capacity for a minute, behind a long queue",
			Fault: minute, Load: usual, Setup: brownOut(seconds(12)),
			Metrics: []Metric{
				peak.within(0.4, 1.6), goodput.within(0.95, 0.23), recovery.within(5, 15), success.within(0.99, 0.95), attempts, median, p99,
			},
		},
		{
			Name: "S2s", Title: "Brown-out behind a short queue, which answers 503",
			Fault: minute, Load: usual, Setup: brownOut(seconds(1)),
			Metrics: []Metric{peak, goodput, recovery, success.within(0.99, 0.84), attempts, median, p99},
		},
		{
			Name: "S3", Title: "Restart: 30 s of refused connections, then a slow start",
			Fault: window(30, 60), Load: 0.3, Setup: restart,
			Metrics: []Metric{success.within(0.995, 0.995), done99.within(55, 60), busiest.within(1.3, 2.5), attempts},
		},
		{
			Name: "S4", Title: "Partial fault: 30 % of the requests are answered 503 at random, with ample capacity",
			Fault: window(0, 120), Load: usual, Setup: partial,
			Metrics: []Metric{successAll.within(0.9985, 0.9985), attemptsAll, meanTime.within(0.8, 0.8), p99.within(10, 10)},
		},
		{
			Name: "S5", Title: "Throttling: twice as many calls for a minute, 429 with Retry-After above the limit",
			Fault: minute, Load: usual, Setup: throttled,
			Metrics: []Metric{
				early.within(0, 0), attemptsAll.within(1.05, 1.6), successAll.within(0.997, 0.997), limitPeak.within(1.3, 2.8), median, p99,
			},
		},
		{
			Name: "decline", Title: "Slow decline: the capacity falls to a fifth within two minutes, then returns at once", Shape: true,
			Fault: window(30, 150), Load: usual, Setup: decline,
			Metrics: []Metric{peak, goodput, recovery, success, attempts, median, p99},
		},
		{
			Name: "flapping", Title: "Flapping server: 20 s at a tenth of the capacity, 20 s at full capacity, three times", Shape: true,
			Fault: window(30, 150), Load: 0.5, Setup: flapping,
			Metrics: []Metric{peak, goodput, recovery, success, attempts, median, p99},
		},
		{
			Name: "silence", Title: "Silence: no request is answered for 30 s", Shape: true,
			Fault: window(30, 60), Load: 0.5, Setup: silence,
			Metrics: []Metric{peak, recovery, success, attempts, median, p99},
		},
		{
			Name: "slow-lists", Title: "One slow verb: for a minute lists, a tenth of the calls, take 15 s; only the other calls are counted", Shape: true,
			Fault: minute, Load: usual, Setup: slowLists,
			Metrics: []Metric{inTime.within(0.99, 0.99), success, attempts, meanTime, p99},
		},
		{
			Name: "drops", Title: "Brown-out of a server that drops requests whose clients have left", Shape: true,
			Fault: minute, Load: usual, Setup: drops,
			Metrics: []Metric{peak, goodput, recovery, success, attempts, median, p99},
		},
	}
}

func window(from, to int) sim.Window {
	return sim.Window{From: time.Duration(from) * time.Second, To: time.Duration(to) * time.Second}
}

// seconds returns the length of a queue that holds s seconds of work at full capacity.
func seconds(s float64) int { return int(capacity * s) }

// steady returns a setup with constant load and capacity for four minutes.
func steady(load float64, queue int) *sim.Setup {
	return &sim.Setup{
		Clients: clients, Offered: sim.Constant(load * capacity), Length: 4 * time.Minute,
		Server: sim.Server{Queue: queue, Capacity: sim.Constant(capacity)},
	}
}

// curve returns a Curve from pairs of seconds and shares of the capacity.
func curve(points ...float64) sim.Curve {
	var c sim.Curve
	for i := 0; i < len(points); i += 2 {
		c = append(c, sim.Point{At: time.Duration(points[i] * float64(time.Second)), Rate: points[i+1] * capacity})
	}
	return c
}

func brownOut(queue int) func(float64) *sim.Setup {
	return func(load float64) *sim.Setup {
		s := steady(load, queue)
		s.Server.Capacity = curve(0, 1, 30, 1, 30, 0.2, 90, 0.2, 90, 1)
		return s
	}
}

// restart makes every client start a call at the time of the crash, because it has lost
// its connection.
func restart(load float64) *sim.Setup {
	s := steady(load, seconds(12))
	s.Rush = []time.Duration{30 * time.Second}
	s.Server.Down = []sim.Window{window(30, 60)}
	s.Server.Capacity = curve(0, 1, 60, 1, 60, 0.3, 120, 1)
	return s
}

func partial(load float64) *sim.Setup {
	s := steady(load, seconds(12))
	s.Length = 2 * time.Minute
	s.Server.ErrorRatio, s.Server.Capacity = 0.3, sim.Constant(20*capacity)
	return s
}

func throttled(load float64) *sim.Setup {
	s := steady(load, seconds(12))
	s.Offered = curve(0, load, 30, load, 30, load+usual, 90, load+usual, 90, load)
	s.Server.Limit, s.Server.Capacity = sim.Constant(capacity), sim.Constant(20*capacity)
	return s
}

func decline(load float64) *sim.Setup {
	s := steady(load, seconds(12))
	s.Length = 5 * time.Minute
	s.Server.Capacity = curve(0, 1, 30, 1, 150, 0.2, 150, 1)
	return s
}

func flapping(load float64) *sim.Setup {
	s := steady(load, seconds(12))
	s.Length = 5 * time.Minute
	c := curve(0, 1)
	for at := 30.0; at < 150; at += 40 {
		c = append(c, curve(at, 1, at, 0.1, at+20, 0.1, at+20, 1)...)
	}
	s.Server.Capacity = c
	return s
}

func silence(load float64) *sim.Setup {
	s := steady(load, seconds(12))
	s.Server.Capacity = curve(0, 1, 30, 1, 30, 0.0001, 60, 0.0001, 60, 1)
	return s
}

func slowLists(load float64) *sim.Setup {
	s := steady(load, seconds(12))
	s.Lists = 0.1
	s.Server.Slow = func(verb sim.Verb, at time.Duration) time.Duration {
		switch {
		case verb != sim.List:
			return 0
		case window(30, 90).Has(at):
			return 15 * time.Second
		}
		return 200 * time.Millisecond
	}
	return s
}

func drops(load float64) *sim.Setup {
	s := brownOut(seconds(12))(load)
	s.Server.Drops = true
	return s
}
