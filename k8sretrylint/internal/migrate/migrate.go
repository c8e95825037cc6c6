// SPDX-License-Identifier: Apache-2.0

// Package migrate rewrites retries of other libraries around calls of the Kubernetes API to
// package k8sretry.
//
// A rewriting does what the program did, as far as it was safe: it repeats every failure that
// was repeated, as often and with the same delays, and in addition what k8sretry knows to be
// transient. A write is only rewritten if what was repeated is a part of that, because
// k8sretry must be free not to repeat it while its outcome is unknown. What is not seen as a
// whole is not rewritten: the report says why.
package migrate

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

// Analyzer reports retries of other libraries around calls of the Kubernetes API.
var Analyzer = &analysis.Analyzer{
	Name: "migrate", Doc: "rewrite retries of other libraries around calls of the Kubernetes API to k8sretry",
	URL:      "https://github.com/k8sretry/k8sretry/blob/main/docs/migration.md#rewriting-by-a-tool",
	Requires: []*analysis.Analyzer{code.Analyzer},
	Run:      run,
}

func run(pass *analysis.Pass) (any, error) {
	p, ok := pass.ResultOf[code.Analyzer].(*code.Package)
	if !ok {
		return nil, nil
	}
	for _, r := range p.Retries {
		if r.Library == code.K8sretry || r.Library == code.Poll {
			continue
		}
		calls := requests(p, r)
		if len(calls) == 0 {
			continue
		}
		w := &rewriting{p: p, pass: pass, r: r, calls: calls, file: fileOf(p, r.Expr)}
		d := analysis.Diagnostic{Pos: r.Expr.Pos(), End: r.Expr.End()}
		to, err := w.rewrite()
		if err != nil {
			d.Message = fmt.Sprintf("%s is not rewritten: %v", r.Name, err)
		} else {
			d.Message = fmt.Sprintf("%s can be %s", r.Name, to)
			d.SuggestedFixes = []analysis.SuggestedFix{{Message: "Rewrite to " + to, TextEdits: w.edits}}
		}
		pass.Report(d)
	}
	return nil, nil
}

// requests are the calls of the API that the repeated function makes.
func requests(p *code.Package, r *code.Retry) (calls []code.Reached) {
	if r.Body == nil {
		return nil
	}
	for _, c := range p.Calls(r.Body) {
		if c.Client != code.Cache {
			calls = append(calls, c)
		}
	}
	return calls
}

func fileOf(p *code.Package, n ast.Node) *ast.File {
	for _, file := range p.Files {
		if file.FileStart <= n.Pos() && n.Pos() < file.FileEnd {
			return file
		}
	}
	return nil
}

// rewriting is the rewriting of one retry.
type rewriting struct {
	p     *code.Package
	pass  *analysis.Pass
	file  *ast.File
	r     *code.Retry
	calls []code.Reached
	edits []analysis.TextEdit

	imports map[string]bool // paths that have an edit
	deleted map[ast.Node]bool
	stands  map[*ast.Ident]ast.Expr // see chain
}

var errNoLiteral = errors.New("its function is not written in the call")

// rewrite makes the edits, and returns what the retry becomes.
func (w *rewriting) rewrite() (string, error) {
	if w.r.Callee.Name() == "RetryOnConflict" {
		return w.rewriteConflict()
	}
	lit, ok := ast.Unparen(w.r.Fn).(*ast.FuncLit)
	switch {
	case !ok:
		return "", errNoLiteral
	case len(w.calls) > 1:
		return "", errors.New("its function makes more than one API call, and k8sretry repeats one call at a time")
	case !w.calls[0].Direct:
		return "", fmt.Errorf("the API call is made by another function (%s)", types.ExprString(w.calls[0].At.Fun))
	case w.calls[0].Verb == code.Unknown || w.calls[0].Client == code.Helper:
		return "", errors.New("what the API call does is not visible")
	case w.calls[0].Ctx == nil:
		return "", errors.New("the API call takes no context")
	}
	call := w.calls[0]
	if w.isRepeated(call, lit) {
		return "", errors.New("its function makes the API call in a loop or in another function")
	}
	plan, err := w.plan(lit, call)
	if err != nil {
		return "", err
	}
	if call.Verb.Writes() && !plan.covered {
		return "", fmt.Errorf("it repeats errors that k8sretry does not know to be transient, and a %s must not be repeated after each of them; use %s", call.Verb, safe(call.Verb))
	}
	ctx, err := w.useContext(lit, call, plan.ctx)
	if err != nil {
		return "", err
	}
	name := "Run"
	if lit.Type.Results.NumFields() == 2 && w.r.Library != code.Wait {
		name = "Do"
	}
	if err := w.returns(lit, call); err != nil {
		return "", err
	}
	pkg, err := w.importing(code.PathK8sretry, "k8sretry")
	if err != nil {
		return "", err
	}
	options := []string{fmt.Sprintf("%s.WithVerb(%s.%s)", pkg, pkg, verbs[call.Verb])}
	if !plan.covered {
		options = append(options, fmt.Sprintf("%s.WithRetryIf(%s)", pkg, plan.retryIf))
	}
	more, err := w.options(pkg, plan.schedule)
	if err != nil {
		return "", err
	}
	options = append(options, more...)
	w.edit(w.r.Expr.Pos(), w.r.Fn.Pos(), fmt.Sprintf("%s.%s(%s, ", pkg, name, ctx))
	w.edit(w.r.Fn.End(), w.r.Expr.End(), ", "+strings.Join(options, ", ")+")")
	return "k8sretry." + name, nil
}

var verbs = map[code.Verb]string{
	code.Get: "VerbGet", code.List: "VerbList", code.Watch: "VerbWatch", code.Create: "VerbCreate", code.Update: "VerbUpdate", code.Patch: "VerbPatch",
	code.Apply: "VerbApply", code.Delete: "VerbDelete", code.DeleteCollection: "VerbDeleteCollection",
}

func safe(verb code.Verb) string {
	switch verb {
	case code.Create:
		return "k8sretry.Create"
	case code.Update:
		return "k8sretry.Update or k8sretry.Modify"
	case code.Delete:
		return "k8sretry.Delete"
	case code.Patch:
		return "k8sretry.Patch"
	case code.Apply:
		return "k8sretry.Apply"
	default:
		return "k8sretry.Do with a verb"
	}
}

// isRepeated reports whether the function makes the call in a loop, or in a function of its own.
func (w *rewriting) isRepeated(call code.Reached, lit *ast.FuncLit) bool {
	for n := w.p.Parent(call.At); n != nil && n != ast.Node(lit); n = w.p.Parent(n) {
		switch n.(type) {
		case *ast.ForStmt, *ast.RangeStmt, *ast.FuncLit:
			return true
		}
	}
	return false
}

func (w *rewriting) edit(pos, end token.Pos, text string) {
	w.edits = append(w.edits, analysis.TextEdit{Pos: pos, End: end, NewText: []byte(text)})
}

// text is the source of a node.
func (w *rewriting) text(n ast.Node) string {
	file := w.pass.Fset.File(n.Pos())
	content, err := w.pass.ReadFile(file.Name())
	if err != nil {
		return ""
	}
	return string(content[file.Offset(n.Pos()):file.Offset(n.End())])
}

// useContext gives the function a context parameter that its API call uses, and returns the
// context for the call of k8sretry. given is the context of the retry, nil if it has none.
func (w *rewriting) useContext(lit *ast.FuncLit, call code.Reached, given ast.Expr) (string, error) {
	if param, has := w.p.CtxParam(lit.Type); has {
		if param == nil || w.p.ObjectOf(call.Ctx) != w.p.Info.Defs[param] {
			return "", errors.New("the API call does not use the context of the function")
		}
		return w.text(w.r.Ctx), nil
	}
	if given != nil && w.text(given) != w.text(call.Ctx) {
		return "", errors.New("the API call does not use the context of the retry")
	}
	name := "ctx"
	switch ctx := ast.Unparen(call.Ctx).(type) {
	case *ast.Ident:
		if obj := w.p.ObjectOf(ctx); obj == nil || code.DeclaredIn(obj, lit) {
			return "", errors.New("the context of the API call is made in the function")
		}
		name = ctx.Name
	case *ast.CallExpr:
		if fn := w.p.Callee(ctx); !code.IsFunc(fn, "context", "Background") && !code.IsFunc(fn, "context", "TODO") {
			return "", errors.New("the context of the API call is made in the function")
		}
	case *ast.SelectorExpr:
	default:
		return "", errors.New("the context of the API call is made in the function")
	}
	if name == "ctx" {
		if _, isIdent := ast.Unparen(call.Ctx).(*ast.Ident); !isIdent {
			if usesName(lit, name) {
				return "", errors.New("its function uses another context")
			}
			w.edit(call.Ctx.Pos(), call.Ctx.End(), name)
		}
	}
	pkg, err := w.importing("context", "context")
	if err != nil {
		return "", err
	}
	w.edit(lit.Type.Params.Pos(), lit.Type.Params.End(), fmt.Sprintf("(%s %s.Context)", name, pkg))
	return w.text(call.Ctx), nil
}

func usesName(n ast.Node, name string) bool {
	found := false
	ast.Inspect(n, func(m ast.Node) bool {
		if id, ok := m.(*ast.Ident); ok && id.Name == name {
			found = true
		}
		return !found
	})
	return found
}

// importing returns the name of a package in the file, and makes an edit that imports it if necessary.
func (w *rewriting) importing(path, name string) (string, error) {
	for _, spec := range w.file.Imports {
		if strings.Trim(spec.Path.Value, `"`) != path {
			continue
		}
		if used := importedName(w.p, spec); used != "" && used != "_" && used != "." {
			if !w.p.IsImported(used, path, w.r.Expr) {
				return "", fmt.Errorf("the function has its own %s", used)
			}
			return used, nil
		}
	}
	if w.imports[path] {
		return name, nil
	}
	// Whatever else has that name, in the package, in the file or in the function, would be in the way.
	if w.p.Types.Scope().Lookup(name) != nil {
		return "", fmt.Errorf("the package has its own %s", name)
	}
	for _, spec := range w.file.Imports {
		if used := importedName(w.p, spec); used == name {
			return "", fmt.Errorf("the file imports another %s", name)
		}
	}
	if decl := w.p.OutermostFunc(w.r.Expr); decl != nil && declares(w.p, decl, name) {
		return "", fmt.Errorf("the function has its own %s", name)
	}
	var decl *ast.GenDecl
	for _, d := range w.file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT && g.Lparen.IsValid() && len(g.Specs) > 0 {
			decl = g
			break
		}
	}
	file := w.pass.Fset.File(w.file.Pos())
	if decl == nil || file.Line(decl.Specs[len(decl.Specs)-1].End()) == file.Line(decl.Rparen) {
		// Outside of parentheses nothing removes an import that several rewritings add.
		return "", errors.New("the file has no import declaration in parentheses")
	}
	spec := fmt.Sprintf("%q", path)
	if last := path[strings.LastIndex(path, "/")+1:]; last != name {
		spec = name + " " + spec
	}
	// Each path has its place, so that the same edit of several rewritings is one, or the formatting after all edits
	// removes it.
	switch {
	case strings.Contains(path, "."):
		w.edit(decl.Rparen, decl.Rparen, "\t"+spec+"\n")
	case path == "context":
		w.edit(decl.Lparen+1, decl.Lparen+1, "\n\t"+spec)
	case path == "time":
		w.edit(decl.Specs[0].Pos(), decl.Specs[0].Pos(), spec+"\n\t")
	default:
		w.edit(decl.Specs[0].End(), decl.Specs[0].End(), "\n\t"+spec)
	}
	if w.imports == nil {
		w.imports = map[string]bool{}
	}
	w.imports[path] = true
	return name, nil
}

func importedName(p *code.Package, spec *ast.ImportSpec) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	if obj, ok := p.Info.Implicits[spec].(*types.PkgName); ok {
		return obj.Name()
	}
	return ""
}

// declares reports whether a name is declared in the function.
func declares(p *code.Package, n ast.Node, name string) bool {
	found := false
	ast.Inspect(n, func(m ast.Node) bool {
		if id, ok := m.(*ast.Ident); ok && id.Name == name && p.Info.Defs[id] != nil {
			found = true
		}
		return !found
	})
	return found
}
