package k8sretry_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Time in tests is virtual: a test that sleeps does so in a bubble of testing/synctest. The
// linter, which forbids time.Sleep everywhere else, cannot tell what runs in a bubble. This
// holds for the tests of all modules.
func TestNoTestSleepsForReal(t *testing.T) {
	require.NoError(t, filepath.WalkDir(".", func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		content, err := os.ReadFile(file)
		if strings.Contains(string(content), "time."+"Sleep(") {
			assert.Contains(t, string(content), "synctest."+"Test(", "%s sleeps and has no bubble", file)
		}
		return err
	}))
}
