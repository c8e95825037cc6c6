// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	modulePath = "github.com/k8sretry/k8sretry"
	// zapFile is the only file of the root package that imports zap.
	zapFile = "log_zap.go"

	apimachinery = "k8s.io/apimachinery/..."
	policy       = "k8s.io/api/policy/v1" // its package imports apimachinery only
)

// mayImport has what each package of the module may import beyond the standard library.
// The path p/... stands for p and what is below it; packages of the module are written
// without its path. A package that is not listed may import the standard library only, and
// one below internal/ has to be listed. The root package imports no client-go, whose
// interfaces are met by their methods, so that it works with any version of client-go.
var mayImport = map[string][]string{
	".": {
		"internal/limiter", "internal/breaker", "internal/budget", "internal/health", "internal/window", "internal/counter", "internal/delay",
		"internal/attemptctx", "internal/ctxerr", "internal/turns", "internal/errchain", "internal/apirequest", "internal/clientgo", "internal/record", "internal/redial",
		"internal/funcname", "internal/objectdiff", "internal/errno",
		apimachinery, policy, "golang.org/x/net/http2", "go.uber.org/zap/...",
	},

	"internal/limiter": {"internal/health", "internal/window", "internal/counter", "internal/delay", "internal/ctxerr"},
	"internal/breaker": {"internal/health", "internal/window", "internal/counter", "internal/delay"},
	"internal/budget":  {"internal/health", "internal/window", "internal/counter", "internal/delay"},
	"internal/health":  {},
	"internal/window":  {},
	"internal/counter": {},
	"internal/delay":   {},

	"internal/attemptctx": {"internal/ctxerr"},
	"internal/ctxerr":     {},
	"internal/turns":      {"internal/ctxerr", "k8s.io/apimachinery/pkg/types"},
	"internal/errchain":   {"k8s.io/apimachinery/pkg/api/errors"},
	"internal/apirequest": {apimachinery, policy},
	"internal/clientgo":   {"internal/apirequest", "internal/errchain", apimachinery},
	"internal/record":     {"internal/apirequest"},
	"internal/redial":     {apimachinery},
	"internal/errno":      {},
	"internal/funcname":   {},
	"internal/objectdiff": {"k8s.io/apimachinery/pkg/apis/meta/v1"},

	// Not part of the library: helpers of tests, and a program for the repository.
	"internal/testkit":   {"github.com/stretchr/testify/...", apimachinery},
	"internal/filegraph": {},
	"internal/mutate":    {},

	"k8sretrytest": {".", "internal/apirequest", apimachinery, policy, "golang.org/x/net/http2", "k8s.io/client-go/rest", "k8s.io/client-go/testing"},

	"examples/apiserver":         {"examples/internal/..."},
	"examples/create":            {".", "k8s.io/api/...", apimachinery, "k8s.io/client-go/..."},
	"examples/dashboard":         {".", "k8sretrytest", "k8s.io/api/...", apimachinery, "k8s.io/client-go/..."},
	"examples/databases":         {".", "examples/...", "go.uber.org/zap/...", "k8s.io/api/...", apimachinery, "k8s.io/client-go/..."},
	"examples/databases/service": {".", "go.uber.org/zap/...", apimachinery, "k8s.io/client-go/..."},
	"examples/internal/tinykube": {apimachinery, "k8s.io/client-go/..."},
	"examples/quickstart":        {".", "examples/...", "go.uber.org/zap/...", "k8s.io/api/...", apimachinery, "k8s.io/client-go/..."},
}

type goPackage struct {
	path                 string
	imports, testImports []string
}

// forbiddenImports describes each import of p that mayImport does not allow.
func forbiddenImports(p goPackage) []string {
	name := inModule(p.path)
	internal := strings.HasPrefix(name, "internal/")
	allowed, listed := mayImport[name]
	var found []string
	if internal && !listed {
		found = append(found, name+" is not listed in mayImport")
	}
	for _, path := range p.imports {
		if !isStandard(path) && !slices.ContainsFunc(allowed, func(pattern string) bool { return matches(pattern, inModule(path)) }) {
			found = append(found, name+" imports "+path)
		}
	}
	for _, path := range p.testImports {
		if internal && path == modulePath {
			found = append(found, "a test of "+name+" imports "+path)
		}
	}
	return found
}

// forbiddenInFile describes each import of a file of the root package that other files
// may have, but not this one.
func forbiddenInFile(file string, imports []string) []string {
	var found []string
	for _, path := range imports {
		if matches("go.uber.org/zap/...", path) && file != zapFile {
			found = append(found, file+" imports "+path)
		}
	}
	return found
}

// inModule returns the path without that of the module, "." for the root package.
func inModule(path string) string {
	if path == modulePath {
		return "."
	}
	return strings.TrimPrefix(path, modulePath+"/")
}

// isStandard reports whether the path is that of a package of the standard library.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func matches(pattern, path string) bool {
	above, ok := strings.CutSuffix(pattern, "/...")
	return path == above || ok && strings.HasPrefix(path, above+"/")
}

func TestPackagesImportWhatTheyMay(t *testing.T) {
	packages := map[string]*goPackage{}
	require.NoError(t, filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		dir := filepath.ToSlash(filepath.Dir(file))
		switch {
		case err != nil:
			return err
		case entry.IsDir() && file != ".":
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			if err == nil || strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" {
				return filepath.SkipDir // another module, or no package
			}
		case strings.HasSuffix(file, ".go"):
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			var imports []string
			for _, spec := range parsed.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return err
				}
				imports = append(imports, path)
			}
			if packages[dir] == nil {
				packages[dir] = &goPackage{path: path.Join(modulePath, dir)}
			}
			if p := packages[dir]; strings.HasSuffix(file, "_test.go") {
				p.testImports = append(p.testImports, imports...)
			} else {
				p.imports = append(p.imports, imports...)
				if dir == "." {
					assert.Empty(t, forbiddenInFile(file, imports))
				}
			}
		}
		return nil
	}))
	assert.Contains(t, packages, "internal/filegraph")
	for _, p := range packages {
		assert.Empty(t, forbiddenImports(*p))
	}
}

func TestForbiddenImports(t *testing.T) {
	for _, test := range []struct {
		name string
		p    goPackage
		want []string
	}{
		{
			"the root may import apimachinery and its rooms",
			goPackage{path: modulePath, imports: []string{"net/http", "k8s.io/apimachinery/pkg/types", modulePath + "/internal/limiter"}},
			nil,
		},
		{
			"the root imports client-go",
			goPackage{path: modulePath, imports: []string{"k8s.io/client-go/rest"}},
			[]string{". imports k8s.io/client-go/rest"},
		},
		{
			"of k8s.io/api only policy/v1",
			goPackage{path: modulePath, imports: []string{"k8s.io/api/core/v1", "k8s.io/api/policy/v1", "k8s.io/api/policy/v1beta1"}},
			[]string{". imports k8s.io/api/core/v1", ". imports k8s.io/api/policy/v1beta1"},
		},
		{
			"helpers of tests are for tests",
			goPackage{path: modulePath, imports: []string{modulePath + "/internal/testkit"}, testImports: []string{modulePath + "/internal/testkit"}},
			[]string{". imports " + modulePath + "/internal/testkit"},
		},
		{
			"an internal package imports the root",
			goPackage{path: modulePath + "/internal/limiter", imports: []string{modulePath, modulePath + "/internal/health"}},
			[]string{"internal/limiter imports " + modulePath},
		},
		{
			"tests of an internal package import the root",
			goPackage{path: modulePath + "/internal/health", testImports: []string{"testing", modulePath}},
			[]string{"a test of internal/health imports " + modulePath},
		},
		{
			"an internal package imports another one that it may not know",
			goPackage{path: modulePath + "/internal/record", imports: []string{modulePath + "/internal/apirequest", modulePath + "/internal/budget"}},
			[]string{"internal/record imports " + modulePath + "/internal/budget"},
		},
		{
			"one package of a module is not all of it",
			goPackage{path: modulePath + "/internal/turns", imports: []string{"k8s.io/apimachinery/pkg/types", "k8s.io/apimachinery/pkg/types/x", "k8s.io/apimachinery/pkg/api/errors"}},
			[]string{"internal/turns imports k8s.io/apimachinery/pkg/types/x", "internal/turns imports k8s.io/apimachinery/pkg/api/errors"},
		},
		{
			"a new internal package",
			goPackage{path: modulePath + "/internal/new", imports: []string{"time"}},
			[]string{"internal/new is not listed in mayImport"},
		},
		{
			"a package that is not listed has the standard library",
			goPackage{path: modulePath + "/docs/recipes", imports: []string{"time", modulePath}, testImports: []string{modulePath, "k8s.io/client-go/rest"}},
			[]string{"docs/recipes imports " + modulePath},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, forbiddenImports(test.p))
		})
	}
}

func TestOneFileImportsZap(t *testing.T) {
	assert.Empty(t, forbiddenInFile(zapFile, []string{"context", "go.uber.org/zap", "go.uber.org/zap/zapcore"}))
	assert.Equal(t, []string{"retry.go imports go.uber.org/zap/zapcore"}, forbiddenInFile("retry.go", []string{"context", "go.uber.org/zap/zapcore"}))
}

// Package context panics in a goroutine of its own if the parent of a context ends without an error, which
// ends the process. So no context is derived from that of a caller without ctxerr.Parent.
func TestContextsAreDerivedFromSoundOnes(t *testing.T) {
	derives := regexp.MustCompile(`context\.(?:With(?:Timeout|Deadline|Cancel)\w*|AfterFunc)\((\w[\w.]*)`)
	sound := []string{"ctxerr.Parent", "context.WithoutCancel", "context.Background", "follow", "c.inner"} // the last two: internal/attemptctx
	for _, dir := range []string{".", "internal/attemptctx", "internal/limiter", "internal/turns", "internal/redial", "internal/clientgo", "internal/record", "k8sretryctrl"} {
		files, err := filepath.Glob(path.Join(dir, "*.go"))
		require.NoError(t, err)
		for _, file := range files { // k8sretryctrl is a module of its own, which may not be there
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, match := range derives.FindAllSubmatch(content, -1) {
				assert.Contains(t, sound, string(match[1]), "%s: %s", file, match[0])
			}
		}
	}
}

// The tests that the documents for contributors name exist.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	declared := map[string]bool{}
	require.NoError(t, filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		content, err := os.ReadFile(name)
		for _, match := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`).FindAllSubmatch(content, -1) {
			declared[string(match[1])] = true
		}
		return err
	}))
	for _, document := range []string{"DESIGN.md", "CONTRIBUTING.md", "README.md", "api/README.md"} {
		content, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`).FindAllString(string(content), -1) {
			assert.True(t, declared[name], "%s names %s, which does not exist", document, name)
		}
	}
}
