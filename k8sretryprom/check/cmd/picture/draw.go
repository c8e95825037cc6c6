// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/k8sretry/k8sretry/k8sretryprom/check"
)

const columns = 2

// write draws the graphs into a file, with the same time axis.
func write(file string, graphs []graph, duration time.Duration) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	rows := (len(graphs) + columns - 1) / columns
	grid := make([][]*plot.Plot, rows)
	for i, g := range graphs {
		p, err := newPlot(g, duration)
		if err != nil {
			return err
		}
		grid[i/columns] = append(grid[i/columns], p)
	}
	canvas := vgsvg.New(24*vg.Centimeter, vg.Length(rows)*6.5*vg.Centimeter)
	dc := draw.New(canvas)
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: 20, PadY: 14, PadTop: 8, PadBottom: 8, PadLeft: 8, PadRight: 12}
	for row, canvases := range plot.Align(grid, tiles, dc) {
		for column, c := range canvases {
			if grid[row][column] != nil {
				grid[row][column].Draw(c)
			}
		}
	}
	var text bytes.Buffer
	if _, err := canvas.WriteTo(&text); err != nil {
		return err
	}
	// The font with which the texts were measured may not be installed.
	svg := bytes.ReplaceAll(text.Bytes(), []byte("Liberation Sans;"), []byte("Liberation Sans, Arial, sans-serif;"))
	return os.WriteFile(file, svg, 0o644)
}

// newPlot draws one graph.
func newPlot(g graph, duration time.Duration) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = g.title
	p.Title.TextStyle.Font.Size = 11
	p.Title.Padding = 4
	p.X.Tick.Marker = plot.TickerFunc(func(_, to float64) (ticks []plot.Tick) {
		for s := 0.0; s <= to; s += 30 {
			ticks = append(ticks, plot.Tick{Value: s, Label: fmt.Sprintf("%v s", s)})
		}
		return ticks
	})
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.YOffs = -12 // below the names of the phases
	p.Legend.XOffs = 4
	p.Legend.TextStyle.Font.Size = 8
	for i, l := range g.lines {
		for j, part := range l.points {
			curve, err := plotter.NewLine(part)
			if err != nil {
				return nil, err
			}
			curve.Color = plotutil.SoftColors[i%len(plotutil.SoftColors)]
			curve.Dashes = plotutil.Dashes(i / len(plotutil.SoftColors))
			curve.Width = 1.4
			p.Add(curve)
			if j == 0 {
				p.Legend.Add(l.name, curve)
			}
		}
	}
	if g.limit > 0 {
		p.Add(&plotter.Function{F: func(float64) float64 { return g.limit }, Samples: 2, LineStyle: draw.LineStyle{
			Color: color.NRGBA{R: 200, A: 255}, Width: 0.7, Dashes: []vg.Length{4, 3},
		}})
	}
	p.X.Min, p.X.Max, p.Y.Min = 0, duration.Seconds(), 0
	if p.Y.Max <= 0 {
		p.Y.Max = 1
	}
	p.Y.Tick.Marker = inUnit(g.unit, p.Y.Max)
	p.Y.Max *= 1.7 // space for the legend and the names of the phases
	if err := phases(p, duration); err != nil {
		return nil, err
	}
	return p, nil
}

// phases draws the starts and the names of the phases.
func phases(p *plot.Plot, duration time.Duration) error {
	grey := color.Gray{Y: 130}
	begin, top := 0.0, p.Y.Max
	var names plotter.XYLabels
	for _, phase := range check.Scenario {
		names.XYs = append(names.XYs, plotter.XY{X: begin + duration.Seconds()*0.01, Y: top * 0.95})
		names.Labels = append(names.Labels, phase.Name)
		edge, err := plotter.NewLine(plotter.XYs{{X: begin, Y: 0}, {X: begin, Y: top}})
		if err != nil {
			return err
		}
		edge.Color, edge.Dashes = grey, []vg.Length{2, 2}
		p.Add(edge)
		begin += phase.Share * duration.Seconds()
	}
	labels, err := plotter.NewLabels(names)
	if err != nil {
		return err
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].Font, labels.TextStyle[i].Color = p.Title.TextStyle.Font, grey
		labels.TextStyle[i].Font.Size = 7
	}
	p.Add(labels)
	p.X.Max, p.Y.Max = duration.Seconds(), top // Add extends the axes for the labels
	return nil
}

// inUnit formats the labels of an axis in a unit of Grafana.
func inUnit(unit string, to float64) plot.Ticker {
	return plot.TickerFunc(func(from, _ float64) []plot.Tick {
		ticks := plot.DefaultTicks{}.Ticks(from, to)
		for i := range ticks {
			if ticks[i].Label == "" {
				continue
			}
			switch unit {
			case "percentunit":
				ticks[i].Label = fmt.Sprintf("%.3g %%", 100*ticks[i].Value)
			case "cps":
				ticks[i].Label += "/s"
			case "s":
				ticks[i].Label += " s/s"
			}
		}
		return ticks
	})
}
