package check

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Panel is what counts here of a panel of Grafana.
type Panel struct {
	Title       string
	Targets     []struct{ Expr, LegendFormat string }
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct{ Steps []struct{ Value float64 } }
		}
	}
}

// Limit is above what a panel is red, 0 if it never is.
func (p Panel) Limit() float64 {
	if steps := p.FieldConfig.Defaults.Thresholds.Steps; len(steps) > 0 {
		return steps[len(steps)-1].Value
	}
	return 0
}

// ReadDashboard returns the panels of the dashboard in a file.
func ReadDashboard(file string) ([]Panel, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var d struct{ Panels []Panel }
	return d.Panels, json.Unmarshal(text, &d)
}

// Ask puts a query of the dashboard to the server as Grafana would, over the whole story.
func (s *Server) Ask(ctx context.Context, expr string) (model.Matrix, error) {
	whole := s.To.Sub(s.From).Round(time.Second)
	rate := max(4*scrapeEvery, whole/20).Round(time.Second)
	expr = strings.NewReplacer("$job", ".+", "$__rate_interval", rate.String(), "$__range", whole.String()).Replace(expr)
	answer, _, _, err := s.QueryRange(ctx, expr, v1.Range{Start: s.From, End: s.To, Step: scrapeEvery})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	matrix, ok := answer.(model.Matrix)
	if !ok {
		return nil, fmt.Errorf("%s: a %v", expr, answer.Type())
	}
	return matrix, nil
}

// Most is the greatest finite value of an answer, 0 if there is none.
func Most(answer model.Matrix) (most float64) {
	for _, series := range answer {
		for _, sample := range series.Values {
			if v := float64(sample.Value); !math.IsNaN(v) && !math.IsInf(v, 0) {
				most = max(most, v)
			}
		}
	}
	return most
}
