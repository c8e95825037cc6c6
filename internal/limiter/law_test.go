// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// How long the pause is after another sign, where one attempt at a time is allowed and the trouble has
// lasted for ten seconds.
func TestPauses(t *testing.T) {
	const began, now = time.Hour, time.Hour + 10*time.Second
	for situation, c := range map[string]struct {
		sign  sign
		about time.Duration
	}{
		"no answer":                                  {sign{result: failed, took: 2 * time.Second}, 10 * time.Second},
		"no answer, many calls are queued":           {sign{result: failed, took: 2 * time.Second, queued: 100}, 10 * time.Second},
		"a late answer":                              {sign{result: late, took: 2 * time.Second}, 10 * time.Second},
		"a late answer, many calls are queued":       {sign{result: late, took: 2 * time.Second, queued: 100}, 2 * time.Second},
		"a 429":                                      {sign{result: refused, retryAfter: time.Second}, 2 * time.Second},
		"a 429 with a Retry-After that is longer":    {sign{result: refused, retryAfter: 20 * time.Second}, 25 * time.Second},
		"one of several 5xx":                         {sign{result: broken}, 0},
		"a late answer to an attempt before the cut": {sign{result: late, took: 2 * time.Second, old: true}, 0},
		"a late answer that others have overtaken":   {sign{result: late, took: 2 * time.Second, overtaken: true}, 0},
		"a late answer that may be that of a part":   {sign{result: late, took: 2 * time.Second, partial: true}, 0},
	} {
		t.Run(situation, func(t *testing.T) {
			l := law{limit: 1, threshold: 1, failures: 1, since: began}
			c.sign.around, c.sign.spread = math.Inf(1), 0.5
			l.end(now, c.sign)
			assert.Equal(t, c.about, l.start(now, 0))
		})
	}
}
