// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"regexp"

	"github.com/prometheus/common/model"
	"gonum.org/v1/plot/plotter"

	"github.com/k8sretry/k8sretry/k8sretryprom/check"
)

// graph is a panel with the results of its queries.
type graph struct {
	title string
	unit  string
	limit float64 // the goal, 0 if there is none
	lines []line
}

type line struct {
	name   string
	points []plotter.XYs // parts without gaps
}

// queryPanel runs the queries of a panel.
func queryPanel(ctx context.Context, server *check.Server, panels []check.Panel, title string) (graph, error) {
	g := graph{title: title}
	for _, p := range panels {
		if p.Title != title {
			continue
		}
		g.unit, g.limit = p.FieldConfig.Defaults.Unit, p.Limit()
		for _, target := range p.Targets {
			matrix, err := server.Query(ctx, target.Expr)
			if err != nil {
				return g, err
			}
			for _, series := range matrix {
				g.lines = append(g.lines, line{legend(target.LegendFormat, series.Metric), parts(server, series.Values)})
			}
		}
		return g, nil
	}
	return g, fmt.Errorf("the dashboard has no panel %q", title)
}

var label = regexp.MustCompile(`{{\s*(\w+)\s*}}`)

// legend replaces the labels in a legend format, as Grafana does.
func legend(format string, metric model.Metric) string {
	return label.ReplaceAllStringFunc(format, func(of string) string {
		return string(metric[model.LabelName(label.FindStringSubmatch(of)[1])])
	})
}

// parts returns the finite values by seconds since the start of the scenario, split at gaps.
func parts(server *check.Server, values []model.SamplePair) (all []plotter.XYs) {
	last := math.Inf(-1)
	for _, v := range values {
		x, y := v.Timestamp.Time().Sub(server.From).Seconds(), float64(v.Value)
		if math.IsNaN(y) || math.IsInf(y, 0) {
			continue
		}
		if x-last > 2 {
			all = append(all, nil)
		}
		last = x
		all[len(all)-1] = append(all[len(all)-1], plotter.XY{X: x, Y: y})
	}
	return all
}
