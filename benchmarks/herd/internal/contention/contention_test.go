// SPDX-License-Identifier: Apache-2.0

package contention

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"gonum.org/v1/gonum/stat"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// The strategies of the blog.
const (
	base    = 5.0
	ceiling = 2000.0
)

func expo(n int) float64 { return min(ceiling, base*math.Pow(2, float64(n))) }

var strategies = map[string]func() func(n int) float64{
	"none":        func() func(int) float64 { return func(int) float64 { return 0 } },
	"exponential": func() func(int) float64 { return expo },
	"equal": func() func(int) float64 {
		return func(n int) float64 { return expo(n)/2 + rand.Float64()*expo(n)/2 }
	},
	"full": func() func(int) float64 { return func(n int) float64 { return rand.Float64() * expo(n) } },
	"decorrelated": func() func(int) float64 {
		last := base
		return func(int) float64 {
			last = min(ceiling, base+rand.Float64()*(3*last-base))
			return last
		}
	},
}

func strategy(delay func() func(int) float64) Process {
	return func(ctx context.Context, c *Client) error {
		next := delay()
		for n := 1; ; n++ {
			if err := c.once(ctx); !apierrors.IsConflict(err) {
				return err
			}
			time.Sleep(time.Duration(next(n) * float64(time.Millisecond)))
		}
	}
}

// The results of the blog's simulator over 20 trials.
var published = []struct {
	name    string
	n       int
	writes  float64
	seconds float64
}{
	{"none", 10, 50, 0.37}, {"none", 50, 689, 1.15}, {"none", 100, 2421, 2.01}, {"none", 190, 8018, 3.54},
	{"exponential", 10, 48, 2.93}, {"exponential", 50, 621, 35.7}, {"exponential", 100, 1863, 63.5}, {"exponential", 190, 5151, 102.1},
	{"equal", 10, 42, 0.71}, {"equal", 50, 345, 4.32}, {"equal", 100, 814, 6.98}, {"equal", 190, 1762, 9.51},
	{"full", 10, 39, 0.48}, {"full", 50, 332, 2.78}, {"full", 100, 795, 4.97}, {"full", 190, 1771, 7.40},
	{"decorrelated", 10, 37, 0.40}, {"decorrelated", 50, 375, 2.13}, {"decorrelated", 100, 1003, 4.82}, {"decorrelated", 190, 2442, 7.71},
}

// The results must be within 5 % of the writes and 15 % of the seconds. With ten clients,
// and with delays without jitter, after which clients collide again, 20 trials vary more.
// There the tolerance is at least four standard errors.
func TestModelReproducesThePublishedFigures(t *testing.T) {
	const trials = 30
	for _, p := range published {
		var writes, seconds []float64
		for trial := range uint64(trials) {
			synctest.Test(t, func(*testing.T) {
				f := Run(p.n, p.n, trial, func() Process { return strategy(strategies[p.name]) })
				writes, seconds = append(writes, f.Writes), append(seconds, f.Seconds)
			})
		}
		within := func(what string, published, tolerance float64, trials []float64) {
			mean, deviation := stat.MeanStdDev(trials, nil)
			chance := 4 * deviation * math.Sqrt(1.0/20+1.0/float64(len(trials)))
			if p.n > 10 && p.name != "exponential" {
				chance = 0
			}
			assert.InDelta(t, published, mean, max(tolerance*published, chance), "%s of %s with %d clients", what, p.name, p.n)
		}
		within("writes", p.writes, 0.05, writes)
		within("seconds", p.seconds, 0.15, seconds)
	}
}
