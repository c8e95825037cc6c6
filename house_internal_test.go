package k8sretry

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What each file of the package may import beyond the standard library. A file that
// is not listed may import nothing; nobody may import client-go, whose interfaces are
// met by their shape, so that the package fits any version of it. An Eviction is the one
// object that the package makes itself; its package imports apimachinery only.
var mayImport = map[string][]string{
	"classify.go":         {"k8s.io/apimachinery/"},
	"classify_status.go":  {"k8s.io/apimachinery/"},
	"classify_network.go": {"k8s.io/apimachinery/", "golang.org/x/net/http2"},
	"shortcut.go":         {"k8s.io/apimachinery/"},
	"observe.go":          {"go.uber.org/zap"},
	"write.go":            {"k8s.io/apimachinery/", "k8s.io/api/policy/v1"},
	"write_proof.go":      {"k8s.io/apimachinery/"},
	"write_watch.go":      {"k8s.io/apimachinery/"},
	"create.go":           {"k8s.io/apimachinery/"},
	"update.go":           {"k8s.io/apimachinery/"},
	"modify.go":           {"k8s.io/apimachinery/"},
	"delete.go":           {"k8s.io/apimachinery/"},
	"evict.go":            {"k8s.io/apimachinery/", "k8s.io/api/policy/v1"},
	"apply.go":            {"k8s.io/apimachinery/"},
	"status.go":           {"k8s.io/apimachinery/"},
	"dynamic.go":          {"k8s.io/apimachinery/", "k8s.io/api/policy/v1"},
}

// What each internal package may import beyond the standard library. None may import
// the root package, which would be a cycle.
var internalMayImport = map[string][]string{
	"apirequest": {"k8s.io/apimachinery/", "k8s.io/api/policy/v1"},
	"attemptctx": nil,
	"clientgo":   {"k8s.io/apimachinery/", module + "internal/apirequest", module + "internal/errchain"},
	"errchain":   {"k8s.io/apimachinery/pkg/api/errors"},
	"funcname":   nil,
	"turns":      {"k8s.io/apimachinery/pkg/types"},
}

func TestFilesImportWhatTheyMay(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		importsOnly(t, file, append(mayImport[file], module+"internal/"))
	}
	files, err = filepath.Glob("internal/*/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		importsOnly(t, file, internalMayImport[filepath.Base(filepath.Dir(file))])
	}
}

const module = "github.com/k8sretry/k8sretry/"

// importsOnly checks that every import of a file that is not a test begins with one of the
// prefixes or is of the standard library.
func importsOnly(t *testing.T, file string, prefixes []string) {
	t.Helper()
	if strings.HasSuffix(file, "_test.go") {
		return
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	require.NoError(t, err)
	for _, spec := range parsed.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
			continue // the standard library
		}
		allowed := slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
		assert.True(t, allowed, "%s imports %s", file, path)
	}
}

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
