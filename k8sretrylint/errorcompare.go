// SPDX-License-Identifier: Apache-2.0

package k8sretrylint

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

var errorCompare = check("errorcompare", "report errors of API calls that are compared with == or by their text", func(pass *analysis.Pass, p *code.Package) {
	for _, file := range p.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if n.Op == token.EQL || n.Op == token.NEQ {
					compareValue(pass, p, file, n)
					compareText(pass, p, n.Pos(), n.X, n.Y)
					compareText(pass, p, n.Pos(), n.Y, n.X)
				}
			case *ast.CallExpr:
				fn := p.Callee(n)
				if fn == nil || fn.Pkg() == nil || fn.Pkg().Path() != "strings" || len(n.Args) != 2 {
					return true
				}
				switch fn.Name() {
				case "Contains", "HasPrefix", "HasSuffix", "EqualFold", "Index":
					compareText(pass, p, n.Pos(), n.Args[0], n.Args[1])
				}
			case *ast.SwitchStmt:
				compareCases(pass, p, n)
			}
			return true
		})
	}
})

// compareValue reports err == k8sretry.ErrMaxRetries and the like.
func compareValue(pass *analysis.Pass, p *code.Package, file *ast.File, n *ast.BinaryExpr) {
	err, target := n.X, n.Y
	if sentinel(p, err) != nil {
		err, target = target, err
	}
	value := sentinel(p, target)
	if value == nil || !isError(p.Info.TypeOf(err)) {
		return
	}
	verdict := unequal(p, value, err)
	if verdict == "" {
		return
	}
	use, fun := "errors.Is", ""
	if name := importName(p, file, "errors"); name != "" && p.IsImported(name, "errors", n) {
		fun = name + ".Is("
	}
	isWait := code.Path(value.Pkg()) == code.PathWait
	if isWait {
		use, fun = "wait.Interrupted", ""
		if value.Pkg().Scope().Lookup("Interrupted") != nil {
			fun = qualifier(target) + ".Interrupted("
		}
	}
	diagnostic := analysis.Diagnostic{
		Pos: n.Pos(), End: n.End(),
		Message: fmt.Sprintf(verdict+"; use %s", types.ExprString(err), types.ExprString(target), use),
	}
	if fun != "" {
		if n.Op == token.NEQ {
			fun = "!" + fun
		}
		// Around the operands, which may be long and have comments.
		edits := []analysis.TextEdit{{Pos: n.Pos(), End: n.Pos(), NewText: []byte(fun)}}
		switch {
		case isWait && err == n.X:
			edits = append(edits, analysis.TextEdit{Pos: n.X.End(), End: n.End(), NewText: []byte(")")})
		case isWait:
			edits = []analysis.TextEdit{{Pos: n.Pos(), End: n.Y.Pos(), NewText: []byte(fun)}, {Pos: n.End(), End: n.End(), NewText: []byte(")")}}
		case err == n.X:
			edits = append(edits, analysis.TextEdit{Pos: n.X.End(), End: n.Y.Pos(), NewText: []byte(", ")}, analysis.TextEdit{Pos: n.End(), End: n.End(), NewText: []byte(")")})
		default:
			edits = []analysis.TextEdit{
				{Pos: n.Pos(), End: n.Y.Pos(), NewText: []byte(fun)},
				{Pos: n.End(), End: n.End(), NewText: []byte(", " + types.ExprString(target) + ")")},
			}
		}
		diagnostic.SuggestedFixes = []analysis.SuggestedFix{{Message: "Use " + use, TextEdits: edits}}
	}
	pass.Report(diagnostic)
}

// compareCases reports switch err { case k8sretry.ErrMaxRetries: ... }.
func compareCases(pass *analysis.Pass, p *code.Package, n *ast.SwitchStmt) {
	if n.Tag == nil || !isError(p.Info.TypeOf(n.Tag)) {
		return
	}
	for _, stmt := range n.Body.List {
		clause, ok := stmt.(*ast.CaseClause)
		if !ok {
			continue
		}
		for _, target := range clause.List {
			if value := sentinel(p, target); value != nil {
				if verdict := unequal(p, value, n.Tag); verdict != "" {
					pass.Reportf(target.Pos(), verdict+"; use errors.Is", types.ExprString(n.Tag), types.ExprString(target))
				}
			}
		}
	}
}

// sentinel is the error variable of a package that the expression names, nil if it names none.
func sentinel(p *code.Package, e ast.Expr) *types.Var {
	sel, ok := ast.Unparen(e).(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	v, ok := p.Info.ObjectOf(sel.Sel).(*types.Var)
	if !ok || v.IsField() || v.Pkg() == nil || v.Parent() != v.Pkg().Scope() || !isError(v.Type()) {
		return nil
	}
	return v
}

// unequal says why an error is not equal to a sentinel, with a %s for each, "" if it may be.
func unequal(p *code.Package, value *types.Var, err ast.Expr) string {
	path := code.Path(value.Pkg())
	if path == code.PathK8sretry {
		return "%s is never == %s: the error of a call contains it and is not equal to it"
	}
	obj := p.ObjectOf(err)
	if obj == nil {
		return ""
	}
	call := origin(p, obj, err)
	if call == nil {
		return ""
	}
	if path == code.PathWait && value.Name() == "ErrWaitTimeout" {
		if r := p.RetryCall(call); r != nil && r.Library == code.Poll && strings.HasPrefix(r.Callee.Name(), "PollUntilContext") {
			return "%s is never == %s: " + r.Name + " returns the error of the context"
		}
		return ""
	}
	c := p.APICall(call)
	if c == nil || c.Client == code.Cache || path != "context" && path != "io" {
		return ""
	}
	// It is equal only if the context had ended before anything was sent and no rate limiter was asked.
	return "%s need not be == %s: client-go wraps what ends a request in a *url.Error"
}

// importName is the name of an imported package in the file, "" if it is not imported.
func importName(p *code.Package, file *ast.File, path string) string {
	for _, spec := range file.Imports {
		if strings.Trim(spec.Path.Value, `"`) != path {
			continue
		}
		if spec.Name != nil {
			if spec.Name.Name == "_" || spec.Name.Name == "." {
				return ""
			}
			return spec.Name.Name
		}
		if obj, ok := p.Info.Implicits[spec].(*types.PkgName); ok {
			return obj.Name()
		}
	}
	return ""
}

// texts are parts of messages for which there is a predicate.
var texts = []struct{ text, instead string }{
	{"the object has been modified", "apierrors.IsConflict"},
	{"operation cannot be fulfilled", "apierrors.IsConflict"},
	{"please apply your changes to the latest version", "apierrors.IsConflict"},
	{"already exists", "apierrors.IsAlreadyExists"},
	{"alreadyexists", "apierrors.IsAlreadyExists"},
	{"could not find the requested resource", "apierrors.IsNotFound"},
	{"not found", "apierrors.IsNotFound"},
	{"notfound", "apierrors.IsNotFound"},
	{"is forbidden", "apierrors.IsForbidden"},
	{"forbidden", "apierrors.IsForbidden"},
	{"unauthorized", "apierrors.IsUnauthorized"},
	{"too many requests", "apierrors.IsTooManyRequests"},
	{"connection refused", "utilnet.IsConnectionRefused"},
	{"connection reset by peer", "utilnet.IsConnectionReset"},
	{"context deadline exceeded", "errors.Is with context.DeadlineExceeded"},
	{"context canceled", "errors.Is with context.Canceled"},
	{"no matches for kind", "meta.IsNoMatchError"},
	{"timed out waiting for the condition", "wait.Interrupted"},
}

// compareText reports a text that is looked for in the message of an error of an API call.
func compareText(pass *analysis.Pass, p *code.Package, pos token.Pos, message, text ast.Expr) {
	err := messageOf(p, message)
	if err == nil {
		return
	}
	tv := p.Info.Types[text]
	if tv.Value == nil || tv.Value.Kind() != constant.String {
		return
	}
	obj := p.ObjectOf(err)
	if obj == nil {
		return
	}
	call := origin(p, obj, err)
	if call == nil {
		return
	}
	c := p.APICall(call)
	if c == nil {
		r := p.RetryCall(call)
		if r == nil || r.Body == nil || len(p.Calls(r.Body)) == 0 {
			return
		}
	}
	wanted := strings.ToLower(constant.StringVal(tv.Value))
	for _, known := range texts {
		if strings.Contains(wanted, known.text) {
			pass.Reportf(pos, "the error of an API call is recognized by its text %q, which changes with versions, wrappers and proxies and may be quoted in other errors; use %s",
				constant.StringVal(tv.Value), known.instead)
			return
		}
	}
}

// messageOf returns err of err.Error(), also within strings.ToLower.
func messageOf(p *code.Package, e ast.Expr) ast.Expr {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok {
		return nil
	}
	if fn := p.Callee(call); code.IsFunc(fn, "strings", "ToLower") && len(call.Args) == 1 {
		return messageOf(p, call.Args[0])
	}
	sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != "Error" || len(call.Args) != 0 || !isError(p.Info.TypeOf(sel.X)) {
		return nil
	}
	return sel.X
}
