// SPDX-License-Identifier: Apache-2.0

// Package k8sretrylint finds mistakes in programs that call the Kubernetes API: writes that a
// retry may carry out twice, retries that cannot succeed, and misuse of package k8sretry.
//
// The checks need no k8sretry in the program. The page docs/lint.md of the repository says
// for each of them why, and what to write instead. The command cmd/k8sretrylint runs them by
// itself and as a tool of go vet, package plugin as a plugin of golangci-lint.
package k8sretrylint

import (
	"go/ast"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
	"github.com/k8sretry/k8sretry/k8sretrylint/internal/migrate"
)

const page = "https://github.com/k8sretry/k8sretry/blob/main/docs/lint.md#"

// Analyzers returns the checks in the order of the page. The slice is new, the Analyzers are
// the same each time.
func Analyzers() []*analysis.Analyzer {
	return []*analysis.Analyzer{
		retriedWrite, conflictRead, retriedContext, nestedRetry, sleepLoop, errorCompare, alreadyExists, electorLimiter, transportRetry,
		multiCall, missingVerb, readPreset, outcomeOrder,
	}
}

// Migrate returns the analyzer that reports each retry of other libraries around a call of
// the Kubernetes API, with a suggested fix where the program does the same with k8sretry. It
// is not one of Analyzers, because what it reports need not be wrong.
func Migrate() *analysis.Analyzer { return migrate.Analyzer }

// check makes an Analyzer whose run is not called for packages that have nothing to do with
// Kubernetes.
func check(name, doc string, run func(*analysis.Pass, *code.Package)) *analysis.Analyzer {
	return &analysis.Analyzer{
		Name: name, Doc: doc, URL: page + name, Requires: []*analysis.Analyzer{code.Analyzer},
		Run: func(pass *analysis.Pass) (any, error) {
			if p, ok := pass.ResultOf[code.Analyzer].(*code.Package); ok && p.UsesKubernetes {
				run(pass, p)
			}
			return nil, nil
		},
	}
}

// isTest reports whether the node is in a test file.
func isTest(pass *analysis.Pass, n ast.Node) bool {
	return strings.HasSuffix(pass.Fset.File(n.Pos()).Name(), "_test.go")
}

// errOf returns the error variable that the result of the call is assigned to, nil if there is none.
func errOf(p *code.Package, call *ast.CallExpr) types.Object {
	assign, ok := p.Parent(call).(*ast.AssignStmt)
	if !ok || len(assign.Rhs) != 1 {
		return nil
	}
	obj := p.ObjectOf(assign.Lhs[len(assign.Lhs)-1])
	if obj == nil || !isError(obj.Type()) {
		return nil
	}
	return obj
}

func isError(t types.Type) bool {
	return t != nil && types.Identical(t, types.Universe.Lookup("error").Type())
}

// origin returns the call whose error the variable has where it is used: the assignment that
// stands nearest before it in the same function. nil if that is not the call of a function.
func origin(p *code.Package, obj types.Object, use ast.Node) *ast.CallExpr {
	_, body := p.EnclosingFunc(use)
	if body == nil || obj == nil {
		return nil
	}
	var found *ast.CallExpr
	ast.Inspect(body, func(n ast.Node) bool {
		if lit, ok := n.(*ast.FuncLit); ok && !code.Contains(lit, use) {
			return false
		}
		assign, ok := n.(*ast.AssignStmt)
		if !ok || assign.End() > use.Pos() {
			return true
		}
		for i, lhs := range assign.Lhs {
			if p.ObjectOf(lhs) != obj {
				continue
			}
			found = nil
			rhs := assign.Rhs[0]
			if len(assign.Rhs) == len(assign.Lhs) {
				rhs = assign.Rhs[i]
			}
			if call, ok := ast.Unparen(rhs).(*ast.CallExpr); ok {
				found = call
			}
		}
		return true
	})
	return found
}

// uses reports whether the variable is used in n.
func uses(p *code.Package, n ast.Node, obj types.Object) bool {
	found := false
	ast.Inspect(n, func(m ast.Node) bool {
		if id, ok := m.(*ast.Ident); ok && p.Info.ObjectOf(id) == obj {
			found = true
		}
		return !found
	})
	return found
}

// callsFunc reports whether a function path.name is called in n.
func callsFunc(p *code.Package, n ast.Node, path string, names ...string) bool {
	found := false
	ast.Inspect(n, func(m ast.Node) bool {
		if call, ok := m.(*ast.CallExpr); ok {
			fn := p.Callee(call)
			for _, name := range names {
				found = found || code.IsFunc(fn, path, name)
			}
		}
		return !found
	})
	return found
}

// root is the identifier at the beginning of a selector, nil if there is none.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := ast.Unparen(e).(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.UnaryExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		default:
			return nil
		}
	}
}
