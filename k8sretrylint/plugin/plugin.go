// SPDX-License-Identifier: Apache-2.0

// Package plugin makes the checks of k8sretrylint a module plugin of golangci-lint.
// Importing it registers the linter k8sretrylint. docs/lint.md shows the configuration.
package plugin

import (
	"fmt"
	"slices"

	"github.com/golangci/plugin-module-register/register"
	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint"
)

func init() { register.Plugin("k8sretrylint", New) }

// Settings are the settings of the linter in .golangci.yml.
type Settings struct {
	// Disable has the names of checks that do not run. Default: none, all checks run.
	// A name that no check has is an error.
	Disable []string `json:"disable"`
}

type linter struct{ analyzers []*analysis.Analyzer }

// New returns the linter for the settings of a configuration, which may be nil. An unknown
// setting is an error.
func New(settings any) (register.LinterPlugin, error) {
	s, err := register.DecodeSettings[Settings](settings)
	if err != nil {
		return nil, err
	}
	var l linter
	known := k8sretrylint.Analyzers()
	for _, name := range s.Disable {
		if !slices.ContainsFunc(known, func(a *analysis.Analyzer) bool { return a.Name == name }) {
			return nil, fmt.Errorf("k8sretrylint has no check %q", name)
		}
	}
	for _, a := range known {
		if !slices.Contains(s.Disable, a.Name) {
			l.analyzers = append(l.analyzers, a)
		}
	}
	return &l, nil
}

// BuildAnalyzers returns the checks that are not disabled.
func (l *linter) BuildAnalyzers() ([]*analysis.Analyzer, error) { return l.analyzers, nil }

// GetLoadMode says that the checks need types.
func (l *linter) GetLoadMode() string { return register.LoadModeTypesInfo }
