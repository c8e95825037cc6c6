// SPDX-License-Identifier: Apache-2.0

package plugin_test

import (
	"testing"

	"github.com/golangci/plugin-module-register/register"

	"github.com/k8sretry/k8sretry/k8sretrylint"
	_ "github.com/k8sretry/k8sretry/k8sretrylint/plugin"
)

func TestPlugin(t *testing.T) {
	all := len(k8sretrylint.Analyzers())
	build, err := register.GetPlugin("k8sretrylint")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		settings any
		checks   int // 0: an error
	}{
		"no settings runs all checks":       {nil, all},
		"a disabled check does not run":     {map[string]any{"disable": []any{"sleeploop"}}, all - 1},
		"a check of no such name":           {map[string]any{"disable": []any{"sleeplop"}}, 0},
		"a setting that is not one of ours": {map[string]any{"disabled": []any{"sleeploop"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			linter, err := build(test.settings)
			if test.checks == 0 {
				if err == nil {
					t.Error("no error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			analyzers, err := linter.BuildAnalyzers()
			if err != nil || len(analyzers) != test.checks {
				t.Errorf("%d checks, %v; want %d", len(analyzers), err, test.checks)
			}
			if linter.GetLoadMode() != register.LoadModeTypesInfo {
				t.Error("the checks need types")
			}
		})
	}
}
