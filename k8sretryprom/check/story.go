package check

import (
	"context"
	"net/url"
	"time"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// Phase is what the callers see of the API server for a time.
type Phase struct {
	Name  string
	Share float64 // of the whole story
	begin func(context.Context, *apiServer, *k8sretrytest.Faults) error
}

// Story is what happens, in order.
var Story = []Phase{
	{"well", 0.15, func(context.Context, *apiServer, *k8sretrytest.Faults) error { return nil }},
	{"restless", 0.2, func(_ context.Context, _ *apiServer, wire *k8sretrytest.Faults) error {
		wire.FailRandomly(1, 0.04, "*", "*", k8sretrytest.Status(503))
		wire.FailRandomly(2, 0.02, "*", "*", k8sretrytest.EtcdTimeout())
		wire.LoseResponsesRandomly(3, 0.02, "*", "*", k8sretrytest.Status(504))
		wire.LoseResponsesRandomly(4, 0.02, "*", "*", k8sretrytest.ConnectionReset())
		return nil
	}},
	{"overloaded", 0.2, func(ctx context.Context, s *apiServer, _ *k8sretrytest.Faults) error {
		return s.tell(ctx, "limit", url.Values{"in-flight": {"3"}, "each": {"60ms"}})
	}},
	{"down", 0.25, func(ctx context.Context, s *apiServer, _ *k8sretrytest.Faults) error {
		return s.tell(ctx, "down", nil)
	}},
	{"well again", 0.2, func(ctx context.Context, s *apiServer, _ *k8sretrytest.Faults) error {
		return s.tell(ctx, "up", nil)
	}},
}

// tell lets the story happen.
func tell(ctx context.Context, s *apiServer, wire *k8sretrytest.Faults, whole time.Duration) error {
	for _, phase := range Story {
		wire.Clear()
		if err := s.tell(ctx, "heal", nil); err != nil {
			return err
		}
		if err := phase.begin(ctx, s, wire); err != nil {
			return err
		}
		if err := wait(ctx, time.Duration(phase.Share*float64(whole))); err != nil {
			return err
		}
	}
	return nil
}
