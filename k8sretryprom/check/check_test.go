// SPDX-License-Identifier: Apache-2.0

package check

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var limit = regexp.MustCompile(` > [0-9.]+$`)

func monitoring(t *testing.T, file string) string {
	path, err := filepath.Abs(filepath.Join("..", "monitoring", file))
	require.NoError(t, err)
	return path
}

func TestTheRulesPassTheirTests(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	require.NoError(t, err, "promtool is not in the PATH: apt-get install prometheus")
	for _, arguments := range [][]string{
		{"check", "rules", monitoring(t, "rules.yaml")},
		{"test", "rules", monitoring(t, "rules_test.yaml")},
	} {
		out, err := exec.Command(promtool, arguments...).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
}

// The scenario includes all conditions that the dashboard and the rules are for. Prometheus
// may store classic or native histograms.
func TestEveryQueryOfDashboardAndRulesHasAResult(t *testing.T) {
	panels, err := ReadDashboard(monitoring(t, "dashboard.json"))
	require.NoError(t, err)
	require.NotEmpty(t, panels)
	rules := 0
	err = Run(t.Context(), monitoring(t, "rules.yaml"), 45*time.Second, func(classic, native *Server) error {
		for name, server := range map[string]*Server{"classic": classic, "native": native} {
			for _, p := range panels {
				require.NotEmpty(t, p.Targets, p.Title)
				for _, target := range p.Targets {
					result, err := server.Query(t.Context(), target.Expr)
					require.NoError(t, err)
					assert.Positive(t, Max(result), "%s histograms: %s: %s", name, p.Title, target.Expr)
				}
			}
			loaded, err := server.Rules(t.Context(), nil)
			require.NoError(t, err)
			for _, group := range loaded.Groups {
				for _, rule := range group.Rules {
					query := ""
					switch r := rule.(type) {
					case v1.RecordingRule:
						query = r.Name
					case v1.AlertingRule:
						// The compared value: some thresholds are not reached within 45 s.
						query = limit.ReplaceAllString(r.Query, "")
					}
					result, err := server.Query(t.Context(), query)
					require.NoError(t, err)
					assert.Positive(t, Max(result), "%s histograms: %s", name, query)
					rules++
				}
			}
		}
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, 2*15, rules)
}
