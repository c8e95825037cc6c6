// SPDX-License-Identifier: Apache-2.0

package k8sretrylint

import (
	"go/ast"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

// option is an option of k8sretry in a call: the call of the function that makes it.
type option struct {
	name string
	expr *ast.CallExpr
}

// optionsOf are the options of a call, also those of a Policy that can be seen. known is false if there may be others.
func optionsOf(p *code.Package, call *ast.CallExpr, exprs []ast.Expr) (options []option, known bool) {
	known = !call.Ellipsis.IsValid()
	for _, e := range exprs {
		e = ast.Unparen(e)
		if obj := p.ObjectOf(e); obj != nil {
			if value := p.Value(obj); value != nil {
				e = ast.Unparen(value)
			}
		}
		made, ok := e.(*ast.CallExpr)
		fn := p.Callee(orNone(made))
		if !ok || fn == nil || fn.Pkg() == nil || code.Path(fn.Pkg()) != code.PathK8sretry {
			known = false
			continue
		}
		if fn.Name() == "NewPolicy" {
			inner, all := optionsOf(p, made, made.Args)
			options, known = append(options, inner...), known && all
			continue
		}
		options = append(options, option{fn.Name(), made})
	}
	return options, known
}

func orNone(call *ast.CallExpr) *ast.CallExpr {
	if call == nil {
		return &ast.CallExpr{Fun: ast.NewIdent("_")}
	}
	return call
}

func has(options []option, names ...string) *ast.CallExpr {
	for _, o := range options {
		for _, name := range names {
			if o.name == name {
				return o.expr
			}
		}
	}
	return nil
}

// verbNames has the constants of k8sretry.
var verbNames = map[code.Verb]string{
	code.Get: "VerbGet", code.List: "VerbList", code.Watch: "VerbWatch", code.Create: "VerbCreate", code.Update: "VerbUpdate", code.Patch: "VerbPatch",
	code.Apply: "VerbApply", code.Delete: "VerbDelete", code.DeleteCollection: "VerbDeleteCollection",
}
