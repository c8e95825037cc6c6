// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/e2e/internal/fairness"
)

// Many concurrent calls of a user with one seat: with a Limiter all calls are served in
// time, and the server rejects fewer requests than with any other library.
func TestLimiterServesAllCallsOfOneSeat(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	// The best other libraries and plain client-go. cmd/fairness runs all contenders.
	contenders := slices.DeleteFunc(fairness.Contenders(), func(c fairness.Contender) bool {
		return !c.Ours && !c.Bare && c.Name != "plain client-go" || strings.HasPrefix(c.Name, "cenkalti") || strings.HasPrefix(c.Name, "avast")
	})
	s, err := fairness.NewServer(t.Context(), len(contenders))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.ShowLogs(t)

	fewest, fewestBy := -1, ""
	for _, by := range contenders { // the other libraries come first
		t.Run(fmt.Sprintf("%s/bare=%v", by.Name, by.Bare), func(t *testing.T) {
			r, err := s.Run(t.Context(), by)
			require.NoError(t, err)
			t.Log(r, r.Errors)
			assert.GreaterOrEqual(t, r.Rejected, r.Throttled, "the server counts each 429 that the client received")
			switch {
			case !by.Ours:
				if fewest < 0 || r.Rejected < fewest {
					fewest, fewestBy = r.Rejected, by.Name
				}
			case by.WithLimiter && strings.Contains(by.Name, "Transport"):
				// A Transport releases its slot when the headers arrive, the server releases
				// the seat after the body. So the Transport is slower, and on a busy machine
				// some calls miss the limit.
				assert.GreaterOrEqual(t, r.Served, fairness.Calls*9/10)
				assert.Less(t, r.Rejected, fewest, "fewer than with %s", fewestBy)
			case by.WithLimiter:
				assert.Equal(t, fairness.Calls, r.Served, "all calls are served within %v", fairness.Limit)
				assert.Less(t, r.Rejected, fewest, "fewer than with %s", fewestBy)
			}
		})
	}
}
