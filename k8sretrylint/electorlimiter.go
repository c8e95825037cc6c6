// SPDX-License-Identifier: Apache-2.0

package k8sretrylint

import (
	"go/ast"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

const pathLock = "k8s.io/client-go/tools/leaderelection/resourcelock"

var electorLimiter = check("electorlimiter", "report a leader election whose client shares its rate limiter with other work", func(pass *analysis.Pass, p *code.Package) {
	tainted := transports(p)
	for _, file := range p.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			var client ast.Expr
			switch n := n.(type) {
			case *ast.CompositeLit:
				if !code.IsNamed(p.Info.TypeOf(n), pathLock, "LeaseLock") {
					return true
				}
				for _, element := range n.Elts {
					if kv, ok := element.(*ast.KeyValueExpr); ok && nameOf(kv.Key) == "Client" {
						client = kv.Value
					}
				}
			case *ast.CallExpr:
				if !code.IsFunc(p.Callee(n), pathLock, "New") || len(n.Args) < 5 {
					return true
				}
				client = n.Args[4]
			default:
				return true
			}
			clientset := clientsetOf(client)
			if clientset == nil {
				return true
			}
			v, ok := p.Info.ObjectOf(clientset).(*types.Var)
			decl := p.OutermostFunc(n)
			if !ok || decl == nil {
				return true
			}
			if tainted.leases[v] {
				pass.Reportf(client.Pos(), "the client of the leader election has a Transport with IncludeLeases: its retries and its Limiter delay renewals, and the lease is lost while the server is overloaded; "+
					"give the elector a client of its own without it")
				return true
			}
			if work := otherWork(p, decl, v, n); work != nil && !unlimited(p, decl) {
				pass.Reportf(client.Pos(), "the client of the leader election is also used for other work (line %d): both share its rate limiter, and while the work uses it up renewals wait, so that the lease may be lost; "+
					"make a clientset of its own for the elector", pass.Fset.Position(work.Pos()).Line)
			}
			return true
		})
	}
})

// clientsetOf is the variable in clientset.CoordinationV1().
func clientsetOf(client ast.Expr) *ast.Ident {
	if client == nil {
		return nil
	}
	call, ok := ast.Unparen(client).(*ast.CallExpr)
	if !ok {
		return nil
	}
	sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
	if !ok || !strings.HasPrefix(sel.Sel.Name, "Coordination") {
		return nil
	}
	id, _ := ast.Unparen(sel.X).(*ast.Ident)
	return id
}

// otherWork finds a use of the clientset in the function that is neither the lock nor events.
func otherWork(p *code.Package, decl *ast.FuncDecl, v *types.Var, lock ast.Node) (found ast.Node) {
	ast.Inspect(decl, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok || found != nil || p.Info.Uses[id] != v || code.Contains(lock, id) {
			return found == nil
		}
		switch parent := p.Parent(id).(type) {
		case *ast.CallExpr: // informers.NewSharedInformerFactory(clientset, ...)
			if parent.Fun != ast.Expr(id) && !isElection(p, parent) {
				found = id
			}
		case *ast.KeyValueExpr: // Controller{client: clientset}
			if parent.Value == ast.Expr(id) {
				found = id
			}
		case *ast.SelectorExpr: // clientset.CoreV1().Pods("").List(...)
			call, ok := p.Parent(parent).(*ast.CallExpr)
			if !ok {
				return true
			}
			if next, ok := p.Parent(call).(*ast.SelectorExpr); ok && next.Sel.Name != "Events" && next.Sel.Name != "RESTClient" {
				found = id
			}
		}
		return found == nil
	})
	return found
}

// isElection reports whether the call is one that makes a lock or an elector, or events.
func isElection(p *code.Package, call *ast.CallExpr) bool {
	name := strings.ToLower(nameOf(call.Fun))
	fn := p.Callee(call)
	return fn != nil && fn.Pkg() != nil && strings.Contains(fn.Pkg().Path(), "leaderelection") ||
		strings.Contains(name, "leader") || strings.Contains(name, "lock") || strings.Contains(name, "event") || strings.Contains(name, "record")
}

// unlimited reports whether the function switches the rate limiter of a config off.
func unlimited(p *code.Package, decl *ast.FuncDecl) bool {
	found := false
	ast.Inspect(decl, func(n ast.Node) bool {
		if assign, ok := n.(*ast.AssignStmt); ok && len(assign.Lhs) == 1 && nameOf(assign.Lhs[0]) == "QPS" {
			if tv := p.Info.Types[assign.Rhs[0]]; tv.Value != nil && strings.HasPrefix(tv.Value.ExactString(), "-") {
				found = true
			}
		}
		return !found
	})
	return found
}
