// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

func oracle(name string) Figures {
	for _, sc := range All() {
		if sc.Name == name {
			s := sc.Setup(sc.Load)
			s.Seed = 1
			return sc.Measure(s, sim.Oracle(*s, 5))
		}
	}
	panic("no scenario " + name)
}

// The optimum of a scenario can be calculated. The simulated oracle must reach it.
func TestOracleReachesTheOptimum(t *testing.T) {
	f := oracle("S2")
	assert.InDelta(t, 40.0/140, f.Peak, 0.01, "its load is the capacity of the server")
	assert.InDelta(t, 1, f.Goodput, 0.01)
	assert.Zero(t, f.Recovery)
	assert.Equal(t, 1.0, f.Success)
	assert.Equal(t, 1.0, f.Attempts)

	// 3800 calls are waiting. After the restart the capacity is 60 + 7/3 t.
	f = oracle("S3")
	waiting, a, b := 0.99*(2000+30*60), 60.0, 7.0/3
	assert.InDelta(t, (math.Sqrt(a*a+2*b*waiting)-a)/b, f.Done99, 0.7)
	assert.InDelta(t, 1, f.Busiest, 0.03)
	assert.Equal(t, 1.0, f.Success)

	f = oracle("S4")
	p := 0.3
	calls := 120 * 140.0
	noise := 4 * math.Sqrt(math.Pow(p, 6)/calls)
	assert.InDelta(t, 1-math.Pow(p, 6), f.SuccessAll, noise)
	assert.InDelta(t, (1-math.Pow(p, 6))/(1-p), f.AttemptsAll, 0.03)
	assert.Less(t, f.Mean, 0.002)

	// For a minute 80 calls per second are queued; later 60 per second are served.
	f = oracle("S5")
	assert.Equal(t, 1.0, f.AttemptsAll)
	assert.Equal(t, 1.0, f.SuccessAll)
	assert.Zero(t, f.Early)
	assert.InDelta(t, 1, f.LimitPeak, 0.01)
	assert.InDelta(t, 60*80.0/200, f.P99, 2)
}

func TestSingleAttemptsHaveTheCalculatedFigures(t *testing.T) {
	once := func() sim.Process { return oneAttempt }
	f := run(t, "S2", 20, once)
	// Calls succeed until the queue holds the work of 10 s, which takes 400/(140-40) s.
	assert.InDelta(t, 560.0/8400, f.Success, 0.01)
	assert.InDelta(t, 560.0/2400, f.Goodput, 0.02)
	assert.Equal(t, 1.0, f.Attempts)
	assert.InDelta(t, 1, f.Peak, 0.1)

	f = run(t, "S3", 20, once)
	assert.Zero(t, f.Success)
	assert.Equal(t, math.Inf(1), f.Done99)

	f = run(t, "S4", 20, once)
	assert.InDelta(t, 0.7, f.SuccessAll, 0.015)

	f = run(t, "slow-lists", 20, once)
	assert.Equal(t, 1.0, f.Success, "lists are not counted")
}

// Without the random delays of the libraries, the seed determines the figures.
func TestSameSeedGivesTheSameFigures(t *testing.T) {
	for _, name := range []string{"S2", "S3", "S5"} {
		assert.Equal(t, run(t, name, 20, func() sim.Process { return exact }), run(t, name, 2000, func() sim.Process { return exact }), name)
	}
}

func TestFiguresOfARecord(t *testing.T) {
	sc := Scenario{Fault: window(10, 20)}
	s := &sim.Setup{Offered: sim.Constant(10), Length: 60 * time.Second, Server: sim.Server{Capacity: sim.Constant(10)}}
	r := &sim.Record{Seconds: make([]sim.Second, 60)}
	for i := range r.Seconds {
		r.Seconds[i] = sim.Second{Calls: 10, Attempts: 30, Good: 10}
		if 10 <= i && i < 27 {
			r.Seconds[i].Good = 1
		}
		if i == 33 {
			r.Seconds[i].Attempts = 70
		}
	}
	for i, took := range []int{1, 2, 30} {
		at := time.Duration(11+i) * time.Second
		r.Calls = append(r.Calls, &sim.Call{At: at, End: at + time.Duration(took)*time.Second, OK: true, Attempts: 1 + i})
	}
	r.Calls = append(r.Calls, &sim.Call{At: 5 * time.Second, End: 6 * time.Second, Attempts: 4, Asked: 4, Early: 1})
	f := sc.Measure(s, r)
	assert.Equal(t, 7.0, f.Recovery)
	assert.Equal(t, 3.0, f.Peak)
	assert.Equal(t, 7.0, f.Busiest)
	assert.Equal(t, 0.1, f.Goodput)
	assert.Equal(t, 23.0, f.Done99, "13 s + 30 s, after 20 s")
	assert.Equal(t, 1.0, f.Success)
	assert.Equal(t, 0.75, f.SuccessAll)
	assert.Equal(t, 2.0, f.Attempts)
	assert.Equal(t, 2.5, f.AttemptsAll)
	assert.Equal(t, 0.25, f.Early)
	assert.Equal(t, 2.0, f.Median)
	assert.Equal(t, 11.0, f.Mean)
	assert.InDelta(t, 1.0/3, f.InTime, 1e-9)
}

func TestFigureMeetsItsTarget(t *testing.T) {
	m := peak.within(0.4, 1.6)
	for _, c := range []struct {
		figure         float64
		processes      int
		met, hasTarget bool
	}{
		{0.3, 0, true, true}, {0.404, 0, true, true}, {0.41, 0, false, true}, {0.41, 1, true, true}, {math.Inf(1), 1, false, true},
	} {
		met, hasTarget := m.Meets(c.figure, c.processes)
		assert.Equal(t, c.met, met, c)
		assert.Equal(t, c.hasTarget, hasTarget, c)
	}
	met, hasTarget := peak.Meets(99, 0)
	assert.True(t, met)
	assert.False(t, hasTarget)
	met, _ = success.within(0.99, 0.95).Meets(0.97, 0)
	assert.False(t, met)
	met, _ = recovery.within(5, 15).Meets(math.Inf(1), 0)
	assert.False(t, met)
}

// A single run may miss a target by a tenth of it.
func TestFigureNearlyMeetsItsTarget(t *testing.T) {
	for name, c := range map[string]struct {
		metric Metric
		figure float64
		want   bool
	}{
		"less is better, a tenth more":       {busiest.within(2.5, 2.5), 2.75, true},
		"less is better, beyond that":        {busiest.within(2.5, 2.5), 2.76, false},
		"more is better, a tenth less":       {success.within(0.9, 0.9), 0.81, true},
		"more is better, beyond that":        {success.within(0.9, 0.9), 0.80, false},
		"nothing is allowed":                 {early.within(0, 0), 0.002, false},
		"no target":                          {median, 1e9, true},
		"a target that the figure does meet": {success.within(0.9, 0.9), 1, true},
	} {
		assert.Equal(t, c.want, c.metric.NearlyMeets(c.figure, 1), name)
	}
}
