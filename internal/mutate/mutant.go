// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
)

// mutant is one change of the code: the bytes from begin to end are replaced.
type mutant struct {
	file               string
	line, column       int
	function           string
	begin, end         int
	bodyBegin, bodyEnd int // of the function, with its braces
	firstLine          int // of the body
	lastLine           int
	old, new           string
	nth                int // of the mutants of the function with the same old and new
}

// String says where the mutant is and what it changes.
func (m mutant) String() string {
	return fmt.Sprintf("%s:%d: %s: %s -> %s", m.file, m.line, m.function, short(m.old), short(m.new))
}

// key names the mutant in the list of equivalent ones. It does not change with the lines
// above the function.
func (m mutant) key() string {
	return fmt.Sprintf("%s: %s: %s -> %s #%d", m.file, m.function, short(m.old), short(m.new), m.nth)
}

// short returns code on one line.
func short(code string) string {
	if code == "" {
		return "nothing"
	}
	return strings.Join(strings.Fields(code), " ")
}

// body returns the body of the function with the mutant, braces included.
func (m mutant) body(src []byte) []byte {
	return bytes.Join([][]byte{src[m.bodyBegin:m.begin], []byte(m.new), src[m.end:m.bodyEnd]}, nil)
}

// dir is the package of the mutant as the go command names it.
func (m mutant) dir() string { return "./" + filepath.ToSlash(filepath.Dir(m.file)) }

// testedBy returns the packages whose tests must notice the mutant, in the order in which they
// are asked.
func (m mutant) testedBy() []string {
	if m.dir() == "./." {
		return []string{".", "./k8sretrytest"}
	}
	return []string{m.dir(), "."}
}

// swaps says what an operator becomes. A comparison is tried with its neighbor, which moves its
// bound, and with its opposite.
var swaps = map[token.Token][]string{
	token.EQL:  {"!="},
	token.NEQ:  {"=="},
	token.LSS:  {"<=", ">="},
	token.LEQ:  {"<", ">"},
	token.GTR:  {">=", "<="},
	token.GEQ:  {">", "<"},
	token.LAND: {"||"},
	token.LOR:  {"&&"},
	token.ADD:  {"-"},
	token.SUB:  {"+"},
	token.MUL:  {"/"},
	token.QUO:  {"*"},
	token.OR:   {"&"},
	token.AND:  {"|"},
}

// mutantsOf returns the mutants of a file, in its order.
func mutantsOf(file string, src []byte) ([]mutant, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	c := &collector{file: file, src: src, fset: fset, seen: map[string]int{}}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			c.function, c.body = nameOf(fn), fn.Body
			ast.Inspect(fn.Body, c.visit)
		}
	}
	return c.mutants, nil
}

// nameOf returns the name of a function with its receiver.
func nameOf(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if index, ok := t.(*ast.IndexExpr); ok {
		t = index.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + fn.Name.Name
	}
	return fn.Name.Name
}

type collector struct {
	file     string
	src      []byte
	fset     *token.FileSet
	function string
	body     *ast.BlockStmt
	seen     map[string]int
	mutants  []mutant
}

func (c *collector) offset(p token.Pos) int { return c.fset.Position(p).Offset }

func (c *collector) text(begin, end token.Pos) string {
	return string(c.src[c.offset(begin):c.offset(end)])
}

func (c *collector) add(begin, end token.Pos, replacement string) {
	at := c.fset.Position(begin)
	m := mutant{
		file: c.file, line: at.Line, column: at.Column, function: c.function,
		begin: at.Offset, end: c.offset(end), old: c.text(begin, end), new: replacement,
		bodyBegin: c.offset(c.body.Pos()), bodyEnd: c.offset(c.body.End()),
		firstLine: c.fset.Position(c.body.Pos()).Line, lastLine: c.fset.Position(c.body.End()).Line,
	}
	c.seen[m.key()]++
	m.nth = c.seen[m.key()]
	c.mutants = append(c.mutants, m)
}

func (c *collector) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		for _, op := range swaps[n.Op] {
			c.add(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), op)
		}
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			c.add(n.OpPos, n.OpPos+1, "")
		}
	case *ast.IfStmt:
		c.condition(n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil {
			c.add(n.Cond.Pos(), n.Cond.End(), "false && ("+c.text(n.Cond.Pos(), n.Cond.End())+")")
		}
	case *ast.CaseClause:
		for _, e := range n.List {
			if _, ok := e.(*ast.BinaryExpr); ok {
				c.condition(e)
			}
		}
	case *ast.ExprStmt:
		c.add(n.Pos(), n.End(), "")
	case *ast.IncDecStmt:
		c.add(n.Pos(), n.End(), "")
	case *ast.DeferStmt:
		c.add(n.Pos(), n.End(), "")
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE && !isBlank(n.Lhs) {
			c.add(n.Pos(), n.End(), "")
		}
	case *ast.BranchStmt:
		if n.Label == nil && n.Tok != token.FALLTHROUGH {
			c.add(n.Pos(), n.End(), "")
		}
	case *ast.Ident:
		switch n.Name {
		case "true":
			c.add(n.Pos(), n.End(), "false")
		case "false":
			c.add(n.Pos(), n.End(), "true")
		}
	case *ast.BasicLit:
		if n.Kind == token.INT {
			if i, err := strconv.ParseInt(n.Value, 0, 32); err == nil {
				c.add(n.Pos(), n.End(), strconv.FormatInt(i+1, 10))
			}
		}
	}
	return true
}

// condition makes a condition constant. It is still evaluated, so that what it declares and
// imports stays in use.
func (c *collector) condition(e ast.Expr) {
	text := c.text(e.Pos(), e.End())
	c.add(e.Pos(), e.End(), "("+text+") || true")
	c.add(e.Pos(), e.End(), "("+text+") && false")
}

func isBlank(left []ast.Expr) bool {
	id, ok := left[0].(*ast.Ident)
	return ok && len(left) == 1 && id.Name == "_"
}
