// SPDX-License-Identifier: Apache-2.0

package marked

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWriteReplacesTextBetweenMarkers(t *testing.T) {
	path := document(t, "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n")
	var printed strings.Builder
	require.NoError(t, Write(path, "x", "new\n", &printed))
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\nb\n", string(written))
	assert.Empty(t, printed.String())
}

func TestWritePrintsWithoutMarkers(t *testing.T) {
	for _, content := range []string{"", "a\n<!-- x:begin -->\nno end\n", "<!-- y:begin -->\n<!-- y:end -->\n"} {
		var printed strings.Builder
		require.NoError(t, Write(document(t, content), "x", "new\n", &printed))
		assert.Equal(t, "new\n", printed.String())
	}
	var printed strings.Builder
	require.NoError(t, Write(filepath.Join(t.TempDir(), "absent"), "x", "new\n", &printed))
	assert.Equal(t, "new\n", printed.String())
}

func document(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "README.md")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}
