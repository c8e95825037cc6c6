package contention

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whoever has no limit of retries gets every addition through, in processes of their
// own and in one.
func TestCallersGetThrough(t *testing.T) {
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

// Simulated processes know nothing of each other, whatever a library keeps for a real one.
func TestProcessesAreApart(t *testing.T) {
	for _, c := range Callers() {
		if !c.Ours {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			apart := Run(60, 60, 1, c.Process)
			assert.Greater(t, apart.Writes, 200.0, "%s: without knowledge of each other they collide", c.Name)
		})
	}
}
