// SPDX-License-Identifier: Apache-2.0

package code

import (
	"go/ast"
	"go/types"
	"regexp"

	"golang.org/x/tools/go/types/typeutil"
)

// Library is where a function that retries comes from.
type Library int

// The libraries.
const (
	ClientGo  Library = iota // k8s.io/client-go/util/retry
	Wait                     // wait.ExponentialBackoff and its siblings
	Poll                     // the pollers of package wait
	Cenkalti                 // github.com/cenkalti/backoff
	Avast                    // github.com/avast/retry-go
	Sethvargo                // github.com/sethvargo/go-retry
	K8sretry                 // this library
)

// Retry is a call of a function that calls another one until it succeeds.
type Retry struct {
	Expr    *ast.CallExpr
	Callee  *types.Func
	Library Library
	// Name is the function with its package, such as "retry.OnError".
	Name string
	// Fn is the function that is called repeatedly. Its type and body are nil if it is not in this package.
	Fn   ast.Expr
	Type *ast.FuncType
	Body *ast.BlockStmt
	// Ctx is the context, nil if the function takes none.
	Ctx ast.Expr
	// Options are the arguments before and behind Fn, without the context.
	Options []ast.Expr
}

// Paths of the libraries.
const (
	PathRetry     = "k8s.io/client-go/util/retry"
	PathWait      = "k8s.io/apimachinery/pkg/util/wait"
	PathSethvargo = "github.com/sethvargo/go-retry"
	PathK8sretry  = "github.com/k8sretry/k8sretry"
	PathErrors    = "k8s.io/apimachinery/pkg/api/errors"
	PathUtilNet   = "k8s.io/apimachinery/pkg/util/net"
)

var (
	cenkaltiPath = regexp.MustCompile(`^github\.com/cenkalti/backoff(/v\d+)?$`)
	avastPath    = regexp.MustCompile(`^github\.com/avast/retry-go(/v\d+)?$`)
)

// LibraryOf returns the library of a package.
func LibraryOf(p *types.Package) (Library, bool) {
	if p == nil {
		return 0, false
	}
	switch path := Path(p); {
	case path == PathRetry:
		return ClientGo, true
	case path == PathWait:
		return Wait, true
	case path == PathSethvargo:
		return Sethvargo, true
	case path == PathK8sretry:
		return K8sretry, true
	case cenkaltiPath.MatchString(path):
		return Cenkalti, true
	case avastPath.MatchString(path):
		return Avast, true
	}
	return 0, false
}

// fnIndex has the position of the repeated function among the arguments, counted from the end if negative.
var fnIndex = map[Library]map[string]int{
	ClientGo: {"OnError": 2, "RetryOnConflict": 1},
	Wait: {
		"ExponentialBackoff": 1, "ExponentialBackoffWithContext": 2,
		"Poll": -1, "PollImmediate": -1, "PollInfinite": -1, "PollImmediateInfinite": -1, "PollUntil": 1, "PollImmediateUntil": 1,
		"PollWithContext": -1, "PollImmediateWithContext": -1, "PollUntilWithContext": -1, "PollImmediateUntilWithContext": -1,
		"PollInfiniteWithContext": -1, "PollImmediateInfiniteWithContext": -1, "PollUntilContextCancel": -1, "PollUntilContextTimeout": -1,
	},
	Cenkalti:  {"Retry": 0, "RetryNotify": 0, "RetryWithData": 0, "RetryNotifyWithData": 0, "RetryNotifyWithTimer": 0},
	Avast:     {"Do": 0, "DoWithData": 0},
	Sethvargo: {"Do": 2, "DoValue": 2, "Constant": 2, "Exponential": 2, "Fibonacci": 2},
	K8sretry:  {"Do": 1, "Run": 1},
}

// RetryCall returns the retry that the call is, nil if it is none.
func (p *Package) RetryCall(call *ast.CallExpr) *Retry {
	fn, ok := typeutil.Callee(p.Info, call).(*types.Func)
	if !ok {
		return nil
	}
	fn = fn.Origin()
	library, ok := LibraryOf(fn.Pkg())
	if !ok {
		return nil
	}
	if fn.Signature().Recv() != nil && library != Avast {
		return nil
	}
	index, ok := fnIndex[library][fn.Name()]
	if !ok {
		return nil
	}
	r := &Retry{Expr: call, Callee: fn, Library: library, Name: fn.Pkg().Name() + "." + fn.Name()}
	args := call.Args
	if index < 0 {
		index += len(args)
	}
	if params := fn.Signature().Params(); len(args) > 0 && params.Len() > 0 && IsContext(params.At(0).Type()) {
		r.Ctx = args[0]
		// cenkalti/backoff takes a context since v5.
		if library == Cenkalti {
			index++
		}
	}
	if index < 0 || index >= len(args) {
		return nil
	}
	if library == Wait && fn.Name() != "ExponentialBackoff" && fn.Name() != "ExponentialBackoffWithContext" {
		r.Library = Poll
	}
	r.Fn = args[index]
	for i, arg := range args {
		if i != index && arg != r.Ctx {
			r.Options = append(r.Options, arg)
		}
	}
	r.Type, r.Body = p.FuncOf(r.Fn)
	return r
}

// CtxParam is the context parameter of the repeated function, nil if it has none.
// An unnamed parameter is an *ast.Ident "_" or nil.
func (p *Package) CtxParam(t *ast.FuncType) (name *ast.Ident, has bool) {
	if t == nil || t.Params == nil {
		return nil, false
	}
	for _, field := range t.Params.List {
		if !IsContext(p.Info.TypeOf(field.Type)) {
			continue
		}
		if len(field.Names) > 0 {
			return field.Names[0], true
		}
		return nil, true
	}
	return nil, false
}
