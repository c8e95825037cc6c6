// SPDX-License-Identifier: Apache-2.0

package k8sretrylint

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"

	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

var sleepLoop = check("sleeploop", "report loops that repeat an API call after time.Sleep", func(pass *analysis.Pass, p *code.Package) {
	for _, file := range p.Files {
		if isTest(pass, file) {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			loop := loopBody(p, n)
			if loop == nil {
				return true
			}
			sleep := sleepIn(p, loop)
			if sleep == nil || !exits(p, n) || watchesEnd(p, loop) || inBackground(p, n) {
				return true
			}
			for _, call := range p.Calls(loop) {
				if call.Client == code.Cache || !inLoop(p, loop, call.At) || dependsOn(p, n, call.At) {
					continue
				}
				what := call.Name()
				if !call.Direct {
					what = nameOf(call.At.Fun)
				}
				pass.Reportf(sleep.Pos(), "time.Sleep between repetitions of %s, which calls the Kubernetes API: the wait does not end when a context does, such as at a shutdown, "+
					"and does not grow while the server is overloaded; use k8sretry.Do, or wait.PollUntilContextTimeout for a condition", what)
				return true
			}
			return true
		})
	}
})

// loopBody is the body of a loop that may repeat something: any for, and a range over a number.
func loopBody(p *code.Package, n ast.Node) *ast.BlockStmt {
	switch n := n.(type) {
	case *ast.ForStmt:
		return n.Body
	case *ast.RangeStmt:
		ranged := p.Info.TypeOf(n.X)
		if ranged == nil {
			return nil
		}
		if t, ok := ranged.Underlying().(*types.Basic); ok && t.Info()&types.IsInteger != 0 {
			return n.Body
		}
	}
	return nil
}

// sleepIn is a time.Sleep of the loop itself, not of a function or a loop in it.
func sleepIn(p *code.Package, body *ast.BlockStmt) (found *ast.CallExpr) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit, *ast.ForStmt, *ast.RangeStmt:
			return false
		case *ast.CallExpr:
			if code.IsFunc(p.Callee(n), "time", "Sleep") {
				found = n
			}
		}
		return true
	})
	return found
}

// inLoop reports whether a call is made by the loop itself.
func inLoop(p *code.Package, loop *ast.BlockStmt, call ast.Node) bool {
	for n := p.Parent(call); n != nil && n != ast.Node(loop); n = p.Parent(n) {
		switch n.(type) {
		case *ast.FuncLit, *ast.ForStmt, *ast.RangeStmt:
			return false
		}
	}
	return true
}

// isCount reports whether the condition of a loop looks at nothing but the variables that its head declares and at numbers.
func isCount(p *code.Package, loop *ast.ForStmt) bool {
	if loop.Init == nil {
		return false
	}
	count := true
	ast.Inspect(loop.Cond, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			count = false
		case *ast.Ident:
			if v, ok := p.Info.ObjectOf(n).(*types.Var); ok && !code.DeclaredIn(v, loop.Init) && p.Value(v) == nil && len(p.Values(v)) > 0 {
				count = false
			}
		}
		return count
	})
	return count
}

// exits reports whether a round decides that the loop ends. A loop without end, or one with a number of rounds, does its
// work again and again, and does not retry.
func exits(p *code.Package, loop ast.Node) bool {
	var body *ast.BlockStmt
	switch loop := loop.(type) {
	case *ast.RangeStmt:
		body = loop.Body
	case *ast.ForStmt:
		if loop.Cond != nil && !isCount(p, loop) {
			return true
		}
		body = loop.Body
	}
	found := false
	var visit func(n ast.Node, breaks bool)
	visit = func(n ast.Node, breaks bool) {
		ast.Inspect(n, func(m ast.Node) bool {
			switch m := m.(type) {
			case *ast.FuncLit:
				return false
			case *ast.ReturnStmt:
				found = true
			case *ast.BranchStmt:
				if m.Tok == token.GOTO || m.Tok == token.BREAK && (breaks || m.Label != nil) {
					found = true
				}
			case *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt, *ast.SelectStmt, *ast.TypeSwitchStmt:
				if m != n && breaks {
					visit(m, false)
					return false
				}
			}
			return !found
		})
	}
	visit(body, true)
	return found
}

// inBackground reports whether the loop is that of a goroutine: its work is done again and again, and no caller waits for it.
func inBackground(p *code.Package, loop ast.Node) bool {
	lit, ok := enclosingLit(p, loop)
	if !ok {
		return false
	}
	call, ok := p.Parent(lit).(*ast.CallExpr)
	if !ok {
		return false
	}
	_, ok = p.Parent(call).(*ast.GoStmt)
	return ok
}

func enclosingLit(p *code.Package, n ast.Node) (*ast.FuncLit, bool) {
	f, _ := p.EnclosingFunc(n)
	lit, ok := f.(*ast.FuncLit)
	return lit, ok
}

// watchesEnd reports whether the loop looks at a channel or the error of a context.
func watchesEnd(p *code.Package, body *ast.BlockStmt) bool {
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.UnaryExpr:
			found = found || n.Op == token.ARROW
		case *ast.SelectorExpr:
			if (n.Sel.Name == "Err" || n.Sel.Name == "Done") && code.IsContext(p.Info.TypeOf(n.X)) {
				found = true
			}
		}
		return !found
	})
	return found
}

// usesDeclaredIn reports whether a variable of the block is used in n.
func usesDeclaredIn(p *code.Package, n ast.Node, block *ast.BlockStmt) bool {
	found := false
	ast.Inspect(n, func(m ast.Node) bool {
		if id, ok := m.(*ast.Ident); ok {
			v, ok := p.Info.ObjectOf(id).(*types.Var)
			found = found || ok && !v.IsField() && code.DeclaredIn(v, block)
		}
		return !found
	})
	return found
}

// dependsOn reports whether the call differs from one round to the next: it uses a variable of the loop.
func dependsOn(p *code.Package, loop, call ast.Node) bool {
	var head []ast.Node
	switch loop := loop.(type) {
	case *ast.ForStmt:
		if loop.Init != nil {
			head = append(head, loop.Init)
		}
		if loop.Post != nil {
			head = append(head, loop.Post)
		}
	case *ast.RangeStmt:
		if loop.Key != nil {
			head = append(head, loop.Key)
		}
	}
	var changing []types.Object
	for _, part := range head {
		ast.Inspect(part, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				if v, ok := p.Info.ObjectOf(id).(*types.Var); ok {
					changing = append(changing, v)
				}
			}
			return true
		})
	}
	usesOne := func(n ast.Node) bool {
		return slices.ContainsFunc(changing, func(obj types.Object) bool { return uses(p, n, obj) })
	}
	// Those that the body changes to something of their own or of this round: queue = queue[1:], opts.Continue = list.Continue.
	body := loopBody(p, loop)
	ast.Inspect(body, func(n ast.Node) bool {
		assign, ok := n.(*ast.AssignStmt)
		if !ok || assign.Tok == token.DEFINE || len(assign.Lhs) != len(assign.Rhs) {
			return true
		}
		for i, lhs := range assign.Lhs {
			id := root(lhs)
			if id == nil || len(p.Calls(assign.Rhs[i])) > 0 {
				continue
			}
			v, ok := p.Info.ObjectOf(id).(*types.Var)
			// An object whose field is changed is still the same one.
			whole := p.ObjectOf(lhs) != nil && uses(p, assign.Rhs[i], v)
			if ok && !isError(v.Type()) && !code.DeclaredIn(v, body) && (whole || usesDeclaredIn(p, assign.Rhs[i], body)) {
				changing = append(changing, v)
			}
		}
		return true
	})
	// And what is made of them.
	ast.Inspect(loop, func(n ast.Node) bool {
		if assign, ok := n.(*ast.AssignStmt); ok && assign.Tok == token.DEFINE && usesOne(assign) {
			for _, lhs := range assign.Lhs {
				if obj := p.ObjectOf(lhs); obj != nil && !isError(obj.Type()) {
					changing = append(changing, obj)
				}
			}
		}
		return true
	})
	return usesOne(call)
}
