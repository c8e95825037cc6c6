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

// write draws the graphs into a file, all on one scale of time.
func write(file string, graphs []graph, whole time.Duration) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	rows := (len(graphs) + columns - 1) / columns
	grid := make([][]*plot.Plot, rows)
	for i, g := range graphs {
		p, err := picture(g, whole)
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
	// Not every machine has the font by which the texts were measured.
	svg := bytes.ReplaceAll(text.Bytes(), []byte("Liberation Sans;"), []byte("Liberation Sans, Arial, sans-serif;"))
	return os.WriteFile(file, svg, 0o644)
}

// picture is one graph.
func picture(g graph, whole time.Duration) (*plot.Plot, error) {
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
		for j, piece := range l.points {
			drawn, err := plotter.NewLine(piece)
			if err != nil {
				return nil, err
			}
			drawn.Color = plotutil.SoftColors[i%len(plotutil.SoftColors)]
			drawn.Dashes = plotutil.Dashes(i / len(plotutil.SoftColors))
			drawn.Width = 1.4
			p.Add(drawn)
			if j == 0 {
				p.Legend.Add(l.name, drawn)
			}
		}
	}
	if g.limit > 0 {
		p.Add(&plotter.Function{F: func(float64) float64 { return g.limit }, Samples: 2, LineStyle: draw.LineStyle{
			Color: color.NRGBA{R: 200, A: 255}, Width: 0.7, Dashes: []vg.Length{4, 3},
		}})
	}
	p.X.Min, p.X.Max, p.Y.Min = 0, whole.Seconds(), 0
	if p.Y.Max <= 0 {
		p.Y.Max = 1
	}
	p.Y.Tick.Marker = inUnit(g.unit, p.Y.Max)
	p.Y.Max *= 1.7 // room for legend and phases
	if err := phases(p, whole); err != nil {
		return nil, err
	}
	return p, nil
}

// phases draws where the phases begin, and what they are called.
func phases(p *plot.Plot, whole time.Duration) error {
	grey := color.Gray{Y: 130}
	begin, top := 0.0, p.Y.Max
	var names plotter.XYLabels
	for _, phase := range check.Story {
		names.XYs = append(names.XYs, plotter.XY{X: begin + whole.Seconds()*0.01, Y: top * 0.95})
		names.Labels = append(names.Labels, phase.Name)
		edge, err := plotter.NewLine(plotter.XYs{{X: begin, Y: 0}, {X: begin, Y: top}})
		if err != nil {
			return err
		}
		edge.Color, edge.Dashes = grey, []vg.Length{2, 2}
		p.Add(edge)
		begin += phase.Share * whole.Seconds()
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
	p.X.Max, p.Y.Max = whole.Seconds(), top // labels want room of their own
	return nil
}

// inUnit labels an axis as Grafana would, as far as there is something to see.
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
