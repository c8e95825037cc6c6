// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMarkdownTableIsAligned(t *testing.T) {
	var table Table
	assert.Empty(t, table.Markdown())
	table.Row("name", "load")
	table.Row("oracle", "0.29×")
	table.Row("**ours**", "0.31× ✗")
	assert.Equal(t, strings.Join([]string{
		"| name     |    load |",
		"|----------|--------:|",
		"| oracle   |   0.29× |",
		"| **ours** | 0.31× ✗ |",
		"",
	}, "\n"), table.Markdown())
}

func TestPictureIsValidSVG(t *testing.T) {
	file := filepath.Join(t.TempDir(), "picture.svg")
	panel := Panel{Title: "load <b>", Top: 10, Lines: []Line{
		{Name: "a & b", Values: []float64{1, 2, 300}, Style: Bold}, {Name: "oracle", Values: []float64{1, 1, 1}, Style: Grey},
	}}
	require.NoError(t, Draw(file, "brown-out", []Panel{panel, {Title: "queue", Lines: panel.Lines}}))
	svg, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, text := range []string{"<svg", "brown-out", "oracle", "a &amp; b", "load &lt;b&gt;", "seconds"} {
		assert.Contains(t, string(svg), text)
	}
	decoder := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	assert.Error(t, Draw(filepath.Join(file, "no", "directory"), "", []Panel{panel}))
}
