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

// A herd of calls for one seat: with a limiter all of them are served in time, and the
// server has less to refuse than with any peer.
func TestOneSeatForAll(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	// Of the peers those that fare best, and plain client-go: cmd/fairness has all of them.
	contenders := slices.DeleteFunc(fairness.Contenders(), func(c fairness.Contender) bool {
		return !c.Ours && !c.Bare && c.Name != "plain client-go" || strings.HasPrefix(c.Name, "cenkalti") || strings.HasPrefix(c.Name, "avast")
	})
	s, err := fairness.NewServer(t.Context(), len(contenders))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.ShowLogs(t)

	fewest, whose := -1, ""
	for _, by := range contenders { // the peers come first
		t.Run(fmt.Sprintf("%s/bare=%v", by.Name, by.Bare), func(t *testing.T) {
			r, err := s.Run(t.Context(), by)
			require.NoError(t, err)
			t.Log(r, r.Errors)
			assert.GreaterOrEqual(t, r.Rejected, r.Throttled, "the server counts each 429 that arrived")
			switch {
			case !by.Ours:
				if fewest < 0 || r.Rejected < fewest {
					fewest, whose = r.Rejected, by.Name
				}
			case by.Limiterd && strings.Contains(by.Name, "Transport"):
				// It gives its place at the limiter back with the headers, the server the seat
				// with the body: it is slower, and on a busy machine some come too late.
				assert.GreaterOrEqual(t, r.Served, fairness.Calls*9/10)
				assert.Less(t, r.Rejected, fewest, "fewer than with %s", whose)
			case by.Limiterd:
				assert.Equal(t, fairness.Calls, r.Served, "all are served within %v", fairness.Limit)
				assert.Less(t, r.Rejected, fewest, "fewer than with %s", whose)
			}
		})
	}
}
