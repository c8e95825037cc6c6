// SPDX-License-Identifier: Apache-2.0

package k8sretryotel_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestThePackageDoesNotImportTheSDK(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range parsed.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			first, _, _ := strings.Cut(path, "/")
			api := strings.HasPrefix(path, "go.opentelemetry.io/otel") && !strings.HasPrefix(path, "go.opentelemetry.io/otel/sdk")
			assert.True(t, api || path == "github.com/k8sretry/k8sretry" || !strings.Contains(first, "."), "%s imports %s", file, path)
		}
	}
}
