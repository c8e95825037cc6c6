// SPDX-License-Identifier: Apache-2.0

// Command k8sretrylint finds mistakes in programs that call the Kubernetes API, and rewrites
// retries of other libraries to k8sretry.
//
//	k8sretrylint ./...                   # all checks
//	k8sretrylint -fix ./...              # apply the fixes that are safe
//	k8sretrylint -migrate -diff ./...    # show what would be rewritten to k8sretry
//	k8sretrylint -migrate -fix ./...     # rewrite it
//	go vet -vettool=$(which k8sretrylint) ./...
//
// With -NAME for a check, only that check runs; with -NAME=false, all others. The page
// docs/lint.md describes the checks.
package main

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis/multichecker"

	"github.com/k8sretry/k8sretry/k8sretrylint"
)

func main() {
	analyzers := k8sretrylint.Analyzers()
	if wantsMigrate(os.Args[1:]) {
		analyzers = append(analyzers, k8sretrylint.Migrate())
	}
	multichecker.Main(analyzers...)
}

// wantsMigrate reports whether the arguments ask for the rewriting, which otherwise does not run,
// or for the list of flags, which go vet needs, or for help.
func wantsMigrate(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		name := strings.TrimLeft(arg, "-")
		return name != arg && (name == "migrate" || strings.HasPrefix(name, "migrate=") || name == "flags") || arg == "help"
	})
}
