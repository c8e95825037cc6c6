// SPDX-License-Identifier: Apache-2.0

package k8sretrylint

import (
	"go/ast"
	"go/token"
	"go/types"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

// ambiguous are predicates that are true for an error after which the server may have
// carried out the request.
var ambiguous = map[string]map[string]bool{
	code.PathErrors: {
		"IsTimeout": true, "IsServerTimeout": true, "IsInternalError": true, "IsServiceUnavailable": true, "IsUnexpectedServerError": true,
	},
	code.PathUtilNet: {"IsConnectionReset": true, "IsProbableEOF": true, "IsHTTP2ConnectionLost": true, "IsTimeout": true},
}

func isAmbiguous(fn *types.Func) bool {
	return fn != nil && fn.Pkg() != nil && ambiguous[code.Path(fn.Pkg())][fn.Name()]
}

// acceptsAmbiguous reports whether a predicate func(error) bool is known to be true for an error after
// which the server may have carried out the request.
func acceptsAmbiguous(p *code.Package, predicate ast.Expr) bool {
	switch e := ast.Unparen(predicate).(type) {
	case *ast.SelectorExpr:
		if fn, ok := p.Info.ObjectOf(e.Sel).(*types.Func); ok && isAmbiguous(fn) {
			return true
		}
	}
	_, body := p.FuncOf(predicate)
	if body == nil {
		return false
	}
	if len(body.List) == 1 {
		if ret, ok := body.List[0].(*ast.ReturnStmt); ok && len(ret.Results) == 1 && acceptsMost(p, ret.Results[0]) {
			return true
		}
	}
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.UnaryExpr:
			return n.Op != token.NOT
		case *ast.CallExpr:
			found = found || isAmbiguous(p.Callee(n))
		}
		return true
	})
	return found
}

// acceptsMost reports whether a condition on an error is true for every error, or for all but a few known ones.
func acceptsMost(p *code.Package, e ast.Expr) bool {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return e.Name == "true" && p.Info.ObjectOf(e) == types.Universe.Lookup("true")
	case *ast.BinaryExpr:
		switch e.Op {
		case token.NEQ:
			return isNil(e.Y) && isError(p.Info.TypeOf(e.X))
		case token.LAND:
			return acceptsMost(p, e.X) && acceptsMost(p, e.Y)
		case token.LOR:
			return acceptsMost(p, e.X) || acceptsMost(p, e.Y)
		default:
		}
	case *ast.UnaryExpr:
		if call, ok := ast.Unparen(e.X).(*ast.CallExpr); ok && e.Op == token.NOT {
			fn := p.Callee(call)
			return fn != nil && fn.Pkg() != nil && code.Path(fn.Pkg()) == code.PathErrors && !isAmbiguous(fn)
		}
	}
	return false
}

func isNil(e ast.Expr) bool {
	id, ok := ast.Unparen(e).(*ast.Ident)
	return ok && id.Name == "nil"
}

// retriesAmbiguous reports whether the retry is known to call its function again after an error of the call
// from which it cannot be told whether the server has carried out the request.
func retriesAmbiguous(p *code.Package, r *code.Retry, call *code.Call) bool {
	err := errOf(p, call.Expr)
	switch r.Library {
	case code.ClientGo:
		return r.Callee.Name() == "OnError" && len(r.Options) == 2 && acceptsAmbiguous(p, r.Options[1]) && returnsError(p, r, call, err)
	case code.Wait, code.Poll:
		return err != nil && continuesAfter(p, r.Body, call, err)
	case code.Cenkalti:
		return !mentions(p, r.Body, "Permanent") && returnsError(p, r, call, err)
	case code.Avast:
		for _, option := range avastOptions(r) {
			if o, ok := ast.Unparen(option).(*ast.CallExpr); ok && len(o.Args) == 1 && nameOf(o.Fun) == "RetryIf" {
				return acceptsAmbiguous(p, o.Args[0]) && returnsError(p, r, call, err)
			}
		}
		return !mentions(p, r.Body, "Unrecoverable") && returnsError(p, r, call, err)
	case code.Sethvargo:
		return err != nil && marksAll(p, r.Body, call, err)
	default:
		return false
	}
}

// avastOptions are the options of a retry of avast/retry-go: those of the call, or of the New before it.
func avastOptions(r *code.Retry) []ast.Expr {
	options := r.Options
	if sel, ok := ast.Unparen(r.Expr.Fun).(*ast.SelectorExpr); ok {
		if made, ok := ast.Unparen(sel.X).(*ast.CallExpr); ok {
			options = append(append([]ast.Expr{}, options...), made.Args...)
		}
	}
	return options
}

// nameOf is the last name of a function, such as RetryIf of retry.RetryIf.
func nameOf(fun ast.Expr) string {
	switch f := ast.Unparen(fun).(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	case *ast.IndexExpr:
		return nameOf(f.X)
	}
	return ""
}

// mentions reports whether a name of one of the libraries is used in n.
func mentions(p *code.Package, n ast.Node, name string) bool {
	found := false
	ast.Inspect(n, func(m ast.Node) bool {
		if id, ok := m.(*ast.Ident); ok && id.Name == name {
			if obj := p.Info.ObjectOf(id); obj != nil && obj.Pkg() != nil {
				_, ok := code.LibraryOf(obj.Pkg())
				found = found || ok
			}
		}
		return !found
	})
	return found
}

// returnsError reports whether the function returns the error of the call as it is or wrapped: the
// call is in a return statement, or its error is returned.
func returnsError(p *code.Package, r *code.Retry, call *code.Call, err types.Object) bool {
	if _, ok := p.Parent(call.Expr).(*ast.ReturnStmt); ok {
		return true
	}
	if err == nil {
		return false
	}
	found := false
	ast.Inspect(r.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			if n.Pos() > call.Expr.Pos() && len(n.Results) > 0 && uses(p, n.Results[len(n.Results)-1], err) {
				found = true
			}
		}
		return true
	})
	return found
}

// errorBranch is the first if statement behind the call that is entered for every error of it.
func errorBranch(p *code.Package, body *ast.BlockStmt, call *code.Call, err types.Object) *ast.IfStmt {
	var found *ast.IfStmt
	ast.Inspect(body, func(n ast.Node) bool {
		branch, ok := n.(*ast.IfStmt)
		if !ok || found != nil {
			return found == nil
		}
		if branch.Cond.Pos() < call.Expr.Pos() {
			return true
		}
		if cond, ok := ast.Unparen(branch.Cond).(*ast.BinaryExpr); ok && cond.Op == token.NEQ && isNil(cond.Y) && p.ObjectOf(cond.X) == err {
			found = branch
			return false
		}
		return true
	})
	return found
}

// continuesAfter reports whether a condition function answers every error of the call by false, nil.
func continuesAfter(p *code.Package, body *ast.BlockStmt, call *code.Call, err types.Object) bool {
	branch := errorBranch(p, body, call, err)
	if branch == nil {
		return false
	}
	return continues(branch.Body)
}

// continues reports whether what the block returns at its end, or everything it returns, is false, nil.
func continues(block *ast.BlockStmt) bool {
	if len(block.List) == 0 {
		return false
	}
	ret, ok := block.List[len(block.List)-1].(*ast.ReturnStmt)
	if !ok || len(ret.Results) != 2 || !isNil(ret.Results[1]) {
		return false
	}
	id, ok := ast.Unparen(ret.Results[0]).(*ast.Ident)
	return ok && id.Name == "false"
}

// marksAll reports whether every error of the call is wrapped by RetryableError of sethvargo/go-retry.
func marksAll(p *code.Package, body *ast.BlockStmt, call *code.Call, err types.Object) bool {
	branch := errorBranch(p, body, call, err)
	if branch == nil || len(branch.Body.List) == 0 {
		return false
	}
	ret, ok := branch.Body.List[len(branch.Body.List)-1].(*ast.ReturnStmt)
	return ok && len(ret.Results) > 0 && mentions(p, ret.Results[len(ret.Results)-1], "RetryableError")
}
