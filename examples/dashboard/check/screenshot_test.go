// SPDX-License-Identifier: Apache-2.0

package check

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The picture of the page in the documentation:
//
//	go test -run TestScreenshot . -update
func TestScreenshot(t *testing.T) {
	file := filepath.Join("..", "..", "..", "docs", "dashboard.png")
	if *update {
		b := open(t, start(t).url, 1000, 1330)
		prefer(t, b, "light")
		b.do(t, chromedp.Click("#lost"), chromedp.Click("#throttled"))
		b.waitFor(t, cell("Succeeded", ours)+" > 250")
		b.waitFor(t, `document.querySelector("#limits") !== null`)
		shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, small(t, shot), 0o644))
	}
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	_, err = png.Decode(bytes.NewReader(content))
	require.NoError(t, err)
	assert.Less(t, len(content), 200_000)
}

// small reduces a picture to the 256 colours that it has most of.
func small(t *testing.T, shot []byte) []byte {
	full, err := png.Decode(bytes.NewReader(shot))
	require.NoError(t, err)
	count := map[color.Color]int{}
	for y := full.Bounds().Min.Y; y < full.Bounds().Max.Y; y++ {
		for x := full.Bounds().Min.X; x < full.Bounds().Max.X; x++ {
			count[full.At(x, y)]++
		}
	}
	palette := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return cmp.Compare(count[b], count[a]) })
	reduced := image.NewPaletted(full.Bounds(), palette[:min(256, len(palette))])
	draw.Draw(reduced, full.Bounds(), full, full.Bounds().Min, draw.Src)
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	require.NoError(t, encoder.Encode(&b, reduced))
	return b.Bytes()
}
