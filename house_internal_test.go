package k8sretry

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
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
	"errortype.go":        {"k8s.io/apimachinery/"},
	"shortcut.go":         {"k8s.io/apimachinery/"},
	"answer.go":           {"k8s.io/apimachinery/"},
	"body.go":             {"k8s.io/apimachinery/", "k8s.io/api/policy/v1"},
	"observe.go":          {"go.uber.org/zap"},
	"write.go":            {"k8s.io/apimachinery/", "k8s.io/api/policy/v1"},
	"write_proof.go":      {"k8s.io/apimachinery/"},
	"write_watch.go":      {"k8s.io/apimachinery/"},
	"create.go":           {"k8s.io/apimachinery/"},
	"update.go":           {"k8s.io/apimachinery/"},
	"modify.go":           {"k8s.io/apimachinery/"},
	"lane.go":             {"k8s.io/apimachinery/"},
	"delete.go":           {"k8s.io/apimachinery/"},
	"evict.go":            {"k8s.io/apimachinery/", "k8s.io/api/policy/v1"},
	"apply.go":            {"k8s.io/apimachinery/"},
	"status.go":           {"k8s.io/apimachinery/"},
	"dynamic.go":          {"k8s.io/apimachinery/", "k8s.io/api/policy/v1"},
}

func TestFilesImportWhatTheyMay(t *testing.T) {
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
			if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			if strings.HasPrefix(path, "github.com/k8sretry/k8sretry/internal/") {
				continue
			}
			allowed := false
			for _, prefix := range mayImport[file] {
				allowed = allowed || strings.HasPrefix(path, prefix)
			}
			assert.True(t, allowed, "%s imports %s", file, path)
		}
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
