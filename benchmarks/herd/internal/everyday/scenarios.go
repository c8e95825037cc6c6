// SPDX-License-Identifier: Apache-2.0

package everyday

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// usual is how long an answer takes.
const usual = 10 * time.Millisecond

// All returns the scenarios.
func All() []Scenario {
	return []Scenario{
		{
			Name: "refused", Title: "One resource refused: GETs of others and renewals of a lease (every 2 s, deadline 10 s), beside LISTs of one resource that always fail, for five minutes",
			Rows: refused(), Cell: others, Target: "p99 at most 60 ms, no GET and no renewal lost", Met: notHarmed,
		},
		{
			Name: "webhook", Title: "Mixed trouble of one custom resource, whose conversion webhook hangs: its requests get no answer for 30 s, half of them fail at once",
			Rows: []Row{{"10 GETs/s beside one request per second", func(w *world) { w.beside(time.Second/10, time.Second, hangs(w)) }}},
			Cell: others, Target: "p99 at most 60 ms, no GET and no renewal lost", Met: notHarmed,
		},
		{
			Name: "leases", Title: "Leases in a brown-out: a renewal every 2 s, with a deadline of 10 s, beside the calls of 20 processes to a server that has a fifth of its capacity for a minute (S2)",
			Rows: []Row{{"60 renewals", leases}},
			Cell: func(r *Record) string {
				failed, all := r.Failed(sim.Renew)
				return fmt.Sprintf("%d of %d renewals lost", failed, all)
			},
			Met: func(r, _ *Record) bool { failed, _ := r.Failed(sim.Renew); return failed == 0 }, Target: "none lost",
		},
		{
			Name: "nested", Title: "Calls within calls: 16 workers make 5 calls each, each of which makes 3 calls; connections are refused for 450 ms",
			Rows: []Row{{"80 calls", nested}},
			Cell: func(r *Record) string {
				failed, all := r.Failed(sim.List)
				return fmt.Sprintf("%d of %d failed, %s", failed, all, milliseconds(r.Length))
			},
			Met: func(r, _ *Record) bool { failed, _ := r.Failed(sim.List); return failed == 0 }, Target: "none fails",
		},
		{
			Name: "chance", Title: "Chance: a share of the requests fails at random in all ways, while the server is healthy: success, and the time for 4000 calls",
			Rows: atRandom(chance, []float64{0.05, 0.2, 0.4}, 1, 16, 64), Cell: successAndTime, Met: notSlower, Target: likeWithout,
		},
		{
			Name: "stragglers", Title: "Stragglers: a share of the answers takes 3 s instead of 20 ms, while the server is healthy: success, and the time for 4000 calls",
			Rows: atRandom(slow, []float64{0.01, 0.05, 0.2}, 1, 16, 64), Cell: successAndTime, Met: notSlower, Target: likeWithout,
		},
		{
			Name: "unanswered", Title: "Unanswered: a share of the requests gets no answer until the attempt timeout of 10 s, while the server is healthy: success, and the time for 4000 calls",
			Rows: atRandom(never, []float64{0.01, 0.05, 0.2}, 16, 64), Cell: successAndTime, Met: notSlower, Target: likeWithout,
		},
		{
			Name: "slow", Title: "Slow with every request: a server that answers within 20 ms takes 1 s to 2 s for every request from one moment on, for two minutes: calls lost, p99",
			Rows: []Row{slowness(5), slowness(50)}, Cell: lostAndP99, Target: "none lost",
			Met: func(r, _ *Record) bool { failed, _ := r.Failed(sim.Get); return failed == 0 },
		},
		{
			Name: "unanswered-alone", Title: "Unanswered, one call at a time, which looks like an overloaded server: success, and the time for 4000 calls",
			Rows: atRandom(never, []float64{0.01, 0.05, 0.2}, 1), Cell: successAndTime, Met: atMostHalfSlower, Target: "success within half a percent and time within half of k8sretry without a limiter",
		},
	}
}

const likeWithout = "success within half a percent and time within 5 % of k8sretry without a limiter"

func successAndTime(r *Record) string {
	return fmt.Sprintf("%.2f %%, %s", 100*r.Success(sim.Get), milliseconds(r.Length))
}

func notSlower(r, without *Record) bool { return slowerBy(0.05, r, without) }

func atMostHalfSlower(r, without *Record) bool { return slowerBy(0.5, r, without) }

// slowerBy reports whether as many calls succeed as without a limiter, and take no longer than a
// share more.
func slowerBy(share float64, r, without *Record) bool {
	return r.Success(sim.Get) >= without.Success(sim.Get)-0.005 && r.Length.Seconds() <= (1+share)*without.Length.Seconds()
}

func others(r *Record) string {
	failed, _ := r.Failed(sim.Get)
	lost, _ := r.Failed(sim.Renew)
	_, lists := r.Failed(sim.List)
	return fmt.Sprintf("%s, %d and %d lost; %.1f attempts", milliseconds(r.P99(sim.Get)), failed, lost, float64(len(r.Attempts))/float64(lists))
}

func notHarmed(r, _ *Record) bool {
	failed, _ := r.Failed(sim.Get)
	lost, _ := r.Failed(sim.Renew)
	return r.P99(sim.Get) <= usual+50*time.Millisecond && failed == 0 && lost == 0
}

// beside makes GETs and renewals that are well, beside LISTs that are not.
func (w *world) beside(gets, lists time.Duration, list sim.Attempt) {
	const length = 5 * time.Minute
	w.steadily(length, gets, sim.Get, time.Hour, answer(usual, nil))
	w.steadily(length, 2*time.Second, sim.Renew, 10*time.Second, answer(usual, nil))
	w.steadily(length, lists, sim.List, time.Hour, w.troubled(list))
}

func refused() (rows []Row) {
	for _, r := range []struct {
		name        string
		gets, lists time.Duration
		err         error
	}{
		{"50/s beside 1/s, 429", time.Second / 50, time.Second, initializing(1)},
		{"50/s beside 1/s, 429 without Retry-After", time.Second / 50, time.Second, initializing(0)},
		{"10/s beside one in 5 s, 429", time.Second / 10, 5 * time.Second, initializing(1)},
		{"10/s beside one in 5 s, 429 without Retry-After", time.Second / 10, 5 * time.Second, initializing(0)},
		{"1/s beside one in 15 s, 429", time.Second, 15 * time.Second, initializing(1)},
		{"1/s beside one in 15 s, 429 without Retry-After", time.Second, 15 * time.Second, initializing(0)},
		{"one in 5 s beside one a minute, 429", 5 * time.Second, time.Minute, initializing(1)},
		{"1/s beside 5/s, 500", time.Second, time.Second / 5, err500},
	} {
		rows = append(rows, Row{r.name, func(w *world) { w.beside(r.gets, r.lists, answer(usual, r.err)) }})
	}
	return rows
}

// slowness makes calls at a constant rate to a server that is slow with every request after 20 s.
func slowness(perSecond int) Row {
	return Row{fmt.Sprintf("%d/s", perSecond), func(w *world) {
		serve := func(ctx context.Context) error {
			took := 20 * time.Millisecond
			if w.now() > 20*time.Second {
				w.record.mu.Lock()
				took = time.Second + time.Duration(w.random.Int64N(int64(time.Second)))
				w.record.mu.Unlock()
			}
			return answer(took, nil)(ctx)
		}
		w.steadily(140*time.Second, time.Second/time.Duration(perSecond), sim.Get, time.Hour, serve)
	}}
}

func lostAndP99(r *Record) string {
	failed, all := r.Failed(sim.Get)
	return fmt.Sprintf("%d of %d lost, %s", failed, all, milliseconds(r.P99(sim.Get)))
}

func hangs(w *world) sim.Attempt {
	return func(ctx context.Context) error {
		w.record.mu.Lock()
		hang := w.random.IntN(2) == 0
		w.record.mu.Unlock()
		if hang {
			return answer(30*time.Second, errWebhook)(ctx)
		}
		return answer(usual, errWebhook)(ctx)
	}
}

// leases is S2 for 20 processes: a brown-out of a server that takes one request after the other. The
// renewals are those of one of them.
func leases(w *world) {
	const length = 2 * time.Minute
	var next time.Duration // when the server is free
	serve := func(ctx context.Context) error {
		w.record.mu.Lock()
		now, each := w.now(), 5*time.Millisecond
		if now > 30*time.Second && now < 90*time.Second {
			each *= 5
		}
		wait := max(next, now) + each - now
		if wait > time.Minute {
			w.record.mu.Unlock()
			return answer(2*time.Millisecond, err503)(ctx)
		}
		next = now + wait
		w.record.mu.Unlock()
		return answer(wait, nil)(ctx)
	}
	w.steadily(length, 2*time.Second, sim.Renew, 10*time.Second, serve)
	w.steadily(length, time.Second/7, sim.Get, time.Hour, serve)
	for range 19 {
		process := w.newProcess()
		w.all.Go(func() {
			for w.now() < length {
				w.all.Go(func() { _ = process(context.Background(), sim.Get, serve) })
				time.Sleep(time.Second / 7)
			}
		})
	}
}

func nested(w *world) {
	serve := func(ctx context.Context) error {
		if now := w.now(); now > 50*time.Millisecond && now < 500*time.Millisecond {
			return answer(usual, errRefused)(ctx)
		}
		return answer(usual, nil)(ctx)
	}
	for range 16 {
		w.all.Go(func() {
			for range 5 {
				_ = w.call(context.Background(), sim.List, func(ctx context.Context) error {
					for range 3 {
						if err := w.process(ctx, sim.Get, serve); err != nil {
							return err
						}
					}
					return nil
				})
			}
		})
	}
}

// How requests end at random.
var (
	chance = []sim.Attempt{
		answer(5*time.Millisecond, err503), answer(20*time.Millisecond, errReset), answer(time.Millisecond, errRefused),
		answer(5*time.Millisecond, initializing(0)), answer(10*time.Millisecond, err504),
	}
	slow  = []sim.Attempt{answer(3*time.Second, nil)}
	never = []sim.Attempt{answer(time.Minute, nil)}
)

// atRandom makes rows in which a share of the requests ends in one of the given ways.
func atRandom(ends []sim.Attempt, rates []float64, atOnce ...int) (rows []Row) {
	for _, rate := range rates {
		for _, workers := range atOnce {
			rows = append(rows, Row{fmt.Sprintf("%.0f %%, %d at once", 100*rate, workers), func(w *world) {
				for worker := range workers {
					random := rand.New(rand.NewPCG(w.random.Uint64(), uint64(worker)))
					w.all.Go(func() {
						for range 4000 / workers {
							_ = w.call(context.Background(), sim.Get, func(ctx context.Context) error {
								if random.Float64() < rate {
									return ends[random.IntN(len(ends))](ctx)
								}
								return answer(20*time.Millisecond, nil)(ctx)
							})
						}
					})
				}
			}})
		}
	}
	return rows
}
