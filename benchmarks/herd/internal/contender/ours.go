// SPDX-License-Identifier: Apache-2.0

package contender

import (
	"context"
	"time"

	"github.com/k8sretry/k8sretry"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// Variant is one configuration of k8sretry.
type Variant struct {
	Name string
	// Shared returns new options that the calls of a process share. It may be nil.
	Shared func() []k8sretry.Option
}

// Main is the variant for which there are targets.
const Main = "k8sretry limiter"

// Ours returns the variants. Add new ones here.
func Ours() []Variant {
	return []Variant{
		{"k8sretry", nil},
		{"k8sretry limiter", shared(limiter)},
		{"k8sretry budget", shared(budget)},
		{"k8sretry breaker", shared(breaker)},
		{"k8sretry limiter and budget", shared(limiter, budget)},
		{"k8sretry limiter and breaker", shared(limiter, breaker)},
		{"k8sretry limiter with 5 s queue time", shared(limiter, maxQueueTime)},
		{"k8sretry limiter without names", shared(limiter, noName)},
	}
}

func limiter() k8sretry.Option { return k8sretry.WithLimiter(k8sretry.NewLimiter()) }
func budget() k8sretry.Option {
	return k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{}))
}
func breaker() k8sretry.Option {
	return k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{}))
}
func maxQueueTime() k8sretry.Option { return k8sretry.WithMaxQueueTime(5 * time.Second) }

// noName leaves the name out, so that the function tells the kinds of calls apart.
func noName() k8sretry.Option { return k8sretry.WithName("") }

func shared(makers ...func() k8sretry.Option) func() []k8sretry.Option {
	return func() []k8sretry.Option {
		var opts []k8sretry.Option
		for _, m := range makers {
			opts = append(opts, m())
		}
		return opts
	}
}

// Policy returns the policy of a new process.
func (v Variant) Policy() *k8sretry.Policy {
	opts := []k8sretry.Option{k8sretry.ForWrite(), k8sretry.WithName("herd"), k8sretry.WithAttemptTimeout(perAttempt)}
	if v.Shared != nil {
		opts = append(opts, v.Shared()...)
	}
	return k8sretry.NewPolicy(opts...)
}

func (v Variant) contender() Contender {
	return Contender{Name: v.Name, Ours: true, Shares: v.Shared != nil, Process: func() sim.Process {
		policy := v.Policy()
		return func(ctx context.Context, verb sim.Verb, attempt sim.Attempt) error {
			return k8sretry.Run(ctx, attempt, policy, verbs[verb])
		}
	}}
}

// verbs are the options for the verbs of the simulation. A renewal is repeated by the elector, and
// never waits, as with a Transport.
var verbs = [...]k8sretry.Option{
	sim.Get: k8sretry.WithVerb(k8sretry.VerbGet), sim.List: k8sretry.WithVerb(k8sretry.VerbList),
	sim.Renew: k8sretry.NewPolicy(k8sretry.WithVerb(k8sretry.VerbUpdate), k8sretry.WithPriority(), k8sretry.WithMaxRetries(0)),
}
