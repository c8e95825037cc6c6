// SPDX-License-Identifier: Apache-2.0

package k8sretrylint

import (
	"go/ast"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

var retriedWrite = check("retriedwrite", "report writes that a retry may carry out twice", func(pass *analysis.Pass, p *code.Package) {
	for _, r := range p.Retries {
		if r.Library == code.K8sretry || r.Body == nil || r.Callee.Name() == "RetryOnConflict" {
			continue
		}
		for _, call := range p.Calls(r.Body) {
			if !call.Direct || call.DryRun() {
				continue
			}
			harm := ""
			switch {
			case call.Verb == code.Create && isStored(p, call.Call) && !readsBefore(p, r, call) && !handles(p, r, "IsAlreadyExists"):
				harm = "if the answer to a create is lost, the retry creates a second object (generateName), or fails with AlreadyExists although the object has been created; use k8sretry.Create"
			case call.Verb == code.Delete && !hasUID(call.Call) && !readsBefore(p, r, call) && !handles(p, r, "IsNotFound"):
				harm = "if the answer to a delete is lost, the retry fails with NotFound although the object has been deleted, or deletes a new object of that name; use k8sretry.Delete"
			case call.Verb == code.DeleteCollection:
				harm = "if the answer is lost, the retry deletes what has been created since; delete the objects one by one with k8sretry.Delete"
			case call.Verb == code.Patch && isJSONPatch(call.Call):
				harm = "if the answer to a JSON patch is lost, the retry may apply it twice; use k8sretry.Patch with a test in the patch"
			}
			if harm != "" && retriesAmbiguous(p, r, call.Call) {
				pass.Reportf(call.At.Pos(), "%s repeats a write after any error: %s", r.Name, harm)
			}
		}
	}
})

// handles reports whether a predicate is asked in the function, or for the error of the retry behind it.
func handles(p *code.Package, r *code.Retry, predicate string) bool {
	const pathClient = "sigs.k8s.io/controller-runtime/pkg/client"
	ignore := "Ignore" + predicate[len("Is"):]
	if callsFunc(p, r.Body, code.PathErrors, predicate) || callsFunc(p, r.Body, pathClient, ignore) {
		return true
	}
	asks := func(call *ast.CallExpr) bool {
		fn := p.Callee(call)
		return code.IsFunc(fn, code.PathErrors, predicate) || code.IsFunc(fn, pathClient, ignore)
	}
	if call, ok := p.Parent(r.Expr).(*ast.CallExpr); ok && asks(call) {
		return true
	}
	err := errOf(p, r.Expr)
	_, body := p.EnclosingFunc(r.Expr)
	if err == nil || body == nil {
		return false
	}
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && !found && asks(call) && len(call.Args) == 1 && p.ObjectOf(call.Args[0]) == err {
			found = origin(p, err, call) == r.Expr
		}
		return !found
	})
	return found
}

// isStored reports whether the object of a create stays in the server. Reviews and tokens do not.
func isStored(p *code.Package, call *code.Call) bool {
	switch call.Name() {
	case "Evict", "EvictV1", "EvictV1beta1", "Bind":
		return false // names a pod that is there already
	}
	if call.Obj == nil {
		return call.Client == code.Request
	}
	t := p.Info.TypeOf(call.Obj)
	return t == nil || !strings.HasSuffix(t.String(), "Review") && !strings.HasSuffix(t.String(), "TokenRequest")
}

// readsBefore reports whether the function reads something before the call, so that its repetition sees what the call has done.
func readsBefore(p *code.Package, r *code.Retry, call code.Reached) bool {
	for _, other := range p.Calls(r.Body) {
		if other.Verb.Reads() && other.At.Pos() < call.At.Pos() {
			return true
		}
	}
	return false
}

// hasUID reports whether the options of a delete may have preconditions.
func hasUID(call *code.Call) bool {
	for _, arg := range call.Args {
		lit, ok := ast.Unparen(arg).(*ast.CompositeLit)
		if !ok {
			if arg == call.Options {
				return true // cannot be seen
			}
			continue
		}
		for _, element := range lit.Elts {
			if kv, ok := element.(*ast.KeyValueExpr); ok && nameOf(kv.Key) == "Preconditions" {
				return true
			}
		}
	}
	if call.Client == code.Runtime {
		return len(call.Args) > 2
	}
	return false
}

// isJSONPatch reports whether the type of the patch is written in the call and is JSON.
func isJSONPatch(call *code.Call) bool {
	for _, arg := range call.Args {
		if sel, ok := ast.Unparen(arg).(*ast.SelectorExpr); ok && sel.Sel.Name == "JSONPatchType" {
			return true
		}
	}
	return false
}
