// SPDX-License-Identifier: Apache-2.0

// Package code finds calls of the Kubernetes API, and functions that repeat calls, in a package.
package code

import (
	"go/ast"
	"go/token"
	"go/types"
	"reflect"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"
)

// Analyzer collects what the checks have in common. Its result is a *Package.
var Analyzer = &analysis.Analyzer{
	Name:       "k8scalls",
	Doc:        "find the calls of the Kubernetes API and the functions that repeat calls",
	Run:        run,
	ResultType: reflect.TypeFor[*Package](),
}

// Package is what is known about a package.
type Package struct {
	Info  *types.Info
	Types *types.Package
	Files []*ast.File
	// Retries are the calls of functions that repeat calls, in the order of the files.
	Retries []*Retry
	// UsesKubernetes reports whether the package calls the API, or repeats calls, at all.
	UsesKubernetes bool

	funcs    map[*types.Func]*ast.FuncDecl
	literals map[*types.Var]*ast.FuncLit // variables that are assigned once, a function literal
	assigned map[types.Object][]ast.Expr // what is assigned to a variable; nil where it is not one expression
	parents  map[ast.Node]ast.Node
	reached  map[*types.Func][]Reached
}

func run(pass *analysis.Pass) (any, error) {
	p := &Package{
		Info: pass.TypesInfo, Types: pass.Pkg, Files: pass.Files,
		funcs: map[*types.Func]*ast.FuncDecl{}, literals: map[*types.Var]*ast.FuncLit{}, assigned: map[types.Object][]ast.Expr{},
		parents: map[ast.Node]ast.Node{}, reached: map[*types.Func][]Reached{},
	}
	relevant := false
	for _, imported := range pass.Pkg.Imports() {
		if _, ok := LibraryOf(imported); ok || usesAPI(Path(imported)) {
			relevant = true
		}
	}
	if !relevant {
		return p, nil
	}
	p.UsesKubernetes = true
	for _, file := range pass.Files {
		p.index(file)
	}
	for _, file := range pass.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if r := p.RetryCall(call); r != nil {
					p.Retries = append(p.Retries, r)
				}
			}
			return true
		})
	}
	return p, nil
}

func usesAPI(path string) bool {
	return path == pathMeta || path == pathRest || path == pathRuntime || path == pathCtrlutil || path == PathErrors || path == pathToolCache ||
		path == "k8s.io/client-go/kubernetes" || path == "k8s.io/client-go/dynamic"
}

// index remembers functions, parents and assignments of a file.
func (p *Package) index(file *ast.File) {
	var stack []ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		if len(stack) > 0 {
			p.parents[n] = stack[len(stack)-1]
		}
		stack = append(stack, n)
		switch n := n.(type) {
		case *ast.FuncDecl:
			if fn, ok := p.Info.Defs[n.Name].(*types.Func); ok {
				p.funcs[fn] = n
			}
		case *ast.AssignStmt:
			for i, lhs := range n.Lhs {
				obj := p.ObjectOf(lhs)
				if obj == nil {
					continue
				}
				var value ast.Expr
				switch {
				case len(n.Rhs) == len(n.Lhs) && (n.Tok == token.ASSIGN || n.Tok == token.DEFINE):
					value = n.Rhs[i]
				case len(n.Rhs) == 1 && i == 0:
					value = n.Rhs[0] // the first result of a call, or the value of a map or assertion
				}
				p.assigned[obj] = append(p.assigned[obj], value)
			}
		case *ast.ValueSpec:
			for i, name := range n.Names {
				obj := p.Info.Defs[name]
				switch {
				case obj == nil || len(n.Values) == 0:
				case len(n.Values) == len(n.Names):
					p.assigned[obj] = append(p.assigned[obj], n.Values[i])
				case i == 0:
					p.assigned[obj] = append(p.assigned[obj], n.Values[0])
				default:
					p.assigned[obj] = append(p.assigned[obj], nil)
				}
			}
		case *ast.RangeStmt:
			for _, e := range []ast.Expr{n.Key, n.Value} {
				if e != nil {
					if obj := p.ObjectOf(e); obj != nil {
						p.assigned[obj] = append(p.assigned[obj], nil)
					}
				}
			}
		case *ast.UnaryExpr:
			// What has its address taken may be changed anywhere; that matters only for what is no struct.
			if obj := p.ObjectOf(n.X); n.Op == token.AND && obj != nil {
				if _, isStruct := obj.Type().Underlying().(*types.Struct); !isStruct {
					p.assigned[obj] = append(p.assigned[obj], nil)
				}
			}
		}
		return true
	})
	for obj, values := range p.assigned {
		if v, ok := obj.(*types.Var); ok && len(values) == 1 && values[0] != nil {
			if lit, ok := ast.Unparen(values[0]).(*ast.FuncLit); ok {
				p.literals[v] = lit
			}
		}
	}
}

// ObjectOf is the variable of an identifier, nil for all other expressions and for _.
func (p *Package) ObjectOf(e ast.Expr) types.Object {
	id, ok := ast.Unparen(e).(*ast.Ident)
	if !ok || id.Name == "_" {
		return nil
	}
	return p.Info.ObjectOf(id)
}

// IsImported reports whether the name is that of the imported package where n is, and not that of something that hides it.
func (p *Package) IsImported(name, path string, n ast.Node) bool {
	obj, ok := p.Lookup(name, n).(*types.PkgName)
	return ok && Path(obj.Imported()) == path
}

// Lookup is what the name means where n begins, nil if nothing.
func (p *Package) Lookup(name string, n ast.Node) types.Object {
	scope := p.Types.Scope().Innermost(n.Pos())
	if scope == nil {
		return nil
	}
	_, obj := scope.LookupParent(name, n.Pos())
	return obj
}

// Value is the only expression that is assigned to the variable, nil if there are several, none or others.
func (p *Package) Value(obj types.Object) ast.Expr {
	if values := p.assigned[obj]; len(values) == 1 {
		return values[0]
	}
	return nil
}

// Values are the expressions that are assigned to the variable; nil stands for what is not known.
func (p *Package) Values(obj types.Object) []ast.Expr { return p.assigned[obj] }

// Parent is the node around n.
func (p *Package) Parent(n ast.Node) ast.Node { return p.parents[n] }

// EnclosingFunc is the body of the innermost function around n, nil outside of functions.
func (p *Package) EnclosingFunc(n ast.Node) (ast.Node, *ast.BlockStmt) {
	for n = p.parents[n]; n != nil; n = p.parents[n] {
		switch f := n.(type) {
		case *ast.FuncDecl:
			return f, f.Body
		case *ast.FuncLit:
			return f, f.Body
		}
	}
	return nil, nil
}

// OutermostFunc is the declaration around n, nil if there is none.
func (p *Package) OutermostFunc(n ast.Node) *ast.FuncDecl {
	for ; n != nil; n = p.parents[n] {
		if f, ok := n.(*ast.FuncDecl); ok {
			return f
		}
	}
	return nil
}

// FuncOf returns the type and body of a function value: a literal, a variable that only ever
// holds one literal, or a function or method of this package.
func (p *Package) FuncOf(e ast.Expr) (*ast.FuncType, *ast.BlockStmt) {
	switch e := ast.Unparen(e).(type) {
	case *ast.FuncLit:
		return e.Type, e.Body
	case *ast.Ident:
		switch obj := p.Info.ObjectOf(e).(type) {
		case *types.Var:
			if lit := p.literals[obj]; lit != nil {
				return lit.Type, lit.Body
			}
		case *types.Func:
			if decl := p.funcs[obj]; decl != nil {
				return decl.Type, decl.Body
			}
		}
	case *ast.SelectorExpr:
		if fn, ok := p.Info.ObjectOf(e.Sel).(*types.Func); ok {
			if decl := p.funcs[fn]; decl != nil {
				return decl.Type, decl.Body
			}
		}
	}
	return nil, nil
}

// Callee is the function or method that is called, nil for function values and conversions.
func (p *Package) Callee(call *ast.CallExpr) *types.Func {
	fn, _ := typeutil.Callee(p.Info, call).(*types.Func)
	return fn
}

// Reached is a call of the API that a function makes.
type Reached struct {
	*Call
	// At is the call in the function itself: that of the API, or that of a function of this package which makes it.
	At *ast.CallExpr
	// Direct: At is the call of the API.
	Direct bool
}

// Calls returns the calls of the API that are made in n, also by functions of this package that are
// called in it. It does not look into goroutines.
func (p *Package) Calls(n ast.Node) []Reached { return p.calls(n) }

func (p *Package) calls(n ast.Node) (found []Reached) {
	if body, ok := n.(*ast.BlockStmt); n == nil || ok && body == nil {
		return nil // a function whose body is not in this package
	}
	ast.Inspect(n, func(m ast.Node) bool {
		switch m := m.(type) {
		case *ast.GoStmt:
			return false
		case *ast.CallExpr:
			if c := p.APICall(m); c != nil {
				found = append(found, Reached{Call: c, At: m, Direct: true})
				return true
			}
			if r := p.RetryCall(m); r != nil {
				if _, isLit := ast.Unparen(r.Fn).(*ast.FuncLit); !isLit && r.Body != nil {
					for _, c := range p.calls(r.Body) {
						found = append(found, Reached{Call: c.Call, At: m})
					}
				}
				return true
			}
			fn := p.Callee(m)
			if fn == nil {
				if v, ok := p.ObjectOf(m.Fun).(*types.Var); ok && p.literals[v] != nil && !contains(n, p.literals[v]) {
					lit := p.literals[v]
					if contains(lit, m) {
						return true // it calls itself
					}
					for _, c := range p.calls(lit.Body) {
						found = append(found, Reached{Call: c.Call, At: m})
					}
				}
				return true
			}
			for _, c := range p.callsOf(fn.Origin()) {
				found = append(found, Reached{Call: c.Call, At: m})
			}
		}
		return true
	})
	return found
}

// callsOf are the calls that a function of this package makes.
func (p *Package) callsOf(fn *types.Func) []Reached {
	decl := p.funcs[fn]
	if decl == nil || decl.Body == nil {
		return nil
	}
	calls, ok := p.reached[fn]
	if !ok {
		p.reached[fn] = nil // for calls in a circle
		calls = p.calls(decl.Body)
		p.reached[fn] = calls
	}
	return calls
}

// IsLocal reports whether the function is declared in this package.
func (p *Package) IsLocal(fn *types.Func) bool { return fn != nil && p.funcs[fn.Origin()] != nil }

// Decl is the declaration of a function of this package.
func (p *Package) Decl(fn *types.Func) *ast.FuncDecl {
	if fn == nil {
		return nil
	}
	return p.funcs[fn.Origin()]
}

func contains(outer, inner ast.Node) bool {
	return outer != nil && inner != nil && outer.Pos() <= inner.Pos() && inner.End() <= outer.End()
}

// Contains reports whether inner lies in outer.
func Contains(outer, inner ast.Node) bool { return contains(outer, inner) }

// DeclaredIn reports whether the object is declared in n.
func DeclaredIn(obj types.Object, n ast.Node) bool {
	return obj != nil && n.Pos() <= obj.Pos() && obj.Pos() < n.End()
}
