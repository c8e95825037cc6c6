// SPDX-License-Identifier: Apache-2.0

package k8sretrylint

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

var conflictRead = check("conflictread", "report RetryOnConflict around an update of an object that is not read again, or is read from a cache", func(pass *analysis.Pass, p *code.Package) {
	for _, r := range p.Retries {
		if r.Library != code.ClientGo || r.Body == nil || !retriesConflicts(p, r) {
			continue
		}
		calls := p.Calls(r.Body)
		for _, call := range calls {
			if !call.Direct || call.Verb != code.Update || call.Obj == nil || call.Client == code.Helper {
				continue
			}
			u := updated{p: p, body: r.Body, calls: calls, write: call.Call}
			switch source, read := u.source(call.Obj, 0); source {
			case unknown:
			case notRead:
				pass.Reportf(call.At.Pos(), "%s does not read %s again: after a Conflict every retry sends the same resourceVersion and fails in the same way; "+
					"read the object inside the function, or use k8sretry.Modify", r.Name, types.ExprString(call.Obj))
			case fromLister:
				pass.Reportf(read.Pos(), "%s reads from a lister: after a Conflict the cache may not have the new version for a while, so that the retries fail in the same way; "+
					"read from the API, or use k8sretry.Modify", r.Name)
			case fromManager:
				pass.Reportf(read.Pos(), "%s reads with the client of the manager, which reads from its cache by default: after a Conflict the cache may not have the new version for a while, "+
					"so that the retries fail in the same way; read with an APIReader, or use k8sretryctrl.Modify", r.Name)
			}
		}
	}
})

func retriesConflicts(p *code.Package, r *code.Retry) bool {
	if r.Callee.Name() == "RetryOnConflict" {
		return true
	}
	if len(r.Options) != 2 {
		return false
	}
	sel, ok := ast.Unparen(r.Options[1]).(*ast.SelectorExpr)
	if !ok {
		return false
	}
	fn, _ := p.Info.ObjectOf(sel.Sel).(*types.Func)
	return code.IsFunc(fn, code.PathErrors, "IsConflict")
}

// updated is an update in a repeated function.
type updated struct {
	p     *code.Package
	body  *ast.BlockStmt
	calls []code.Reached
	write *code.Call
}

type source int

const (
	unknown     source = iota
	notRead            // declared outside of the function, and not read again in it
	fromLister         // read in the function, from a lister
	fromManager        // read in the function, with a client that is likely to read from a cache
)

// source finds out where the object comes from that an update sends.
func (u *updated) source(obj ast.Expr, depth int) (source, ast.Node) {
	if depth > 4 || u.touchesVersion() {
		return unknown, nil
	}
	obj = ast.Unparen(obj)
	if call, ok := obj.(*ast.CallExpr); ok {
		if c := u.p.APICall(call); c != nil && c.Client == code.Cache {
			return fromLister, call
		}
		if sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr); ok && (sel.Sel.Name == "DeepCopy" || sel.Sel.Name == "DeepCopyObject") && len(call.Args) == 0 {
			return u.source(sel.X, depth+1)
		}
		return unknown, nil
	}
	if assertion, ok := obj.(*ast.TypeAssertExpr); ok {
		return u.source(assertion.X, depth+1)
	}
	if unary, ok := obj.(*ast.UnaryExpr); ok && unary.Op == token.AND {
		obj = ast.Unparen(unary.X)
	}
	id := root(obj)
	if id == nil {
		return unknown, nil
	}
	v, ok := u.p.Info.ObjectOf(id).(*types.Var)
	if !ok {
		return unknown, nil
	}
	if _, isIdent := obj.(*ast.Ident); !isIdent {
		if _, isSelector := obj.(*ast.SelectorExpr); !isSelector || code.DeclaredIn(v, u.body) {
			return unknown, nil
		}
	}
	// A read into the object, by a client of controller-runtime.
	for _, c := range u.calls {
		if !c.Direct || c.Client != code.Runtime || !c.Verb.Reads() || len(c.Args) < 3 || !u.same(c.Args[2], obj, v) {
			continue
		}
		if c.At.Pos() < u.write.Expr.Pos() && isManagersClient(u.p, c.Recv) && !u.otherReads(c.Call) {
			return fromManager, c.At
		}
		return unknown, nil
	}
	if code.DeclaredIn(v, u.body) {
		value := u.p.Value(v)
		if value == nil {
			return unknown, nil
		}
		from, read := u.source(value, depth+1)
		if from == fromLister && u.liveReads() {
			return unknown, nil
		}
		return from, read
	}
	if u.liveReads() || u.mayBeRefreshed(obj, v) || u.isNew(v) {
		return unknown, nil
	}
	return notRead, nil
}

// touchesVersion reports whether the function does something with a resource version.
func (u *updated) touchesVersion() bool {
	found := false
	ast.Inspect(u.body, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && strings.HasSuffix(id.Name, "ResourceVersion") {
			found = true
		}
		return !found
	})
	return found
}

// liveReads reports whether the function reads anything from the API.
func (u *updated) liveReads() bool { return u.otherReads(nil) }

func (u *updated) otherReads(but *code.Call) bool {
	for _, c := range u.calls {
		if c.Call != but && c.Client != code.Cache && (c.Verb.Reads() || c.Verb == code.Unknown || c.Client == code.Helper) {
			return true
		}
	}
	return false
}

// same reports whether an argument is the object or its address.
func (u *updated) same(arg, obj ast.Expr, v *types.Var) bool {
	arg = ast.Unparen(arg)
	if unary, ok := arg.(*ast.UnaryExpr); ok && unary.Op == token.AND {
		arg = ast.Unparen(unary.X)
	}
	if id, ok := arg.(*ast.Ident); ok {
		return u.p.Info.ObjectOf(id) == v
	}
	return types.ExprString(arg) == types.ExprString(obj)
}

// mayBeRefreshed reports whether the function assigns the object, or hands it to a function that may read it.
func (u *updated) mayBeRefreshed(obj ast.Expr, v *types.Var) bool {
	_, isIdent := obj.(*ast.Ident)
	text := types.ExprString(obj)
	found := false
	ast.Inspect(u.body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, lhs := range n.Lhs {
				lhs = ast.Unparen(lhs)
				if star, ok := lhs.(*ast.StarExpr); ok {
					lhs = ast.Unparen(star.X)
				}
				id, _ := lhs.(*ast.Ident)
				if (id != nil && u.p.Info.ObjectOf(id) == v || types.ExprString(lhs) == text) && !u.isWrite(n.Rhs) {
					found = true
				}
			}
		case *ast.CallExpr:
			if n == u.write.Expr || u.p.APICall(n) != nil {
				return true
			}
			fn := u.p.Callee(n)
			for _, arg := range n.Args {
				if id, ok := ast.Unparen(arg).(*ast.Ident); (u.same(arg, obj, v) || ok && u.p.Info.ObjectOf(id) == v) && !u.readsNothing(fn, n) {
					found = true
				}
			}
			if sel, ok := ast.Unparen(n.Fun).(*ast.SelectorExpr); ok {
				if id := root(sel.X); id != nil && u.p.Info.ObjectOf(id) == v && fn != nil {
					if isIdent && u.p.IsLocal(fn) && len(u.p.Calls(u.p.Decl(fn).Body)) > 0 {
						found = true
					}
					// A method of what has the object: it may replace it.
					if !isIdent && u.p.Info.ObjectOf(id) == v && types.ExprString(sel.X) != text && !strings.HasPrefix(types.ExprString(sel.X), text+".") && !u.readsNothing(fn, n) {
						found = true
					}
				}
			}
		}
		return !found
	})
	return found
}

func (u *updated) isWrite(values []ast.Expr) bool {
	return len(values) == 1 && ast.Unparen(values[0]) == u.write.Expr
}

// readsNothing reports whether a function is known to make no call of the API.
func (u *updated) readsNothing(fn *types.Func, call *ast.CallExpr) bool {
	if fn == nil || fn.Pkg() == nil {
		if id, ok := ast.Unparen(call.Fun).(*ast.Ident); ok {
			if _, builtin := u.p.Info.ObjectOf(id).(*types.Builtin); builtin {
				return true
			}
		}
		tv, ok := u.p.Info.Types[call.Fun]
		return ok && tv.IsType() // a conversion
	}
	if u.p.IsLocal(fn) {
		if u.p.Decl(fn).Body == nil {
			return false
		}
		for i := range fn.Signature().Params().Len() {
			if code.IsContext(fn.Signature().Params().At(i).Type()) {
				return false
			}
		}
		return len(u.p.Calls(u.p.Decl(fn).Body)) == 0 && fn.Signature().Recv() == nil
	}
	path := code.Path(fn.Pkg())
	first, _, _ := strings.Cut(path, "/")
	if !strings.Contains(first, ".") {
		return true // the standard library
	}
	for _, prefix := range []string{
		"k8s.io/apimachinery/", "k8s.io/klog", "k8s.io/utils", "github.com/go-logr/", "github.com/sirupsen/logrus", "go.uber.org/zap",
		"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil", "sigs.k8s.io/controller-runtime/pkg/log",
	} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// isNew reports whether the variable has been made in the function around, so that it may have no resource version.
func (u *updated) isNew(v *types.Var) bool {
	values := u.p.Values(v)
	for _, value := range values {
		if value == nil {
			continue
		}
		value = ast.Unparen(value)
		if unary, ok := value.(*ast.UnaryExpr); ok {
			value = ast.Unparen(unary.X)
		}
		switch value := value.(type) {
		case *ast.CompositeLit:
			// var pod corev1.Pod{}; client.Get(ctx, key, &pod) fills it.
			if !u.isReadInto(v) {
				return true
			}
		case *ast.CallExpr:
			if c := u.p.APICall(value); c == nil {
				fn := u.p.Callee(value)
				if fn == nil || !strings.HasPrefix(fn.Name(), "DeepCopy") {
					return true // who knows what that function returns
				}
			}
		}
	}
	return false
}

// isReadInto reports whether a client of controller-runtime reads into the variable anywhere.
func (u *updated) isReadInto(v *types.Var) bool {
	decl := u.p.OutermostFunc(u.write.Expr)
	if decl == nil {
		return false
	}
	for _, c := range u.p.Calls(decl.Body) {
		if c.Client == code.Runtime && c.Verb == code.Get && len(c.Args) > 2 {
			if id := root(c.Args[2]); id != nil && u.p.Info.ObjectOf(id) == v {
				return true
			}
		}
	}
	return false
}

// isManagersClient reports whether the client is the field of type client.Client of a reconciler. By
// convention that is the client of the manager.
func isManagersClient(p *code.Package, recv ast.Expr) bool {
	recv = ast.Unparen(recv)
	if sel, ok := recv.(*ast.SelectorExpr); ok {
		if sel.Sel.Name != "Client" && sel.Sel.Name != "client" || !code.IsNamed(p.Info.TypeOf(sel), "sigs.k8s.io/controller-runtime/pkg/client", "Client") {
			return false
		}
		recv = ast.Unparen(sel.X)
	}
	t := p.Info.TypeOf(recv)
	if t == nil {
		return false
	}
	method, _, _ := types.LookupFieldOrMethod(t, true, p.Types, "Reconcile")
	fn, ok := method.(*types.Func)
	if !ok {
		return false
	}
	params := fn.Signature().Params()
	return params.Len() == 2 && code.IsNamed(params.At(1).Type(), "sigs.k8s.io/controller-runtime/pkg/reconcile", "Request")
}
