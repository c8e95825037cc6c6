// SPDX-License-Identifier: Apache-2.0

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

// Panel holds the properties of a Grafana panel that this package uses.
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

// Limit returns the threshold above which a panel is red, or 0 if there is none.
func (p Panel) Limit() float64 {
	if steps := p.FieldConfig.Defaults.Thresholds.Steps; len(steps) > 0 {
		return steps[len(steps)-1].Value
	}
	return 0
}

// ReadDashboard returns the panels of a dashboard file.
func ReadDashboard(file string) ([]Panel, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var d struct{ Panels []Panel }
	return d.Panels, json.Unmarshal(text, &d)
}

// Query runs a query of the dashboard as Grafana does, over the duration of the scenario.
func (s *Server) Query(ctx context.Context, expr string) (model.Matrix, error) {
	duration := s.To.Sub(s.From).Round(time.Second)
	rate := max(4*scrapeInterval, duration/20).Round(time.Second)
	expr = strings.NewReplacer("$job", ".+", "$__rate_interval", rate.String(), "$__range", duration.String()).Replace(expr)
	result, _, _, err := s.QueryRange(ctx, expr, v1.Range{Start: s.From, End: s.To, Step: scrapeInterval})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	matrix, ok := result.(model.Matrix)
	if !ok {
		return nil, fmt.Errorf("%s: unexpected result type %v", expr, result.Type())
	}
	return matrix, nil
}

// Max returns the greatest finite value of a result, or 0 if there is none.
func Max(result model.Matrix) (greatest float64) {
	for _, series := range result {
		for _, sample := range series.Values {
			if v := float64(sample.Value); !math.IsNaN(v) && !math.IsInf(v, 0) {
				greatest = max(greatest, v)
			}
		}
	}
	return greatest
}
