// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"net/url"
	"time"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// Phase is a part of the scenario with one condition of the API server.
type Phase struct {
	Name  string
	Share float64 // of the duration of the scenario
	begin func(context.Context, *apiServer, *k8sretrytest.Faults) error
}

// Scenario is the sequence of phases.
var Scenario = []Phase{
	{"healthy", 0.15, func(context.Context, *apiServer, *k8sretrytest.Faults) error { return nil }},
	{"unstable", 0.2, func(_ context.Context, _ *apiServer, faults *k8sretrytest.Faults) error {
		faults.FailRandomly(1, 0.04, "*", "*", k8sretrytest.Status(503))
		faults.FailRandomly(2, 0.02, "*", "*", k8sretrytest.EtcdTimeout())
		faults.LoseResponsesRandomly(3, 0.02, "*", "*", k8sretrytest.Status(504))
		faults.LoseResponsesRandomly(4, 0.02, "*", "*", k8sretrytest.ConnectionReset())
		return nil
	}},
	{"overloaded", 0.2, func(ctx context.Context, s *apiServer, faults *k8sretrytest.Faults) error {
		// Whether the limit below refuses a list depends on chance. The report needs that.
		faults.FailRandomly(5, 0.9, "list", "*", k8sretrytest.TooManyRequests(time.Second))
		return s.command(ctx, "limit", url.Values{"in-flight": {"3"}, "each": {"60ms"}})
	}},
	{"down", 0.25, func(ctx context.Context, s *apiServer, _ *k8sretrytest.Faults) error {
		return s.command(ctx, "down", nil)
	}},
	{"recovered", 0.2, func(ctx context.Context, s *apiServer, _ *k8sretrytest.Faults) error {
		return s.command(ctx, "up", nil)
	}},
}

// play runs all phases within the duration.
func play(ctx context.Context, s *apiServer, faults *k8sretrytest.Faults, duration time.Duration) error {
	for _, phase := range Scenario {
		faults.Clear()
		if err := s.command(ctx, "heal", nil); err != nil {
			return err
		}
		if err := phase.begin(ctx, s, faults); err != nil {
			return err
		}
		if err := wait(ctx, time.Duration(phase.Share*float64(duration))); err != nil {
			return err
		}
	}
	return nil
}
