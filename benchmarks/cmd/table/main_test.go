// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/k8sretry/k8sretry/benchmarks/internal/report"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const output = "cpu: test\n" +
	"BenchmarkSuccess/hand-2 100 6.0 ns/op 0 B/op 0 allocs/op\n" +
	"BenchmarkSuccess/k8sretry-prepared-2 100 7.0 ns/op 0 B/op 0 allocs/op\n"

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

func TestTextBetweenMarkersIsReplaced(t *testing.T) {
	readme := writeFile(t, "README.md", "# Title\n"+report.Begin+"\nold\n"+report.End+"\nrest\n")
	results := filepath.Join(t.TempDir(), "RESULTS.md")
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-from", writeFile(t, "raw", output), "-readme", readme, "-results", results}, &out, io.Discard))

	assert.Empty(t, out.String())
	assert.Contains(t, read(t, readme), "7.00 ns, 1.17×, 0")
	assert.Contains(t, read(t, readme), "\nrest\n")
	assert.NotContains(t, read(t, readme), "old")
	assert.Contains(t, read(t, results), "test")
	assert.Contains(t, read(t, results), "7.00 ns<br>1.17×, 0 B, 0")
}

func TestTextIsPrintedWithoutMarkers(t *testing.T) {
	raw, results := writeFile(t, "raw", output), filepath.Join(t.TempDir(), "RESULTS.md")
	t.Run("no markers", func(t *testing.T) {
		readme := writeFile(t, "README.md", "# Title\n")
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), []string{"-from", raw, "-readme", readme, "-results", results}, &out, io.Discard))
		assert.Equal(t, "# Title\n", read(t, readme))
		assert.Contains(t, out.String(), "7.00 ns", "the text is printed")
	})
	t.Run("no document", func(t *testing.T) {
		readme := filepath.Join(t.TempDir(), "README.md")
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), []string{"-from", raw, "-readme", readme, "-results", results}, &out, io.Discard))
		assert.NoFileExists(t, readme)
		assert.Contains(t, out.String(), "7.00 ns")
	})
}

func TestCheckPrintsTargetsAndWritesNothing(t *testing.T) {
	results := filepath.Join(t.TempDir(), "RESULTS.md")
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-check", "-from", writeFile(t, "raw", output), "-results", results}, &out, io.Discard))
	assert.Contains(t, out.String(), "PASS  success, policy prepared")
	assert.Contains(t, out.String(), "LOSS  a waiting call")
	assert.NoFileExists(t, results)
}

func TestInvalidInputIsAnError(t *testing.T) {
	assert.Error(t, run(t.Context(), []string{"-from", filepath.Join(t.TempDir(), "missing")}, io.Discard, io.Discard))
	assert.Error(t, run(t.Context(), []string{"-unknown"}, io.Discard, io.Discard))
	assert.Error(t, run(t.Context(), []string{"-from", writeFile(t, "raw", "panic: failed\n")}, io.Discard, io.Discard))
}
