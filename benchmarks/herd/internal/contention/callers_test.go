// SPDX-License-Identifier: Apache-2.0

package contention

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Callers without a limit of retries succeed, in separate processes and in one.
func TestUnlimitedCallersSucceed(t *testing.T) {
	limited := map[string]bool{"client-go RetryOnConflict, DefaultRetry": true, "client-go RetryOnConflict, DefaultBackoff": true}
	const n = 40
	for _, c := range Callers() {
		for _, processes := range []int{n, 1} {
			synctest.Test(t, func(t *testing.T) {
				f := Run(n, processes, 1, c.Process)
				assert.Equal(t, !limited[c.Name], f.Done == n, "%s: %d of %d are done", c.Name, f.Done, n)
				assert.GreaterOrEqual(t, f.Writes, float64(f.Done), c.Name)
				assert.Less(t, f.Seconds, 30.0, c.Name)
			})
		}
	}
}

// Simulated processes share no state, even if a library shares state within the real process.
func TestProcessesShareNoState(t *testing.T) {
	for _, c := range Callers() {
		if !c.Ours {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			f := Run(60, 60, 1, c.Process)
			assert.Greater(t, f.Writes, 200.0, "%s: clients without shared state collide", c.Name)
		})
	}
}
