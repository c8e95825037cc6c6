// SPDX-License-Identifier: Apache-2.0

package k8sretrylint

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

var transportRetry = check("transportretry", "report retries around a client whose config has a Transport", func(pass *analysis.Pass, p *code.Package) {
	tainted := transports(p)
	if len(tainted.all) == 0 {
		return
	}
	for _, r := range p.Retries {
		if r.Body == nil || r.Library == code.K8sretry || r.Callee.Name() == "RetryOnConflict" {
			continue // a Do and a Transport work together, and a Transport does not repeat conflicts
		}
		for _, call := range p.Calls(r.Body) {
			if !call.Direct || call.Recv == nil || r.Library == code.Poll && !repeatsErrors(p, r, call) {
				continue
			}
			if v := firstVar(p, call.Recv); v != nil && tainted.all[v] {
				pass.Reportf(call.At.Pos(), "%s around a client with a k8sretry.Transport: the Transport has repeated the request before this retry sees the error, so that the attempts multiply; remove one of them", r.Name)
				break
			}
		}
	}
})

func repeatsErrors(p *code.Package, r *code.Retry, call code.Reached) bool {
	err := errOf(p, call.Expr)
	return err != nil && continuesAfter(p, r.Body, call.Call, err)
}

// firstVar is the variable or field that a chain of calls begins with: clientset of clientset.CoreV1().Pods(ns).
func firstVar(p *code.Package, e ast.Expr) types.Object {
	for {
		switch x := ast.Unparen(e).(type) {
		case *ast.CallExpr:
			e = x.Fun
		case *ast.SelectorExpr:
			if v, ok := p.Info.ObjectOf(x.Sel).(*types.Var); ok {
				return v
			}
			e = x.X
		case *ast.Ident:
			v, _ := p.Info.ObjectOf(x).(*types.Var)
			if v == nil {
				return nil
			}
			return v
		default:
			return nil
		}
	}
}

// withTransport are the configs and clients of the package that have a Transport of k8sretry.
type withTransport struct {
	all    map[types.Object]bool
	leases map[types.Object]bool // those whose Transport includes leases
}

// transports follows configs to the clients that are made of them.
func transports(p *code.Package) withTransport {
	t := withTransport{map[types.Object]bool{}, map[types.Object]bool{}}
	mark := func(obj types.Object, leases bool) bool {
		if obj == nil || t.all[obj] && (t.leases[obj] || !leases) {
			return false
		}
		t.all[obj] = true
		if leases {
			t.leases[obj] = true
		}
		return true
	}
	// config.Wrap(k8sretry.Transport(...)), config.WrapTransport = k8sretry.Transport(...)
	for _, file := range p.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				sel, ok := ast.Unparen(n.Fun).(*ast.SelectorExpr)
				if ok && sel.Sel.Name == "Wrap" && len(n.Args) == 1 && code.IsNamed(p.Info.TypeOf(sel.X), "k8s.io/client-go/rest", "Config") {
					if is, leases := isTransport(p, n.Args[0]); is {
						mark(firstVar(p, sel.X), leases)
					}
				}
			case *ast.AssignStmt:
				if len(n.Lhs) != 1 || len(n.Rhs) != 1 {
					return true
				}
				if sel, ok := ast.Unparen(n.Lhs[0]).(*ast.SelectorExpr); ok && sel.Sel.Name == "WrapTransport" {
					if is, leases := isTransport(p, n.Rhs[0]); is {
						mark(firstVar(p, sel.X), leases)
					}
				}
			}
			return true
		})
	}
	if len(t.all) == 0 {
		return t
	}
	// clientset, err := kubernetes.NewForConfig(config), and copies of either.
	for changed := true; changed; {
		changed = false
		for _, file := range p.Files {
			ast.Inspect(file, func(n ast.Node) bool {
				assign, ok := n.(*ast.AssignStmt)
				if !ok || len(assign.Rhs) != 1 {
					return true
				}
				var from types.Object
				switch rhs := ast.Unparen(assign.Rhs[0]).(type) {
				case *ast.CallExpr:
					for _, arg := range rhs.Args {
						if v := firstVar(p, arg); v != nil && t.all[v] && madeLater(p, rhs, v, assign) {
							from = v
						}
					}
				case *ast.Ident, *ast.SelectorExpr:
					from = firstVar(p, rhs)
				}
				if from != nil && t.all[from] && mark(firstVar(p, assign.Lhs[0]), t.leases[from]) {
					changed = true
				}
				return true
			})
		}
	}
	return t
}

// madeLater reports whether the call makes a client or a copy of the config behind the place where it got its Transport.
func madeLater(p *code.Package, call *ast.CallExpr, config types.Object, assign *ast.AssignStmt) bool {
	_, body := p.EnclosingFunc(assign)
	if body == nil {
		return true
	}
	later := true
	ast.Inspect(body, func(n ast.Node) bool {
		wrap, ok := n.(*ast.CallExpr)
		if ok && wrap.Pos() > call.Pos() {
			if sel, ok := ast.Unparen(wrap.Fun).(*ast.SelectorExpr); ok && sel.Sel.Name == "Wrap" && firstVar(p, sel.X) == config {
				later = false
			}
		}
		return later
	})
	return later
}

// isTransport reports whether the expression is k8sretry.Transport(...), and whether it includes leases.
func isTransport(p *code.Package, e ast.Expr) (is, leases bool) {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok || !code.IsFunc(p.Callee(call), code.PathK8sretry, "Transport") {
		return false, false
	}
	options, _ := optionsOf(p, call, call.Args)
	return true, has(options, "IncludeLeases") != nil
}
