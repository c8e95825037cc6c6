// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

var errShape = errors.New("its function is not a read, a change of the object and an update, in this order and without more; use k8sretry.Modify where it is one")

// rewriteConflict makes a Modify of a RetryOnConflict around
//
//	obj, err := client.Get(ctx, name, metav1.GetOptions{})
//	if err != nil {
//		return err
//	}
//	... // changes of obj
//	_, err = client.Update(ctx, obj, metav1.UpdateOptions{})
//	return err
func (w *rewriting) rewriteConflict() (string, error) {
	lit, ok := ast.Unparen(w.r.Fn).(*ast.FuncLit)
	if !ok {
		return "", errNoLiteral
	}
	if len(w.calls) > 0 && w.calls[0].Client == code.Runtime {
		return "", errors.New("k8sretryctrl.Modify does the same for a client of controller-runtime")
	}
	if len(w.calls) != 2 || !w.calls[0].Direct || !w.calls[1].Direct || w.calls[0].Client != code.Typed || w.calls[1].Client != code.Typed || len(lit.Body.List) < 4 {
		return "", errShape
	}
	read, write := w.calls[0], w.calls[1]
	if read.Fn.Signature().Variadic() {
		return "", errors.New("its client is a dynamic one; use k8sretry.Modify with k8sretry.Dynamic")
	}
	for _, call := range w.calls {
		if sel, ok := ast.Unparen(call.Expr.Fun).(*ast.SelectorExpr); !ok || sel.X != call.Recv {
			return "", errors.New("it calls a function value; use k8sretry.Modify with the client")
		}
	}
	obj, errVar := w.readStmt(lit, read)
	if obj == nil {
		return "", errShape
	}
	mutation, ok := w.updateStmts(lit, write, obj)
	if !ok || len(mutation) == 0 {
		return "", errShape
	}
	client := w.text(read.Recv)
	if read.Ctx == nil || write.Ctx == nil || w.text(read.Ctx) != w.text(write.Ctx) || client != w.text(write.Recv) || !isPure(w.p, read.Recv) || !isPure(w.p, read.Ctx) || !isPure(w.p, read.Args[1]) {
		return "", errors.New("the read and the update do not use the same client")
	}
	for _, inside := range []ast.Node{read.Recv, read.Ctx, read.Args[1]} {
		if w.usesDeclared(inside, lit) {
			return "", errShape
		}
	}
	if err := w.checkMutation(mutation, lit, obj, errVar); err != nil {
		return "", err
	}
	if backoff := ast.Unparen(w.r.Options[0]); !w.isPackageLevel(backoff) {
		return "", errors.New("its backoff is made in the function around it; Modify has delays of its own after a conflict")
	}
	typ, err := w.typeName(obj.Type())
	if err != nil {
		return "", err
	}
	pkg, err := w.importing(code.PathK8sretry, "k8sretry")
	if err != nil {
		return "", err
	}
	if write.Name() == "UpdateStatus" {
		client = fmt.Sprintf("%s.StatusSubresource(%s)", pkg, client)
	}
	call := fmt.Sprintf("%s.Modify(%s, %s, %s, func(%s %s) error {\n", pkg, w.text(read.Ctx), client, w.text(read.Args[1]), obj.Name(), typ)
	tail := fmt.Sprintf("\nreturn nil\n}, %s.ForWrite())", pkg)

	// What is around the call has to take two results.
	first, last := mutation[0].Pos(), mutation[len(mutation)-1].End()
	first = w.withComments(lit.Body.List[1].End(), first)
	last = w.withLine(last)
	switch parent := w.p.Parent(w.r.Expr).(type) {
	case *ast.ReturnStmt:
		if len(parent.Results) != 1 {
			return "", errors.New("its error is returned together with something else")
		}
		if decl := w.p.OutermostFunc(w.r.Expr); decl == nil || w.shadows("err", parent) {
			return "", errors.New("the function has its own err")
		}
		w.edit(parent.Pos(), first, "_, err := "+call)
		w.edit(last, parent.End(), tail+"\nreturn err")
	case *ast.AssignStmt:
		if len(parent.Lhs) != 1 || len(parent.Rhs) != 1 {
			return "", errShape
		}
		w.edit(parent.Lhs[0].Pos(), parent.Lhs[0].Pos(), "_, ")
		w.edit(w.r.Expr.Pos(), first, call)
		w.edit(last, w.r.Expr.End(), tail)
	case *ast.ExprStmt:
		w.edit(parent.Pos(), first, "_, _ = "+call)
		w.edit(last, parent.End(), tail)
	default:
		return "", errors.New("its error is used in an expression")
	}
	return "k8sretry.Modify", nil
}

// shadows reports whether a new variable in the scope of the statement would be declared twice or hide a named result.
func (w *rewriting) shadows(name string, stmt ast.Stmt) bool {
	block, ok := w.p.Parent(stmt).(*ast.BlockStmt)
	if !ok {
		return true
	}
	scope := w.p.Info.Scopes[block]
	if scope == nil { // the body of a function has the scope of its type
		if f, _ := w.p.EnclosingFunc(stmt); f != nil {
			switch f := f.(type) {
			case *ast.FuncDecl:
				scope = w.p.Info.Scopes[f.Type]
			case *ast.FuncLit:
				scope = w.p.Info.Scopes[f.Type]
			}
		}
	}
	return scope == nil || scope.Lookup(name) != nil
}

// withComments is the beginning of the comments before pos, which lies behind after.
func (w *rewriting) withComments(after, pos token.Pos) token.Pos {
	for _, group := range w.file.Comments {
		if group.Pos() > after && group.End() < pos {
			return group.Pos()
		}
	}
	return pos
}

// withLine is the end of a comment behind pos in the same line.
func (w *rewriting) withLine(pos token.Pos) token.Pos {
	file := w.pass.Fset.File(pos)
	for _, group := range w.file.Comments {
		if group.Pos() >= pos && file.Line(group.Pos()) == file.Line(pos) {
			return group.List[0].End()
		}
	}
	return pos
}

// readStmt reads obj, err := client.Get(ctx, name, metav1.GetOptions{}) and the return after it.
func (w *rewriting) readStmt(lit *ast.FuncLit, read code.Reached) (obj *types.Var, err types.Object) {
	assign, ok := lit.Body.List[0].(*ast.AssignStmt)
	if !ok || read.Name() != "Get" || len(assign.Lhs) != 2 || len(assign.Rhs) != 1 || ast.Unparen(assign.Rhs[0]) != ast.Expr(read.Expr) || assign.Tok != token.DEFINE || len(read.Args) != 3 {
		return nil, nil
	}
	obj, _ = w.p.ObjectOf(assign.Lhs[0]).(*types.Var)
	err = w.p.ObjectOf(assign.Lhs[1])
	branch, ok := lit.Body.List[1].(*ast.IfStmt)
	if obj == nil || err == nil || !code.DeclaredIn(obj, lit) || !code.DeclaredIn(err, lit) || !ok || branch.Init != nil || branch.Else != nil || !w.isErrNotNil(branch.Cond, err) ||
		!w.returnsOnly(branch.Body, err) || !isEmptyOptions(read.Options) {
		return nil, nil
	}
	return obj, err
}

// returnsOnly reports whether a block is return err.
func (w *rewriting) returnsOnly(block *ast.BlockStmt, err types.Object) bool {
	if len(block.List) != 1 {
		return false
	}
	ret, ok := block.List[0].(*ast.ReturnStmt)
	return ok && len(ret.Results) == 1 && w.p.ObjectOf(ret.Results[0]) == err
}

// updateStmts reads the update at the end of the function, and returns the statements before it.
func (w *rewriting) updateStmts(lit *ast.FuncLit, write code.Reached, obj *types.Var) ([]ast.Stmt, bool) {
	if write.Name() != "Update" && write.Name() != "UpdateStatus" || len(write.Args) != 3 || w.p.ObjectOf(write.Args[1]) != types.Object(obj) || !isEmptyOptions(write.Options) {
		return nil, false
	}
	list := lit.Body.List
	n := len(list)
	ret, ok := list[n-1].(*ast.ReturnStmt)
	if !ok || len(ret.Results) != 1 {
		return nil, false
	}
	isUpdate := func(stmt ast.Stmt) types.Object {
		assign, ok := stmt.(*ast.AssignStmt)
		if !ok || len(assign.Lhs) != 2 || len(assign.Rhs) != 1 || ast.Unparen(assign.Rhs[0]) != ast.Expr(write.Expr) || !isName(assign.Lhs[0], "_") {
			return nil
		}
		return w.p.ObjectOf(assign.Lhs[1])
	}
	// _, err = client.Update(...); return err
	if err := isUpdate(list[n-2]); err != nil && w.p.ObjectOf(ret.Results[0]) == err {
		return list[2 : n-2], true
	}
	if !isNil(ret.Results[0]) {
		return nil, false
	}
	branch, ok := list[n-2].(*ast.IfStmt)
	if !ok || branch.Else != nil {
		return nil, false
	}
	// if _, err := client.Update(...); err != nil { return err }; return nil
	if branch.Init != nil {
		err := isUpdate(branch.Init)
		return list[2 : n-2], err != nil && w.isErrNotNil(branch.Cond, err) && w.returnsOnly(branch.Body, err)
	}
	// _, err = client.Update(...); if err != nil { return err }; return nil
	if n < 5 {
		return nil, false
	}
	err := isUpdate(list[n-3])
	return list[2 : n-3], err != nil && w.isErrNotNil(branch.Cond, err) && w.returnsOnly(branch.Body, err)
}

// checkMutation makes sure that the statements do the same in a function of their own that Modify may call at any time.
func (w *rewriting) checkMutation(mutation []ast.Stmt, lit *ast.FuncLit, obj *types.Var, errVar types.Object) error {
	changed := false // an earlier statement may have changed the object
	for _, stmt := range mutation {
		skips := false
		var bad error
		ast.Inspect(stmt, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit, *ast.GoStmt, *ast.DeferStmt:
				bad = errors.New("the change of the object contains another function")
			case *ast.ReturnStmt:
				if len(n.Results) != 1 {
					bad = errShape
				} else if isNil(n.Results[0]) {
					skips = true
				}
			case *ast.AssignStmt:
				for _, lhs := range n.Lhs {
					if id := rootOf(lhs); id == nil || id.Name != "_" && !code.DeclaredIn(w.p.Info.ObjectOf(id), lit) {
						bad = errors.New("the change of the object also sets a variable outside of it, and Modify may call it for an update that is not carried out")
					} else if w.p.ObjectOf(lhs) == types.Object(obj) {
						bad = errors.New("the object is replaced by another one")
					}
				}
				if uses(w.p, n, obj) && !isAddressOrContent(w.p, n, obj) {
					bad = errors.New("the object is kept in another variable")
				}
			case *ast.IncDecStmt:
				if id := rootOf(n.X); id == nil || !code.DeclaredIn(w.p.Info.ObjectOf(id), lit) {
					bad = errors.New("the change of the object also sets a variable outside of it, and Modify may call it for an update that is not carried out")
				}
			case *ast.Ident:
				if errVar != nil && w.p.Info.ObjectOf(n) == errVar {
					bad = errors.New("the change of the object uses the error of the read")
				}
			}
			return bad == nil
		})
		if bad != nil {
			return bad
		}
		if skips && (changed || !isGuard(stmt)) {
			return errors.New("the change of the object may end without an update after it has changed the object; Modify would store the change")
		}
		if !isGuard(stmt) {
			changed = true
		}
	}
	return nil
}

// isGuard reports whether a statement is if cond { return nil }.
func isGuard(stmt ast.Stmt) bool {
	branch, ok := stmt.(*ast.IfStmt)
	if !ok || branch.Else != nil || branch.Init != nil || len(branch.Body.List) != 1 {
		return false
	}
	_, ok = branch.Body.List[0].(*ast.ReturnStmt)
	return ok
}

// isAddressOrContent reports whether the right sides of an assignment use no more of the object than its content: x := obj keeps it.
func isAddressOrContent(p *code.Package, assign *ast.AssignStmt, obj types.Object) bool {
	for _, rhs := range assign.Rhs {
		if p.ObjectOf(rhs) == obj {
			return false
		}
	}
	return true
}

// usesDeclared reports whether n uses a variable that is declared in the function.
func (w *rewriting) usesDeclared(n ast.Node, lit *ast.FuncLit) bool {
	found := false
	ast.Inspect(n, func(m ast.Node) bool {
		if id, ok := m.(*ast.Ident); ok {
			if obj := w.p.Info.Uses[id]; obj != nil && code.DeclaredIn(obj, lit) {
				found = true
			}
		}
		return !found
	})
	return found
}

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

func rootOf(e ast.Expr) *ast.Ident {
	for {
		switch x := ast.Unparen(e).(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// isPure reports whether evaluating the expression once instead of in each round makes no difference: names,
// constants, fields, and the methods of a clientset that return a client.
func isPure(p *code.Package, e ast.Expr) bool {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident, *ast.BasicLit:
		return true
	case *ast.SelectorExpr:
		return isPure(p, e.X)
	case *ast.CallExpr:
		fn := p.Callee(e)
		if fn == nil {
			return false
		}
		for _, arg := range e.Args {
			if !isPure(p, arg) {
				return false
			}
		}
		if code.IsFunc(fn, "context", "Background") || code.IsFunc(fn, "context", "TODO") {
			return true
		}
		sel, ok := ast.Unparen(e.Fun).(*ast.SelectorExpr)
		return ok && fn.Signature().Recv() != nil && fn.Signature().Results().Len() == 1 && types.IsInterface(fn.Signature().Results().At(0).Type()) && isPure(p, sel.X)
	}
	return false
}

// isEmptyOptions reports whether options are a literal without fields.
func isEmptyOptions(e ast.Expr) bool {
	lit, ok := ast.Unparen(e).(*ast.CompositeLit)
	return ok && len(lit.Elts) == 0
}

// isPackageLevel reports whether an expression needs no variable of the function around.
func (w *rewriting) isPackageLevel(e ast.Expr) bool {
	local := false
	ast.Inspect(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if v, ok := w.p.Info.Uses[id].(*types.Var); ok && !v.IsField() && v.Parent() != nil && v.Parent() != v.Pkg().Scope() {
				local = true
			}
		}
		return !local
	})
	return !local
}

// typeName is a pointer type as the file writes it, with an import if necessary.
func (w *rewriting) typeName(t types.Type) (string, error) {
	var problem error
	name := types.TypeString(t, func(p *types.Package) string {
		if p == w.p.Types {
			return ""
		}
		path := code.Path(p)
		wanted := p.Name()
		// k8s.io/api/core/v1 is corev1 by convention.
		if parts := strings.Split(path, "/"); len(parts) > 2 && strings.HasPrefix(wanted, "v") {
			wanted = parts[len(parts)-2] + wanted
		}
		name, err := w.importing(path, wanted)
		if err != nil {
			problem = err
		}
		return name
	})
	return name, problem
}
