package k8sretry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Time in tests is virtual: whoever sleeps does so in a bubble of testing/synctest.
func TestNoTestSleepsForReal(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		if strings.Contains(string(content), "time."+"Sleep(") {
			assert.Contains(t, string(content), "synctest."+"Test(", "%s sleeps and has no bubble", file)
		}
	}
}
