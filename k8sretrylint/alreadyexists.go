// SPDX-License-Identifier: Apache-2.0

package k8sretrylint

import (
	"go/ast"
	"go/token"
	"go/types"

	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

var alreadyExists = check("alreadyexists", "report AlreadyExists and NotFound that are taken for success after a retry", func(pass *analysis.Pass, p *code.Package) {
	for _, r := range p.Retries {
		if r.Body == nil {
			continue
		}
		for _, call := range p.Calls(r.Body) {
			if !call.Direct {
				continue
			}
			if r.Library == code.K8sretry {
				afterDo(pass, p, r, call)
				continue
			}
			// In the function: the object that Create returns with an error is empty, and is used as if it were the one that exists.
			assign, ok := p.Parent(call.Expr).(*ast.AssignStmt)
			if call.Verb != code.Create || !ok || len(assign.Lhs) != 2 || p.ObjectOf(assign.Lhs[0]) == nil {
				continue
			}
			obj, err := p.ObjectOf(assign.Lhs[0]), errOf(p, call.Expr)
			if err == nil || code.DeclaredIn(obj, r.Body) {
				continue
			}
			if at := succeedsOn(p, r.Body, err, "IsAlreadyExists", call.Expr.End()); at != nil && !readsAgain(p, r, obj) {
				pass.Reportf(at.Pos(), "AlreadyExists is taken for success, but then %s is empty: an object that exists was created by an earlier attempt or by another client, and Create has not returned it; "+
					"read it, or use k8sretry.Create, which returns the object that the call has created", obj.Name())
			}
		}
	}
})

// afterDo looks at what follows a Do of this library.
func afterDo(pass *analysis.Pass, p *code.Package, r *code.Retry, call code.Reached) {
	var predicate, instead string
	switch call.Verb {
	case code.Create:
		predicate, instead = "IsAlreadyExists", "it may be the object of this call or one of another client with other content; use k8sretry.Create, which can tell them apart"
	case code.Delete:
		predicate, instead = "IsNotFound", "a repetition deletes what has the name by then, also a successor; use k8sretry.Delete, which sends the UID and returns nil if the call has deleted the object"
	default:
		return
	}
	if call.Verb == code.Delete && hasUID(call.Call) {
		return
	}
	err := errOf(p, r.Expr)
	_, body := p.EnclosingFunc(r.Expr)
	if err == nil || body == nil {
		return
	}
	if at := succeedsOn(p, body, err, predicate, r.Expr.End()); at != nil && origin(p, err, at) == r.Expr && !(call.Verb == code.Create && readsAfter(p, body, at)) {
		pass.Reportf(at.Pos(), "%s after %s is taken for success: %s", predicate[len("Is"):], r.Name, instead)
	}
}

// readsAfter reports whether something is read behind the place: the object that exists may be compared.
func readsAfter(p *code.Package, body *ast.BlockStmt, at ast.Node) bool {
	for _, call := range p.Calls(body) {
		if call.Verb == code.Get && call.At.Pos() > at.Pos() {
			return true
		}
	}
	return false
}

// succeedsOn returns the call of the predicate for the error behind pos whose truth leads to success: if predicate(err) { return nil },
// or if err != nil && !predicate(err).
func succeedsOn(p *code.Package, body *ast.BlockStmt, err types.Object, predicate string, pos token.Pos) (found *ast.CallExpr) {
	ast.Inspect(body, func(n ast.Node) bool {
		branch, ok := n.(*ast.IfStmt)
		if !ok || branch.Cond.End() < pos || found != nil {
			return found == nil
		}
		switch cond := ast.Unparen(branch.Cond).(type) {
		case *ast.CallExpr:
			if isPredicate(p, cond, err, predicate) && succeeds(branch.Body) {
				found = cond
			}
		case *ast.BinaryExpr:
			if not, ok := ast.Unparen(cond.Y).(*ast.UnaryExpr); ok && cond.Op == token.LAND && not.Op == token.NOT {
				if call, ok := ast.Unparen(not.X).(*ast.CallExpr); ok && isPredicate(p, call, err, predicate) {
					found = call
				}
			}
		}
		return true
	})
	return found
}

func isPredicate(p *code.Package, call *ast.CallExpr, err types.Object, name string) bool {
	return code.IsFunc(p.Callee(call), code.PathErrors, name) && len(call.Args) == 1 && p.ObjectOf(call.Args[0]) == err
}

// succeeds reports whether the block returns true or nothing but nils.
func succeeds(block *ast.BlockStmt) bool {
	if len(block.List) == 0 {
		return false
	}
	ret, ok := block.List[len(block.List)-1].(*ast.ReturnStmt)
	if !ok || len(ret.Results) == 0 || !isNil(ret.Results[len(ret.Results)-1]) {
		return false
	}
	id, ok := ast.Unparen(ret.Results[0]).(*ast.Ident)
	return len(ret.Results) == 1 || ok && id.Name != "false"
}

// readsAgain reports whether the function also reads into the variable.
func readsAgain(p *code.Package, r *code.Retry, obj types.Object) bool {
	for _, call := range p.Calls(r.Body) {
		if assign, ok := p.Parent(call.At).(*ast.AssignStmt); ok && call.Verb != code.Create && p.ObjectOf(assign.Lhs[0]) == obj {
			return true
		}
	}
	return false
}
