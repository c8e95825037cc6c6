// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"math"
	"slices"
	"time"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// Figures are the results of a run. Durations are in seconds; +Inf stands for never.
type Figures struct {
	Peak      float64 // attempts in the busiest 5 s of the second half of the fault, relative to the offered load
	LimitPeak float64 // attempts in the busiest second of the run, relative to the capacity
	Goodput   float64 // calls that succeeded during the fault, relative to the capacity of the server
	Recovery  float64 // time from the end of the fault until calls succeed at 90 % of the offered rate
	Done99    float64 // time from the end of the fault until 99 % of the calls started during the fault have succeeded
	Busiest   float64 // attempts in the busiest second of the minute after the fault, relative to the capacity in that second
	Early     float64 // share of the attempts after a Retry-After that were made too early

	// The calls started during the fault.
	Success, Attempts, Mean, Median, P99 float64
	InTime                               float64 // share that succeeded within 1 s
	// All calls.
	SuccessAll, AttemptsAll float64
}

// Measure computes the figures of a run. Lists are not counted.
func (sc Scenario) Measure(s *sim.Setup, r *sim.Record) Figures {
	l := load{s, r}
	from, to := int(sc.Fault.From/time.Second), int(sc.Fault.To/time.Second)
	f := Figures{Recovery: l.recovery(to), Done99: math.Inf(1)}
	for i := (from + to) / 2; i+5 <= to; i++ {
		f.Peak = max(f.Peak, l.sum(i, i+5, attemptsOf)/l.offered(i, i+5))
	}
	for i := range r.Seconds {
		f.LimitPeak = max(f.LimitPeak, float64(r.Seconds[i].Attempts)/capacity)
		if to <= i && i < to+60 {
			f.Busiest = max(f.Busiest, float64(r.Seconds[i].Attempts)/area(s.Server.Capacity, i, i+1))
		}
	}
	f.Goodput = l.sum(from, to, goodOf) / area(s.Server.Capacity, from, to)
	var all, affected group
	early, asked := 0, 0
	for _, c := range r.Calls {
		early += c.Early
		asked += c.Asked
		if c.Verb != sim.Get {
			continue
		}
		all.add(c)
		if sc.Fault.Has(c.At) {
			affected.add(c)
		}
	}
	if asked > 0 {
		f.Early = float64(early) / float64(asked)
	}
	f.SuccessAll, f.AttemptsAll = all.success(), all.perCall()
	f.Success, f.Attempts = affected.success(), affected.perCall()
	for _, took := range affected.took {
		if took <= 1 {
			f.InTime += 1 / float64(affected.calls)
		}
	}
	if n := (affected.calls*99 + 99) / 100; len(affected.ends) >= n {
		slices.Sort(affected.ends)
		f.Done99 = affected.ends[n-1] - sc.Fault.To.Seconds()
	}
	f.Mean, f.Median, f.P99 = summarize(affected.took)
	return f
}

// Limit returns the number of requests that the server can accept in a second.
func (sc Scenario) Limit(s *sim.Setup, second int) float64 {
	at := time.Duration(second) * time.Second
	for _, down := range s.Server.Down {
		if down.Has(at) {
			return 0
		}
	}
	if s.Server.Limit != nil {
		return s.Server.Limit.At(at)
	}
	return s.Server.Capacity.At(at)
}

// load computes figures from the seconds of a run.
type load struct {
	*sim.Setup
	r *sim.Record
}

func attemptsOf(s sim.Second) int { return s.Attempts }
func goodOf(s sim.Second) int     { return s.Good }

func (l load) sum(from, to int, of func(sim.Second) int) (sum float64) {
	for i := from; i < to && i < len(l.r.Seconds); i++ {
		sum += float64(of(l.r.Seconds[i]))
	}
	return sum
}

func (l load) offered(from, to int) float64 { return area(l.Offered, from, to) }

// recovery returns the time until calls succeed at 90 % of the offered rate for 5 s.
func (l load) recovery(end int) float64 {
	for i := end; i+5 <= int(l.Length/time.Second); i++ {
		if l.sum(i, i+5, goodOf) >= 0.9*l.offered(i, i+5) {
			return float64(i - end)
		}
	}
	return math.Inf(1)
}

// area returns the area under a curve between two seconds.
func area(c sim.Curve, from, to int) float64 {
	return c.Total(time.Duration(to)*time.Second) - c.Total(time.Duration(from)*time.Second)
}

// group is a set of calls.
type group struct {
	calls, ok, attempts int
	ends, took          []float64 // of the successful calls
}

func (g *group) add(c *sim.Call) {
	g.calls++
	g.attempts += c.Attempts
	if c.OK {
		g.ok++
		g.ends = append(g.ends, c.End.Seconds())
		g.took = append(g.took, (c.End - c.At).Seconds())
	}
}

func (g *group) success() float64 { return float64(g.ok) / float64(g.calls) }
func (g *group) perCall() float64 { return float64(g.attempts) / float64(g.calls) }

func summarize(took []float64) (mean, median, p99 float64) {
	if len(took) == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	slices.Sort(took)
	for _, d := range took {
		mean += d
	}
	return mean / float64(len(took)), took[len(took)/2], took[len(took)*99/100]
}
