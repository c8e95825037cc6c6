// SPDX-License-Identifier: Apache-2.0

package programs

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each page shows the whole program that is tested here.
func TestPagesShowTheirPrograms(t *testing.T) {
	for name, file := range map[string]string{
		"cli": "cli/main.go", "operator": "operator/main.go", "service": "service/main.go", "unit-tests": "unittest/replica_test.go",
	} {
		page, err := os.ReadFile("../" + name + ".md")
		require.NoError(t, err)
		program, err := os.ReadFile(file)
		require.NoError(t, err)
		shown := strings.TrimPrefix(string(program), "// SPDX-License-Identifier: Apache-2.0\n\n")
		assert.Contains(t, string(page), "```go\n"+shown+"```\n", "docs/%s.md does not show docs/programs/%s", name, file)
	}
}
