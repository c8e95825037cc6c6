// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Line is a series of values, one per second.
type Line struct {
	Name   string
	Values []float64
	Style  draw.LineStyle
}

// Panel is one plot of a picture. The plots are stacked vertically.
type Panel struct {
	Title string
	Lines []Line
	Top   float64 // maximum of the y-axis; 0 stands for the highest value
}

// The line styles: Bold for the main contender, Grey for the oracle, Dotted for the capacity.
var (
	Bold   = draw.LineStyle{Color: color.RGBA{0x00, 0x5f, 0xcc, 0xff}, Width: vg.Points(1.8)}
	Grey   = draw.LineStyle{Color: color.Gray{0x60}, Width: vg.Points(0.8), Dashes: []vg.Length{vg.Points(4), vg.Points(2)}}
	Dotted = draw.LineStyle{Color: color.Black, Width: vg.Points(0.8), Dashes: []vg.Length{vg.Points(1), vg.Points(2)}}
	Thins  = []draw.LineStyle{
		{Color: color.RGBA{0xd0, 0x33, 0x2e, 0xff}, Width: vg.Points(0.9)},
		{Color: color.RGBA{0xe6, 0x8a, 0x00, 0xff}, Width: vg.Points(0.9)},
		{Color: color.RGBA{0x2e, 0x8b, 0x57, 0xff}, Width: vg.Points(0.9)},
	}
)

const (
	width        = 24 * vg.Centimeter
	panelHeight  = 6 * vg.Centimeter
	legendHeight = 1 * vg.Centimeter
)

// Draw writes a picture as an SVG file.
func Draw(file, title string, panels []Panel) error {
	rows := make([][]*plot.Plot, len(panels))
	for i, panel := range panels {
		p, err := panel.plot()
		if err != nil {
			return err
		}
		if i == 0 {
			p.Title.Text = title + "\n" + panel.Title
		}
		rows[i] = []*plot.Plot{p}
	}
	rows[len(rows)-1][0].X.Label.Text = "seconds"
	canvas := vgsvg.New(width, panelHeight*vg.Length(len(panels))+legendHeight)
	paper := draw.New(canvas)
	paper.SetColor(color.White)
	paper.Fill(paper.Rectangle.Path())
	legend(draw.Crop(paper, 0, 0, paper.Max.Y-legendHeight, 0), panels[0].Lines)
	paper = draw.Crop(paper, 0, 0, 0, -legendHeight)
	for i, row := range plot.Align(rows, draw.Tiles{Rows: len(rows), Cols: 1, PadY: vg.Points(8), PadRight: vg.Points(8)}, paper) {
		rows[i][0].Draw(row[0])
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	return os.WriteFile(file, svg.Bytes(), 0o644)
}

func (panel Panel) plot() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = panel.Title
	p.Title.TextStyle.Font.Size = vg.Points(11)
	p.Add(plotter.NewGrid())
	for _, l := range panel.Lines {
		var points plotter.XYs
		for t, v := range l.Values {
			if panel.Top > 0 {
				v = min(v, panel.Top)
			}
			points = append(points, plotter.XY{X: float64(t), Y: v})
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		line.LineStyle = l.Style
		p.Add(line)
	}
	p.Y.Min = 0
	if panel.Top > 0 {
		p.Y.Max = panel.Top
	}
	return p, nil
}

// legend draws the names of the lines above the plots.
func legend(strip draw.Canvas, lines []Line) {
	style := plot.New().Legend.TextStyle
	style.Font.Size = vg.Points(8)
	x, y := strip.Min.X+vg.Points(8), strip.Center().Y
	for _, l := range lines {
		strip.StrokeLine2(l.Style, x, y, x+vg.Points(18), y)
		strip.FillText(style, vg.Point{X: x + vg.Points(22), Y: y - vg.Points(3)}, l.Name)
		x += vg.Points(38) + 5*style.Width(l.Name)/4 // leaves space for wider fonts
	}
}
