// SPDX-License-Identifier: Apache-2.0

package k8sretrylint

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

var retriedContext = check("retriedcontext", "report API calls in a repeated function that ignore the context it is given", func(pass *analysis.Pass, p *code.Package) {
	for _, r := range p.Retries {
		if r.Body == nil || !code.Contains(r.Fn, r.Body) {
			continue // a function with a name does not see the other context
		}
		param, has := p.CtxParam(r.Type)
		if !has {
			continue
		}
		var given types.Object
		if param != nil && param.Name != "_" {
			given = p.Info.Defs[param]
		}
		for _, call := range p.Calls(r.Body) {
			if !call.Direct || call.Ctx == nil || call.Client == code.Cache || inOtherFunc(p, call.At, r) {
				continue
			}
			ignored, same := ignores(p, r, call.Ctx)
			// These hand on the context that they are given: it makes no difference.
			if !ignored || same && !shortens(r) {
				continue
			}
			pass.Report(analysis.Diagnostic{
				Pos: call.Ctx.Pos(), End: call.Ctx.End(),
				Message:        "this call ignores the context that " + r.Name + " passes to its function: " + consequence(r),
				SuggestedFixes: useParam(p, r, param, given, call, same),
			})
		}
	}
})

// shortens reports whether the context of the function ends earlier than, or knows more than, that of the caller.
func shortens(r *code.Retry) bool {
	return r.Library == code.K8sretry || r.Library == code.Poll && hasTimeout(r)
}

func hasTimeout(r *code.Retry) bool {
	switch r.Callee.Name() {
	case "PollUntilContextTimeout", "PollWithContext", "PollImmediateWithContext":
		return true
	}
	return false
}

func consequence(r *code.Retry) string {
	switch {
	case r.Library == code.K8sretry:
		return "WithAttemptTimeout does not end it, and a write that was not sent cannot be told from one that was"
	case hasTimeout(r):
		return "a request that hangs is not ended by the timeout"
	}
	return "a request that hangs does not end when the caller's context does"
}

// ignores reports whether an argument is a context from outside of the function, and whether it is that of the retry.
func ignores(p *code.Package, r *code.Retry, ctx ast.Expr) (ignored, same bool) {
	switch e := ast.Unparen(ctx).(type) {
	case *ast.CallExpr:
		fn := p.Callee(e)
		return code.IsFunc(fn, "context", "Background") || code.IsFunc(fn, "context", "TODO"), r.Ctx != nil && types.ExprString(r.Ctx) == types.ExprString(e)
	case *ast.Ident:
		v, ok := p.Info.ObjectOf(e).(*types.Var)
		if !ok || code.DeclaredIn(v, r.Fn) {
			return false, false
		}
		return true, r.Ctx != nil && p.ObjectOf(r.Ctx) == types.Object(v)
	}
	return false, false
}

// inOtherFunc reports whether the call is in another function literal with a context of its own.
func inOtherFunc(p *code.Package, call ast.Node, r *code.Retry) bool {
	for n := p.Parent(call); n != nil && n != ast.Node(r.Body); n = p.Parent(n) {
		if lit, ok := n.(*ast.FuncLit); ok {
			if _, has := p.CtxParam(lit.Type); has {
				return true
			}
		}
	}
	return false
}

// useParam suggests to hand the parameter to the call, if the other context is that of the retry, or none at all.
func useParam(p *code.Package, r *code.Retry, param *ast.Ident, given types.Object, call code.Reached, same bool) []analysis.SuggestedFix {
	if _, isCall := ast.Unparen(call.Ctx).(*ast.CallExpr); !same && !isCall || param == nil {
		return nil
	}
	name := param.Name
	if given != nil && p.Lookup(name, call.Ctx) != given {
		return nil // something else has its name there
	}
	var edits []analysis.TextEdit
	if given == nil {
		name = "ctx"
		// Another ctx in the function would be hidden by the parameter.
		other := false
		ast.Inspect(r.Body, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.Name == name && ast.Expr(id) != ast.Unparen(call.Ctx) && !ofCall(p, id) {
				other = true
			}
			return !other
		})
		if other {
			return nil
		}
		edits = append(edits, analysis.TextEdit{Pos: param.Pos(), End: param.End(), NewText: []byte(name)})
	}
	if id, ok := ast.Unparen(call.Ctx).(*ast.Ident); !ok || id.Name != name {
		edits = append(edits, analysis.TextEdit{Pos: call.Ctx.Pos(), End: call.Ctx.End(), NewText: []byte(name)})
	}
	return []analysis.SuggestedFix{{Message: "Use the context of the function", TextEdits: edits}}
}

// ofCall reports whether the identifier is the context of another call of the API.
func ofCall(p *code.Package, id *ast.Ident) bool {
	call, ok := p.Parent(id).(*ast.CallExpr)
	if !ok {
		return false
	}
	c := p.APICall(call)
	return c != nil && c.Ctx == ast.Expr(id)
}
