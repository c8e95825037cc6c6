// SPDX-License-Identifier: Apache-2.0

package k8sretrylint

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

// The checks of calls of k8sretry.

var multiCall = check("multicall", "report a k8sretry.Do whose function makes more than one API call", func(pass *analysis.Pass, p *code.Package) {
	for _, r := range p.Retries {
		if r.Library != code.K8sretry || r.Body == nil {
			continue
		}
		if most := mostCalls(p, r.Body.List); len(most) > 1 {
			pass.Reportf(most[1].At.Pos(), "the function of %s makes more than one API call: if this one fails, a retry repeats the earlier ones, too; give each its own call%s", r.Name, instead(most))
		}
	}
})

// instead names what does the same as the calls.
func instead(calls []code.Reached) string {
	if len(calls) == 2 && calls[0].Verb == code.Get && calls[1].Verb == code.Update {
		return ", or use k8sretry.Modify for a read, a change and an update"
	}
	return ""
}

// mostCalls are the calls of the API on the path through the statements that has most of them.
func mostCalls(p *code.Package, list []ast.Stmt) []code.Reached {
	through, ended, _ := paths(p, list)
	return longer(through, ended)
}

// paths are the calls on the longest path that reaches the end of the statements, and on the longest of those that
// end the function before. ends reports that no path reaches the end.
func paths(p *code.Package, list []ast.Stmt) (through, ended []code.Reached, ends bool) {
	for _, stmt := range list {
		if labeled, ok := stmt.(*ast.LabeledStmt); ok {
			stmt = labeled.Stmt
		}
		var branches [][]ast.Stmt
		all := false // one of the branches is taken
		switch stmt := stmt.(type) {
		case *ast.IfStmt:
			if stmt.Init != nil {
				through = join(through, requests(p, stmt.Init))
			}
			through = join(through, requests(p, stmt.Cond))
			branches = append(branches, stmt.Body.List)
			if stmt.Else != nil {
				branches, all = append(branches, []ast.Stmt{stmt.Else}), true
			}
		case *ast.BlockStmt:
			branches, all = append(branches, stmt.List), true
		case *ast.SwitchStmt:
			if stmt.Init != nil {
				through = join(through, requests(p, stmt.Init))
			}
			if stmt.Tag != nil {
				through = join(through, requests(p, stmt.Tag))
			}
			branches, all = clauses(stmt.Body)
		case *ast.TypeSwitchStmt:
			branches, all = clauses(stmt.Body)
		case *ast.SelectStmt:
			branches, _ = clauses(stmt.Body)
			all = true
		default:
			through = join(through, requests(p, stmt))
			if endsFunc(p, stmt) {
				return nil, longer(ended, through), true
			}
			continue
		}
		before, after := through, []code.Reached(nil)
		reached := !all
		if reached {
			after = before
		}
		for _, branch := range branches {
			t, e, done := paths(p, branch)
			ended = longer(ended, join(before, e))
			if !done {
				reached, after = true, longer(after, join(before, t))
			}
		}
		if !reached {
			return nil, ended, true
		}
		through = after
	}
	return through, ended, false
}

// clauses are the branches of a switch or select, and whether there is a default.
func clauses(body *ast.BlockStmt) (branches [][]ast.Stmt, hasDefault bool) {
	for _, clause := range body.List {
		switch c := clause.(type) {
		case *ast.CaseClause:
			branches = append(branches, c.Body)
			hasDefault = hasDefault || c.List == nil
		case *ast.CommClause:
			branches = append(branches, c.Body)
		}
	}
	return branches, hasDefault
}

// endsFunc reports whether no statement behind this one is reached.
func endsFunc(p *code.Package, stmt ast.Stmt) bool {
	switch stmt := stmt.(type) {
	case *ast.ReturnStmt:
		return true
	case *ast.ExprStmt:
		if call, ok := stmt.X.(*ast.CallExpr); ok {
			if id, ok := ast.Unparen(call.Fun).(*ast.Ident); ok {
				return p.Info.ObjectOf(id) == types.Universe.Lookup("panic")
			}
		}
	}
	return false
}

func join(a, b []code.Reached) []code.Reached {
	return append(a[:len(a):len(a)], b...)
}

func longer(a, b []code.Reached) []code.Reached {
	if len(b) > len(a) {
		return b
	}
	return a
}

// requests are the calls in n that send something. A function of this package that is called counts once for
// each of its calls, of which not all need to be on one path: at most one of them is taken.
func requests(p *code.Package, n ast.Node) (calls []code.Reached) {
	seen := map[*ast.CallExpr]bool{}
	for _, c := range p.Calls(n) {
		if c.Client != code.Cache && !seen[c.At] {
			seen[c.At] = true
			calls = append(calls, c)
		}
	}
	return calls
}

var missingVerb = check("missingverb", "report a k8sretry.Do around a create or delete without a verb", func(pass *analysis.Pass, p *code.Package) {
	for _, r := range p.Retries {
		if r.Library != code.K8sretry || r.Body == nil {
			continue
		}
		options, known := optionsOf(p, r.Expr, r.Options)
		if !known || has(options, "WithVerb", "ForRead", "ReadOnly") != nil { // readpreset reports those
			continue
		}
		for _, call := range p.Calls(r.Body) {
			switch call.Verb {
			case code.Create, code.Delete, code.DeleteCollection:
			default:
				continue
			}
			if call.DryRun() || call.Verb == code.Create && !isStored(p, call.Call) || call.Verb == code.Delete && hasUID(call.Call) {
				continue
			}
			d := analysis.Diagnostic{
				Pos: r.Expr.Pos(), End: r.Expr.Fun.End(),
				Message: fmt.Sprintf("%s around a %s without a verb assumes that it is safe to repeat: %s; add k8sretry.WithVerb(k8sretry.%s), or use k8sretry.%s",
					r.Name, call.Verb, verbHarm[call.Verb], verbNames[call.Verb], safeName[call.Verb]),
			}
			if name := qualifier(r.Expr.Fun); name != "" {
				text := fmt.Sprintf(", %s.WithVerb(%s.%s)", name, name, verbNames[call.Verb])
				last := r.Expr.Args[len(r.Expr.Args)-1]
				d.SuggestedFixes = []analysis.SuggestedFix{{Message: "Add the verb", TextEdits: []analysis.TextEdit{{Pos: last.End(), End: last.End(), NewText: []byte(text)}}}}
			}
			pass.Report(d)
			break
		}
	}
})

var verbHarm = map[code.Verb]string{
	code.Create:           "if the answer is lost, a second object may be created",
	code.Delete:           "if the answer is lost, a new object of the same name may be deleted",
	code.DeleteCollection: "if the answer is lost, objects created since are deleted, too",
}

var safeName = map[code.Verb]string{code.Create: "Create", code.Delete: "Delete", code.DeleteCollection: "Delete for each object"}

// qualifier is the name of the package in k8sretry.Do, "" if there is none.
func qualifier(fun ast.Expr) string {
	switch f := ast.Unparen(fun).(type) {
	case *ast.IndexExpr:
		return qualifier(f.X)
	case *ast.IndexListExpr:
		return qualifier(f.X)
	case *ast.SelectorExpr:
		if id, ok := f.X.(*ast.Ident); ok {
			return id.Name
		}
	}
	return ""
}

var readPreset = check("readpreset", "report ForRead and ReadOnly for calls that write", func(pass *analysis.Pass, p *code.Package) {
	report := func(call *ast.CallExpr, exprs []ast.Expr, verb code.Verb) {
		options, _ := optionsOf(p, call, exprs)
		// WithVerb decides, wherever it stands, and a later ForWrite takes ReadOnly back.
		var mark *ast.CallExpr
		for _, o := range options {
			switch o.name {
			case "ForRead", "ReadOnly":
				mark = o.expr
			case "ForWrite", "WithVerb":
				mark = nil
			}
		}
		if mark == nil || has(options, "WithVerb") != nil {
			return
		}
		d := analysis.Diagnostic{
			Pos: mark.Pos(), End: mark.End(),
			Message: fmt.Sprintf("%s on a %s says that the call changes nothing: a write whose outcome is unknown is repeated, and its error does not say so; use ForWrite and WithVerb",
				nameOf(mark.Fun), verb),
		}
		if name := qualifier(mark.Fun); name != "" && nameOf(mark.Fun) == "ForRead" && code.Contains(call, mark) {
			text := name + ".ForWrite()"
			if verb != code.Unknown {
				text += fmt.Sprintf(", %s.WithVerb(%s.%s)", name, name, verbNames[verb])
			}
			d.SuggestedFixes = []analysis.SuggestedFix{{Message: "Use ForWrite with the verb", TextEdits: []analysis.TextEdit{{Pos: mark.Pos(), End: mark.End(), NewText: []byte(text)}}}}
		}
		pass.Report(d)
	}
	for _, r := range p.Retries {
		if r.Library != code.K8sretry || r.Body == nil {
			continue
		}
		for _, call := range p.Calls(r.Body) {
			if call.Verb.Writes() && !call.DryRun() && (call.Verb != code.Create || isStored(p, call.Call)) {
				report(r.Expr, r.Options, call.Verb)
				break
			}
		}
	}
})

var outcomeOrder = check("outcomeorder", "report ErrOutcomeUnknown that is asked for after an error it may come with", func(pass *analysis.Pass, p *code.Package) {
	for _, file := range p.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			var conds []ast.Expr
			switch n := n.(type) {
			case *ast.SwitchStmt:
				if n.Tag != nil {
					return true
				}
				for _, clause := range n.Body.List {
					if c, ok := clause.(*ast.CaseClause); ok {
						conds = append(conds, asking(p, c.List, c.Body)...)
					}
				}
			case *ast.IfStmt:
				if outer, ok := p.Parent(n).(*ast.IfStmt); ok && outer.Else == ast.Stmt(n) {
					return true // a part of the chain
				}
				for branch := n; branch != nil; {
					conds = append(conds, asking(p, []ast.Expr{branch.Cond}, branch.Body.List)...)
					branch, _ = branch.Else.(*ast.IfStmt)
				}
			case *ast.BlockStmt:
				// One if statement after the other, each of which returns.
				for _, stmt := range n.List {
					if branch, ok := stmt.(*ast.IfStmt); ok && branch.Else == nil && returns(branch.Body) {
						conds = append(conds, asking(p, []ast.Expr{branch.Cond}, branch.Body.List)...)
					}
				}
			default:
				return true
			}
			earlier, err := "", types.Object(nil)
			known := map[types.Object]token.Pos{} // where errors were asked for ErrOutcomeUnknown
			for i, cond := range conds {
				name, asked := askedFor(p, cond)
				if asked == nil {
					name = ""
				}
				if i > 0 {
					if err != nil && isAssigned(p, n, err, conds[i-1].End(), cond.Pos()) {
						earlier, err = "", nil // another error
					}
					if from := known[asked]; from.IsValid() && isAssigned(p, n, asked, from, cond.Pos()) {
						delete(known, asked)
					}
				}
				switch {
				case name == "" || known[asked].IsValid():
				case name == "ErrOutcomeUnknown":
					if earlier != "" && asked == err {
						pass.Reportf(cond.Pos(), "this is not reached for an error that is both %s and ErrOutcomeUnknown, so that a write which may have been carried out looks like one that failed; "+
							"ask for ErrOutcomeUnknown first", earlier)
					}
					earlier, err, known[asked] = "", nil, cond.End()
				default:
					earlier, err = name, asked
				}
			}
			return true
		})
	}
})

// asking are the conditions of a branch, without those of a branch in which ErrOutcomeUnknown is asked for once more.
func asking(p *code.Package, conds []ast.Expr, body []ast.Stmt) (left []ast.Expr) {
	inside := slices.ContainsFunc(body, func(stmt ast.Stmt) bool { return mentionsUnknown(p, stmt) })
	for _, cond := range conds {
		if name, _ := askedFor(p, cond); !inside || name == "ErrOutcomeUnknown" {
			left = append(left, cond)
		}
	}
	return left
}

func mentionsUnknown(p *code.Package, n ast.Node) bool {
	found := false
	ast.Inspect(n, func(m ast.Node) bool {
		if id, ok := m.(*ast.Ident); ok && id.Name == "ErrOutcomeUnknown" {
			v, ok := p.Info.ObjectOf(id).(*types.Var)
			found = found || ok && v.Pkg() != nil && code.Path(v.Pkg()) == code.PathK8sretry
		}
		return !found
	})
	return found
}

// isAssigned reports whether the variable gets another value on the way from one condition in n to the next.
func isAssigned(p *code.Package, n ast.Node, obj types.Object, from, to token.Pos) bool {
	found := false
	ast.Inspect(n, func(m ast.Node) bool {
		switch m := m.(type) {
		case *ast.CaseClause:
			return false // another branch
		case *ast.BlockStmt:
			if _, chain := n.(*ast.IfStmt); m != n && (chain || returns(m)) {
				return false
			}
		case *ast.AssignStmt:
			if from < m.Pos() && m.End() <= to {
				for _, lhs := range m.Lhs {
					found = found || p.ObjectOf(lhs) == obj
				}
			}
		}
		return !found
	})
	return found
}

func returns(block *ast.BlockStmt) bool {
	if len(block.List) == 0 {
		return false
	}
	_, ok := block.List[len(block.List)-1].(*ast.ReturnStmt)
	return ok
}

// askedFor is the error of k8sretry in a condition errors.Is(err, k8sretry.ErrX), and err.
func askedFor(p *code.Package, cond ast.Expr) (name string, err types.Object) {
	switch cond := ast.Unparen(cond).(type) {
	case *ast.BinaryExpr:
		if cond.Op == token.LOR {
			if name, err = askedFor(p, cond.X); name != "" {
				return name, err
			}
			return askedFor(p, cond.Y)
		}
	case *ast.CallExpr:
		if fn := p.Callee(cond); code.IsFunc(fn, "errors", "Is") && len(cond.Args) == 2 {
			if v := sentinel(p, cond.Args[1]); v != nil && code.Path(v.Pkg()) == code.PathK8sretry && strings.HasPrefix(v.Name(), "Err") {
				return v.Name(), p.ObjectOf(cond.Args[0])
			}
		}
	}
	return "", nil
}
