// SPDX-License-Identifier: Apache-2.0

package k8sretrylint_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/k8sretry/k8sretry/k8sretrylint"
	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

// Each check has a package of its name in testdata, with what it reports and what it does not,
// and a golden file if it suggests fixes. In each package only the check of that name
// runs. One analyzer for all loads their imports once.
func TestChecks(t *testing.T) {
	checks := map[string]*analysis.Analyzer{}
	var names []string
	for _, a := range k8sretrylint.Analyzers() {
		checks[a.Name] = a
		names = append(names, a.Name)
	}
	all := &analysis.Analyzer{
		Name: "all", Doc: "runs the check that has the name of the package", Requires: []*analysis.Analyzer{code.Analyzer},
		Run: func(pass *analysis.Pass) (any, error) { return checks[pass.Pkg.Name()].Run(pass) },
	}
	analysistest.RunWithSuggestedFixes(t, analysistest.TestData(), all, names...)
}

// What the rewritten programs do is tested where the libraries are: in docs/migration.
func TestMigrate(t *testing.T) {
	analysistest.RunWithSuggestedFixes(t, analysistest.TestData(), k8sretrylint.Migrate(), "migrate")
}

func TestAnalyzersAreValid(t *testing.T) {
	if err := analysis.Validate(append(k8sretrylint.Analyzers(), k8sretrylint.Migrate())); err != nil {
		t.Error(err)
	}
}

// docs/lint.md has a section for each check, which its URL leads to, in the order of Analyzers.
func TestPageHasASectionForEachCheck(t *testing.T) {
	content, err := os.ReadFile("../docs/lint.md")
	if err != nil {
		t.Skip("outside of the repository: ", err)
	}
	rest := string(content)
	for _, a := range k8sretrylint.Analyzers() {
		heading := "\n## " + a.Name + "\n"
		_, behind, ok := strings.Cut(rest, heading)
		if !ok {
			t.Errorf("no section %q behind the one before it", strings.TrimSpace(heading))
			continue
		}
		rest = behind
		section, _, _ := strings.Cut(behind, "\n## ")
		for _, part := range []string{"**Why.**", "```go", "**Fix.**"} {
			if !strings.Contains(section, part) {
				t.Errorf("the section %s has no %s", a.Name, part)
			}
		}
		if want := "docs/lint.md#" + a.Name; !strings.HasSuffix(a.URL, want) {
			t.Errorf("the URL of %s is %s", a.Name, a.URL)
		}
	}
}
