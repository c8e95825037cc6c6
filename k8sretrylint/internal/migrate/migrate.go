// Package migrate rewrites retries of other libraries.
package migrate

import "golang.org/x/tools/go/analysis"

// Analyzer reports retries of other libraries around calls of the Kubernetes API.
var Analyzer = &analysis.Analyzer{Name: "migrate", Doc: "rewrite retries of other libraries", Run: func(*analysis.Pass) (any, error) { return nil, nil }}
