// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"errors"
	"go/ast"
	"go/token"
	"go/types"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

// known are predicates that are true only for what k8sretry repeats by itself, or what cannot succeed.
var known = map[string]map[string]bool{
	code.PathErrors: {
		"IsServiceUnavailable": true, "IsInternalError": true, "IsTooManyRequests": true, "IsTimeout": true, "IsServerTimeout": true,
	},
	code.PathUtilNet: {"IsConnectionRefused": true, "IsConnectionReset": true, "IsProbableEOF": true, "IsHTTP2ConnectionLost": true},
}

func isKnown(p *code.Package, call *ast.CallExpr) bool {
	fn := p.Callee(call)
	return fn != nil && fn.Pkg() != nil && known[code.Path(fn.Pkg())][fn.Name()]
}

// isCovered reports whether a predicate func(error) bool is true for nothing but known failures.
func (w *rewriting) isCovered(predicate ast.Expr) bool {
	if sel, ok := ast.Unparen(predicate).(*ast.SelectorExpr); ok {
		if fn, ok := w.p.Info.ObjectOf(sel.Sel).(*types.Func); ok && fn.Pkg() != nil && known[code.Path(fn.Pkg())][fn.Name()] {
			return true
		}
	}
	if v, ok := w.p.ObjectOf(predicate).(*types.Var); ok && v.Parent() != w.p.Types.Scope() {
		return false // a local variable, which would be unused
	}
	_, body := w.p.FuncOf(predicate)
	if body == nil || len(body.List) != 1 {
		return false
	}
	ret, ok := body.List[0].(*ast.ReturnStmt)
	return ok && len(ret.Results) == 1 && w.coveredCondition(ret.Results[0])
}

// coveredCondition reports whether a condition on an error is true for nothing but known failures.
func (w *rewriting) coveredCondition(cond ast.Expr) bool {
	switch cond := ast.Unparen(cond).(type) {
	case *ast.BinaryExpr:
		switch cond.Op {
		case token.LOR:
			return w.coveredCondition(cond.X) && w.coveredCondition(cond.Y)
		case token.LAND:
			return w.coveredCondition(cond.X) || w.coveredCondition(cond.Y)
		default:
		}
	case *ast.CallExpr:
		return len(cond.Args) == 1 && (isKnown(w.p, cond) || w.isCovered(cond.Fun))
	}
	return false
}

// predicate is the source of a predicate of the program, or one around a condition.
func (w *rewriting) predicate(cond ast.Expr, err types.Object) (string, bool) {
	call, ok := ast.Unparen(cond).(*ast.CallExpr)
	if !ok || len(call.Args) != 1 || w.p.ObjectOf(call.Args[0]) != err {
		return "", false
	}
	return w.text(call.Fun), true
}

// errVar is the error variable that the API call is assigned to, nil if its error is returned at once.
func (w *rewriting) errVar(call code.Reached) types.Object {
	assign, ok := w.p.Parent(call.Expr).(*ast.AssignStmt)
	if !ok || len(assign.Rhs) != 1 {
		return nil
	}
	return w.p.ObjectOf(assign.Lhs[len(assign.Lhs)-1])
}

// returnsOf are the return statements of the function itself.
func returnsOf(lit *ast.FuncLit) (found []*ast.ReturnStmt) {
	ast.Inspect(lit.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			found = append(found, n)
		}
		return true
	})
	return found
}

// guard is the condition of the innermost if statement whose body the statement is in, nil if there is none.
func (w *rewriting) guard(stmt ast.Stmt, lit *ast.FuncLit) ast.Expr {
	var inner ast.Node = stmt
	for n := w.p.Parent(stmt); n != nil && n != ast.Node(lit); n = w.p.Parent(n) {
		if branch, ok := n.(*ast.IfStmt); ok {
			if ast.Node(branch.Body) == inner {
				return branch.Cond
			}
			return nil // an else
		}
		inner = n
	}
	return nil
}

func (w *rewriting) isErrNotNil(cond ast.Expr, err types.Object) bool {
	c, ok := ast.Unparen(cond).(*ast.BinaryExpr)
	return ok && c.Op == token.NEQ && isNil(c.Y) && err != nil && w.p.ObjectOf(c.X) == err
}

func isNil(e ast.Expr) bool { return isName(e, "nil") }

func isName(e ast.Expr, name string) bool {
	id, ok := ast.Unparen(e).(*ast.Ident)
	return ok && id.Name == name
}

// repeated joins what several branches repeat.
func (w *rewriting) repeated(pl *plan, cond ast.Expr, err types.Object) error {
	switch {
	case w.isErrNotNil(cond, err):
		pl.covered, pl.retryIf = false, everyError
	case w.coveredCondition(cond) && pl.retryIf == "":
		pl.covered = true
	default:
		text, ok := w.predicate(cond, err)
		if !ok || pl.retryIf != "" || pl.covered {
			return errors.New("which errors it repeats is not visible")
		}
		pl.retryIf = text
	}
	return nil
}

// marked finds the calls of a function of the library, such as Permanent, in return statements of the function. Each has one
// argument. all is false if the function uses anything else of the library, such as RetryAfter or a type of an error.
func (w *rewriting) marked(lit *ast.FuncLit, name string) (calls []*ast.CallExpr, all bool) {
	all = true
	library := code.Path(w.r.Callee.Pkg())
	ast.Inspect(lit.Body, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok {
			return true
		}
		obj := w.p.Info.Uses[id]
		if obj == nil || obj.Pkg() == nil || code.Path(obj.Pkg()) != library || obj.Parent() != obj.Pkg().Scope() {
			return true
		}
		var fun ast.Node = id
		for {
			parent := w.p.Parent(fun)
			switch parent.(type) {
			case *ast.SelectorExpr, *ast.ParenExpr, *ast.IndexExpr:
				fun = parent
				continue
			}
			break
		}
		call, ok := w.p.Parent(fun).(*ast.CallExpr)
		if !ok || call.Fun != fun || id.Name != name || len(call.Args) != 1 {
			all = false
			return true
		}
		if _, ok := w.p.Parent(call).(*ast.ReturnStmt); !ok {
			all = false
		}
		calls = append(calls, call)
		return true
	})
	return calls, all
}

// permanent rewrites the marks of errors that are not to be repeated, and finds out what else is.
func (w *rewriting) permanent(lit *ast.FuncLit, call code.Reached, pl *plan, name string) error {
	marks, all := w.marked(lit, name)
	if !all {
		return errors.New("its function uses more of the library than " + name)
	}
	pl.retryIf = everyError
	if len(marks) == 0 {
		return nil
	}
	pkg, err := w.importing(code.PathK8sretry, "k8sretry")
	if err != nil {
		return err
	}
	for _, mark := range marks {
		w.edit(mark.Fun.Pos(), mark.Fun.End(), pkg+".Permanent")
	}
	// if err != nil && !transient(err) { return Permanent(err) }: only what transient knows is repeated.
	if ret, ok := w.p.Parent(marks[0]).(*ast.ReturnStmt); ok && len(marks) == 1 {
		if cond, ok := ast.Unparen(orNil(w.guard(ret, lit))).(*ast.BinaryExpr); ok && cond.Op == token.LAND && w.isErrNotNil(cond.X, w.errVar(call)) {
			if not, ok := ast.Unparen(cond.Y).(*ast.UnaryExpr); ok && not.Op == token.NOT && w.coveredCondition(not.X) {
				pl.covered = true
			}
		}
	}
	return nil
}

// orNil makes an expression that is nothing of a nil.
func orNil(e ast.Expr) ast.Expr {
	if e == nil {
		return &ast.BadExpr{}
	}
	return e
}

// returns rewrites what the function returns, if that is something else than an error.
func (w *rewriting) returns(lit *ast.FuncLit, call code.Reached) error {
	switch w.r.Library {
	case code.Wait:
		return w.returnsOfCondition(lit, call)
	case code.Sethvargo:
		marks, _ := w.marked(lit, "RetryableError")
		for _, mark := range marks {
			w.edit(mark.Pos(), mark.Args[0].Pos(), "")
			w.edit(mark.Args[0].End(), mark.End(), "")
		}
	default:
	}
	return nil
}

// returnsOfCondition makes a function that returns an error of one that returns whether it is done, and an error.
func (w *rewriting) returnsOfCondition(lit *ast.FuncLit, call code.Reached) error {
	errName := w.errVar(call).Name()
	for _, ret := range returnsOf(lit) {
		done, err := ret.Results[0], ret.Results[1]
		text := errName // of false, nil and of err == nil, nil
		switch {
		case isName(done, "true"):
			text = "nil"
		case isName(done, "false") && !isNil(err):
			text = w.text(err)
		}
		w.edit(ret.Results[0].Pos(), ret.Results[1].End(), text)
	}
	w.edit(lit.Type.Results.Pos(), lit.Type.Results.End(), "error")
	return nil
}

// condition finds out which errors a condition function repeats.
func (w *rewriting) condition(lit *ast.FuncLit, call code.Reached, pl *plan) error {
	errVar := w.errVar(call)
	if errVar == nil || lit.Type.Results.NumFields() != 2 {
		return errors.New("the error of its API call is not kept")
	}
	for _, field := range lit.Type.Results.List {
		if len(field.Names) > 0 {
			return errors.New("its function has named results")
		}
	}
	repeats := false
	for _, ret := range returnsOf(lit) {
		if len(ret.Results) != 2 {
			return errors.New("its function does not return a constant and an error")
		}
		done, err := ret.Results[0], ret.Results[1]
		switch {
		case isName(done, "true") && isNil(err):
			if w.guard(ret, lit) != nil {
				// Success in spite of an error, or after a look at the object.
				if cond, ok := ast.Unparen(w.guard(ret, lit)).(*ast.BinaryExpr); !ok || cond.Op != token.EQL || !isNil(cond.Y) || w.p.ObjectOf(cond.X) != errVar {
					return errors.New("it waits for more than the success of the call")
				}
			}
		case isName(done, "false") && isNil(err):
			cond := w.guard(ret, lit)
			if cond == nil {
				return errors.New("it waits for more than the success of the call")
			}
			if err := w.repeated(pl, cond, errVar); err != nil {
				return err
			}
			repeats = true
		case isName(done, "false"):
			if w.p.ObjectOf(err) != errVar {
				return errors.New("it returns another error than that of the call")
			}
		default:
			cond, ok := ast.Unparen(done).(*ast.BinaryExpr)
			if !ok || cond.Op != token.EQL || !isNil(cond.Y) || w.p.ObjectOf(cond.X) != errVar || !isNil(err) {
				return errors.New("it waits for more than the success of the call")
			}
			pl.covered, pl.retryIf = false, everyError
			repeats = true
		}
	}
	if !repeats {
		return errors.New("it repeats no error")
	}
	return nil
}
