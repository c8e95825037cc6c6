// SPDX-License-Identifier: Apache-2.0

package code

import (
	"go/ast"
	"go/types"
	"strings"
)

// Verb is what a call asks the API to do.
type Verb string

// The verbs.
const (
	Get              Verb = "get"
	List             Verb = "list"
	Watch            Verb = "watch"
	Create           Verb = "create"
	Update           Verb = "update"
	Patch            Verb = "patch"
	Apply            Verb = "apply"
	Delete           Verb = "delete"
	DeleteCollection Verb = "deletecollection"
	// Unknown is a request whose verb cannot be seen.
	Unknown Verb = "request"
)

// Reads reports whether the verb changes nothing.
func (v Verb) Reads() bool { return v == Get || v == List || v == Watch }

// Writes reports whether the verb is known to change something.
func (v Verb) Writes() bool { return !v.Reads() && v != Unknown }

// Client is the kind of the client that makes a call.
type Client int

// The kinds of clients.
const (
	Typed   Client = iota // a generated or dynamic client of client-go
	Runtime               // a client of controller-runtime
	Request               // a rest.Request
	Cache                 // a lister, an indexer or a cache of controller-runtime: no request is sent
	Helper                // CreateOrUpdate and its siblings, which read before they write
)

// Call is one call of the Kubernetes API, or a read from a cache.
type Call struct {
	Expr   *ast.CallExpr
	Fn     *types.Func
	Verb   Verb
	Client Client
	// Recv is the client, nil if there is none. It is in another expression if Expr calls a variable.
	Recv ast.Expr
	// Args are the arguments without the client, which the first one of a method expression is.
	Args []ast.Expr
	// Ctx is the context, nil if the call has none.
	Ctx ast.Expr
	// Obj is the object that is written, nil if the call takes a name.
	Obj ast.Expr
	// Options is the argument of one of the types metav1.GetOptions and so on, nil if there is none.
	Options ast.Expr
}

// Name is how the call is written: "Pods(ns).Create" is "Create".
func (c *Call) Name() string { return c.Fn.Name() }

// DryRun reports whether the call is seen to change nothing.
func (c *Call) DryRun() bool {
	for _, arg := range c.Args {
		switch arg := ast.Unparen(arg).(type) {
		case *ast.SelectorExpr:
			if c.Client == Runtime && arg.Sel.Name == "DryRunAll" {
				return true
			}
		case *ast.CompositeLit:
			if c.Client == Typed && ast.Expr(arg) != ast.Unparen(c.Options) {
				continue
			}
			for _, element := range arg.Elts {
				if kv, ok := element.(*ast.KeyValueExpr); ok {
					if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "DryRun" {
						return true
					}
				}
			}
		}
	}
	return false
}

const (
	pathMeta      = "k8s.io/apimachinery/pkg/apis/meta/v1"
	pathRest      = "k8s.io/client-go/rest"
	pathRuntime   = "sigs.k8s.io/controller-runtime/pkg/client"
	pathCache     = "sigs.k8s.io/controller-runtime/pkg/cache"
	pathCtrlutil  = "sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	pathToolCache = "k8s.io/client-go/tools/cache"
	pathTyped     = "k8s.io/client-go/kubernetes/typed/"
)

// optionsOf has the options type of a method of a client by the method's name.
var optionsOf = map[string]struct {
	options string
	verb    Verb
}{
	"Get": {"GetOptions", Get}, "GetScale": {"GetOptions", Get}, "List": {"ListOptions", List}, "Watch": {"ListOptions", Watch},
	"Create": {"CreateOptions", Create}, "Update": {"UpdateOptions", Update}, "UpdateStatus": {"UpdateOptions", Update},
	"UpdateScale": {"UpdateOptions", Update}, "UpdateApproval": {"UpdateOptions", Update}, "UpdateEphemeralContainers": {"UpdateOptions", Update},
	"Patch": {"PatchOptions", Patch}, "Apply": {"ApplyOptions", Apply}, "ApplyStatus": {"ApplyOptions", Apply}, "ApplyScale": {"ApplyOptions", Apply},
	"Delete": {"DeleteOptions", Delete}, "DeleteCollection": {"DeleteOptions", DeleteCollection},
}

var runtimeVerbs = map[string]Verb{
	"Get": Get, "List": List, "Watch": Watch, "Create": Create, "Update": Update, "Patch": Patch, "Apply": Apply, "Delete": Delete, "DeleteAllOf": DeleteCollection,
}

// method returns the function or method that is called, the client, and the arguments behind it. It follows a variable
// that only ever holds one method value, such as create := client.Create, and reads a method expression.
func (p *Package) method(call *ast.CallExpr) (fn *types.Func, recv ast.Expr, args []ast.Expr) {
	fun := ast.Unparen(call.Fun)
	if v, ok := p.ObjectOf(fun).(*types.Var); ok {
		value, ok := ast.Unparen(p.Value(v)).(*ast.SelectorExpr)
		if !ok {
			return nil, nil, nil
		}
		fun = value
		fn, _ = p.Info.ObjectOf(value.Sel).(*types.Func)
	} else {
		fn = p.Callee(call)
	}
	sel, ok := fun.(*ast.SelectorExpr)
	switch {
	case fn == nil || !ok:
		return fn, nil, call.Args
	case p.Info.Selections[sel] != nil && p.Info.Selections[sel].Kind() == types.MethodExpr:
		if len(call.Args) == 0 {
			return nil, nil, nil // f(g()), where g returns all arguments
		}
		return fn, call.Args[0], call.Args[1:]
	}
	return fn, sel.X, call.Args
}

// APICall returns what call asks of the API, nil if it is no such call.
func (p *Package) APICall(call *ast.CallExpr) *Call {
	fn, recv, args := p.method(call)
	if fn == nil || fn.Pkg() == nil {
		return nil
	}
	sig := fn.Signature()
	path := Path(fn.Pkg())
	c := &Call{Expr: call, Fn: fn, Args: args}
	first := 0 // the first argument behind the context
	// The argument may have a type of its own that implements context.Context.
	if len(args) > 0 && sig.Params().Len() > 0 && IsContext(sig.Params().At(0).Type()) {
		c.Ctx, first = args[0], 1
	}
	arg := func(i int) ast.Expr {
		if first+i < len(args) {
			return args[first+i]
		}
		return nil
	}
	if sig.Recv() == nil {
		if path == pathCtrlutil && (fn.Name() == "CreateOrUpdate" || fn.Name() == "CreateOrPatch") {
			c.Verb, c.Client, c.Obj = Update, Helper, arg(1)
			return c
		}
		return nil
	}
	c.Recv = recv
	if isCache(p.Info, c, path) {
		c.Client = Cache
		c.Verb = Get
		if fn.Name() == "List" {
			c.Verb = List
		}
		return c
	}
	switch path {
	case pathRuntime:
		verb, ok := runtimeVerbs[fn.Name()]
		if !ok || c.Ctx == nil {
			return nil
		}
		c.Verb, c.Client = verb, Runtime
		if verb.Writes() {
			c.Obj = arg(0)
		}
		return c
	case pathRest:
		switch fn.Name() {
		case "Do", "DoRaw", "Stream":
			if named(sig.Recv().Type()) == "Request" {
				c.Client, c.Verb = Request, requestVerb(c.Recv)
				return c
			}
		}
		return nil
	}
	if strings.HasPrefix(path, pathTyped) {
		switch fn.Name() {
		case "Evict", "EvictV1", "EvictV1beta1", "Bind":
			c.Verb, c.Obj = Create, arg(0)
			return c
		}
	}
	kind, ok := optionsOf[fn.Name()]
	if !ok {
		return nil
	}
	for i := range sig.Params().Len() {
		if !isNamed(sig.Params().At(i).Type(), pathMeta, kind.options) || i >= len(args) {
			continue
		}
		c.Verb, c.Options = kind.verb, args[i]
		if i > first {
			if kind.verb == Create || kind.verb == Update || kind.verb == Apply {
				c.Obj = arg(0)
			}
		}
		return c
	}
	return nil
}

// isCache reports whether the call reads from a lister, an indexer or a cache.
func isCache(info *types.Info, c *Call, path string) bool {
	recv := named(c.Fn.Signature().Recv().Type())
	switch name := c.Fn.Name(); {
	case strings.HasSuffix(recv, "Lister") && (strings.Contains(path, "lister") || path == pathToolCache):
		return name == "Get" || name == "List"
	case path == pathToolCache && (recv == "Store" || recv == "Indexer" || recv == "ThreadSafeStore"):
		return name == "Get" || name == "GetByKey" || name == "List" || name == "ByIndex"
	case path == pathRuntime && c.Recv != nil && (name == "Get" || name == "List"):
		t := info.TypeOf(c.Recv)
		return t != nil && isNamed(t, pathCache, "Cache")
	case strings.Contains(path, "/lister"): // generic listers embed an interface of another package
		return (name == "Get" || name == "List") && c.Fn.Signature().Params().Len() == 1
	}
	return false
}

// requestVerb finds the verb at the beginning of a chain such as client.Post().Resource("pods").Body(pod).
func requestVerb(recv ast.Expr) Verb {
	for {
		call, ok := ast.Unparen(recv).(*ast.CallExpr)
		if !ok {
			return Unknown
		}
		sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
		if !ok {
			return Unknown
		}
		switch len(call.Args) {
		case 0:
			switch sel.Sel.Name {
			case "Get":
				return Get
			case "Post":
				return Create
			case "Put":
				return Update
			case "Delete":
				return Delete
			}
		case 1:
			if sel.Sel.Name == "Patch" {
				return Patch
			}
		}
		recv = sel.X
	}
}

// Path is the import path of a package, without that of the vendor folder.
func Path(p *types.Package) string {
	path := p.Path()
	if i := strings.LastIndex(path, "/vendor/"); i >= 0 {
		path = path[i+len("/vendor/"):]
	}
	return path
}

// IsContext reports whether t is context.Context.
func IsContext(t types.Type) bool { return t != nil && isNamed(t, "context", "Context") }

// IsFunc reports whether fn is the function path.name, of which the path may end in a major version.
func IsFunc(fn *types.Func, path, name string) bool {
	return fn != nil && fn.Pkg() != nil && fn.Name() == name && Path(fn.Pkg()) == path
}

// named is the name of a type or of what it points to, "" if it has none.
func named(t types.Type) string {
	if n := namedType(t); n != nil {
		return n.Obj().Name()
	}
	return ""
}

func namedType(t types.Type) *types.Named {
	t = types.Unalias(t)
	if p, ok := t.(*types.Pointer); ok {
		t = types.Unalias(p.Elem())
	}
	n, _ := t.(*types.Named)
	return n
}

func isNamed(t types.Type, path, name string) bool {
	n := namedType(t)
	return n != nil && n.Obj().Name() == name && n.Obj().Pkg() != nil && Path(n.Obj().Pkg()) == path
}

// IsNamed reports whether t, or what it points to, is the type path.name.
func IsNamed(t types.Type, path, name string) bool { return t != nil && isNamed(t, path, name) }
