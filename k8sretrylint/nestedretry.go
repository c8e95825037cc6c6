// SPDX-License-Identifier: Apache-2.0

package k8sretrylint

import (
	"go/ast"

	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

var nestedRetry = check("nestedretry", "report retries inside of retries of the same errors", func(pass *analysis.Pass, p *code.Package) {
	for _, outer := range p.Retries {
		if outer.Body == nil || outer.Library == code.Poll {
			continue
		}
		ast.Inspect(outer.Body, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				return false
			}
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if inner := p.RetryCall(call); inner != nil {
				if inner.Library != code.Poll && multiplies(outer, inner.Library, inner.Callee.Name()) {
					pass.Reportf(call.Pos(), "%s inside %s: %s", inner.Name, outer.Name, nestedHarm(outer, inner.Library, inner.Callee.Name()))
				}
				return true
			}
			if name := safeWrite(p, call); name != "" && (outer.Library == code.K8sretry || outer.Callee.Name() == "RetryOnConflict" && name == "Modify") {
				pass.Reportf(call.Pos(), "k8sretry.%s inside %s: %s", name, outer.Name, nestedHarm(outer, code.K8sretry, name))
				return true
			}
			// A function of this package that repeats its calls.
			decl := p.Decl(p.Callee(call))
			if decl == nil || decl.Body == nil {
				return true
			}
			for _, inner := range p.Retries {
				if code.Contains(decl.Body, inner.Expr) && inner.Library != code.Poll && multiplies(outer, inner.Library, inner.Callee.Name()) && len(p.Calls(inner.Body)) > 0 {
					pass.Reportf(call.Pos(), "%s, which calls %s, inside %s: %s", decl.Name.Name, inner.Name, outer.Name, nestedHarm(outer, inner.Library, inner.Callee.Name()))
					break
				}
			}
			return true
		})
	}
})

// safeWrite is the name of a function of k8sretry that repeats a write, "" for all others.
func safeWrite(p *code.Package, call *ast.CallExpr) string {
	fn := p.Callee(call)
	for _, name := range []string{"Create", "Update", "Modify", "Delete", "Evict", "Apply", "Patch"} {
		if code.IsFunc(fn, code.PathK8sretry, name) && fn.Signature().Recv() == nil {
			return name
		}
	}
	return ""
}

// multiplies reports whether the outer retry repeats what the inner one has given up.
func multiplies(outer *code.Retry, library code.Library, name string) bool {
	switch {
	case outer.Library == code.K8sretry:
		return true
	case outer.Callee.Name() == "RetryOnConflict":
		return name == "RetryOnConflict"
	case outer.Library == code.ClientGo: // OnError
		return library == code.ClientGo && name == "OnError"
	}
	return outer.Library == library
}

func nestedHarm(outer *code.Retry, inner code.Library, name string) string {
	switch {
	case outer.Library == code.K8sretry && inner == code.K8sretry:
		return "the outer call does not repeat what the inner one gave up, and its options have no effect on it; keep one of them"
	case outer.Library == code.K8sretry && name == "RetryOnConflict":
		return "the outer call repeats a read, a change and a write as a whole: after a lost answer the change is made twice; use k8sretry.Modify alone"
	}
	return "the attempts multiply while the server is in trouble; keep one of them"
}
