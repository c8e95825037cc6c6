package check

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var limit = regexp.MustCompile(` > [0-9.]+$`)

func monitoring(t *testing.T, file string) string {
	path, err := filepath.Abs(filepath.Join("..", "monitoring", file))
	require.NoError(t, err)
	return path
}

// The rules pass their own tests.
func TestRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	require.NoError(t, err, "there is no promtool in the PATH: apt-get install prometheus")
	for _, arguments := range [][]string{
		{"check", "rules", monitoring(t, "rules.yaml")},
		{"test", "rules", monitoring(t, "rules_test.yaml")},
	} {
		out, err := exec.Command(promtool, arguments...).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
}

// Every query of the dashboard, every recording rule and every alert has an answer while
// the API server goes through all kinds of trouble, whichever histograms Prometheus reads.
func TestDashboardAndRulesAnswer(t *testing.T) {
	panels, err := ReadDashboard(monitoring(t, "dashboard.json"))
	require.NoError(t, err)
	require.NotEmpty(t, panels)
	rules := 0
	err = Run(t.Context(), monitoring(t, "rules.yaml"), 45*time.Second, func(classic, native *Server) error {
		for name, server := range map[string]*Server{"classic": classic, "native": native} {
			for _, p := range panels {
				require.NotEmpty(t, p.Targets, p.Title)
				for _, target := range p.Targets {
					answer, err := server.Ask(t.Context(), target.Expr)
					require.NoError(t, err)
					assert.Positive(t, Most(answer), "%s histograms: %s: %s", name, p.Title, target.Expr)
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
						// What is compared with the limit: 45 s of trouble are too short for some.
						query = limit.ReplaceAllString(r.Query, "")
					}
					answer, err := server.Ask(t.Context(), query)
					require.NoError(t, err)
					assert.Positive(t, Most(answer), "%s histograms: %s", name, query)
					rules++
				}
			}
		}
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, 2*15, rules)
}
