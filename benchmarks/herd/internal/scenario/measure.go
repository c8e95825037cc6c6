package scenario

import (
	"math"
	"slices"
	"time"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// Figures are what is read off a run. Times are in seconds; what does not happen is
// at +Inf.
type Figures struct {
	Peak      float64 // attempts in the busiest 5 s of the second half of the trouble, in times of the offered load
	LimitPeak float64 // attempts in the busiest second of the run, in times of the capacity
	Goodput   float64 // calls that ended well during the trouble, of what the server could serve meanwhile
	Recovery  float64 // from the end of the trouble until 90 % of the offered load ends well again
	Done99    float64 // from the end of the trouble until 99 % of the calls begun in it have ended well
	Busiest   float64 // attempts in the busiest second of the minute after the trouble, in times of what could be served in that second
	Early     float64 // share of the attempts after a Retry-After that came earlier

	// Of the calls begun during the trouble.
	Success, Attempts, Mean, Median, P99 float64
	InTime                               float64 // share that ended well within 1 s
	// Of all calls.
	SuccessAll, AttemptsAll float64
}

// Measure reads the figures off a run. Where some of the calls are lists, they are not
// counted.
func (sc Scenario) Measure(s *sim.Setup, r *sim.Record) Figures {
	l := load{s, r}
	from, to := int(sc.Trouble.From/time.Second), int(sc.Trouble.To/time.Second)
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
		if sc.Trouble.Has(c.At) {
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
		f.Done99 = affected.ends[n-1] - sc.Trouble.To.Seconds()
	}
	f.Mean, f.Median, f.P99 = spread(affected.took)
	return f
}

// Limit is how many requests the server can take in a second.
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

// load is a run, second by second.
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

// recovery looks for 5 s in which calls end well as fast as they are made, nearly.
func (l load) recovery(end int) float64 {
	for i := end; i+5 <= int(l.Length/time.Second); i++ {
		if l.sum(i, i+5, goodOf) >= 0.9*l.offered(i, i+5) {
			return float64(i - end)
		}
	}
	return math.Inf(1)
}

// area is what a curve comes to between two seconds.
func area(c sim.Curve, from, to int) float64 {
	return c.Total(time.Duration(to)*time.Second) - c.Total(time.Duration(from)*time.Second)
}

// group is a number of calls.
type group struct {
	calls, ok, attempts int
	ends, took          []float64 // of those that ended well
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

func spread(took []float64) (mean, median, p99 float64) {
	if len(took) == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	slices.Sort(took)
	for _, d := range took {
		mean += d
	}
	return mean / float64(len(took)), took[len(took)/2], took[len(took)*99/100]
}
