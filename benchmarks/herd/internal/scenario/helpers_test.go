// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs the scenario with the given name.
func run(t *testing.T, name string, processes int, process func() sim.Process) (f Figures) {
	t.Helper()
	for _, sc := range All() {
		if sc.Name == name {
			synctest.Test(t, func(*testing.T) {
				s := sc.Setup(sc.Load)
				s.Seed = 1
				f = sc.Measure(s, sim.Run(*s, processes, process))
			})
			return f
		}
	}
	panic("no scenario " + name)
}

func oneAttempt(ctx context.Context, _ sim.Verb, attempt sim.Attempt) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return attempt(ctx)
}

// exact retries twice with fixed delays.
func exact(ctx context.Context, verb sim.Verb, attempt sim.Attempt) (err error) {
	for retry := range 3 {
		if err = oneAttempt(ctx, verb, attempt); err == nil {
			return nil
		}
		time.Sleep(time.Duration(1+retry) * 2 * time.Second)
	}
	return err
}
