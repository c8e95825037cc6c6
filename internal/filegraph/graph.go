// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// graph is a package with the references between its files.
type graph struct {
	path  string
	files []*file // by name
}

type file struct {
	name  string
	lines int
	// uses has the names that the file uses of each other file.
	uses map[*file]map[string]bool
}

// references returns the files to which f refers, by name.
func (f *file) references() []*file {
	return slices.SortedFunc(maps.Keys(f.uses), byName)
}

func byName(a, b *file) int { return cmp.Compare(a.name, b.name) }

// listed is a package as go list describes it.
type listed struct {
	ImportPath                        string
	Dir                               string
	Export                            string
	DepOnly                           bool
	GoFiles, CgoFiles, IgnoredGoFiles []string
	ImportMap                         map[string]string
}

// load type-checks the package in dir with the export data of what it imports.
func load(dir string) (*graph, error) {
	target, exports, err := list(dir)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var syntax []*ast.File
	g := &graph{path: target.ImportPath}
	byFile := map[string]*file{}
	for _, name := range slices.Concat(target.GoFiles, target.CgoFiles, target.IgnoredGoFiles) {
		if strings.HasSuffix(name, "_test.go") {
			continue // IgnoredGoFiles has test files, too
		}
		path := filepath.Join(target.Dir, name)
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f := &file{name: name, lines: bytes.Count(content, []byte("\n")), uses: map[*file]map[string]bool{}}
		g.files, byFile[path] = append(g.files, f), f
		if slices.Contains(target.IgnoredGoFiles, name) {
			continue
		}
		parsed, err := parser.ParseFile(fset, path, content, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		syntax = append(syntax, parsed)
	}
	slices.SortFunc(g.files, byName)

	lookup := func(path string) (io.ReadCloser, error) {
		if mapped, ok := target.ImportMap[path]; ok {
			path = mapped
		}
		export, ok := exports[path]
		if !ok {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(export)
	}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", lookup), FakeImportC: true}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	pkg, err := config.Check(target.ImportPath, fset, syntax, info)
	if err != nil {
		return nil, err
	}
	for ident, object := range info.Uses {
		if !declares(pkg, object) {
			continue
		}
		from, to := byFile[fset.Position(ident.Pos()).Filename], byFile[fset.Position(object.Pos()).Filename]
		if from == nil || to == nil || from == to {
			continue
		}
		if from.uses[to] == nil {
			from.uses[to] = map[string]bool{}
		}
		from.uses[to][object.Name()] = true
	}
	return g, nil
}

// declares reports whether the object is declared by pkg at package level, as a method
// or as a field.
func declares(pkg *types.Package, object types.Object) bool {
	if object.Pkg() != pkg {
		return false
	}
	switch object := object.(type) {
	case *types.Var:
		return object.IsField() || object.Parent() == pkg.Scope()
	case *types.Func:
		return true // package level or a method
	default:
		return object.Parent() == pkg.Scope()
	}
}

// list asks the go command for the package in dir and for the files with the export
// data of its dependencies, which are built if need be.
func list(dir string) (target *listed, exports map[string]string, err error) {
	command := exec.Command("go", "list", "-deps", "-export",
		"-json=ImportPath,Dir,Export,DepOnly,GoFiles,CgoFiles,IgnoredGoFiles,ImportMap", ".")
	command.Dir = dir
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list: %w\n%s", err, stderr.Bytes())
	}
	exports = map[string]string{}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, err
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			target = &p
		}
	}
	if target == nil {
		return nil, nil, errors.New("go list: no package")
	}
	return target, exports, nil
}

// circles returns the strongly connected components, by Tarjan's algorithm: the largest
// first, equal ones by the name of their first file. The files of each are in order.
func (g *graph) circles() [][]*file {
	var (
		found     [][]*file
		stack     []*file
		index     = map[*file]int{} // when a file was visited, from 1
		low       = map[*file]int{} // the earliest file on the stack that is reached
		connected = map[*file]bool{}
		visit     func(*file)
	)
	visit = func(f *file) {
		index[f] = len(index) + 1
		low[f] = index[f]
		stack = append(stack, f)
		for _, to := range f.references() {
			if index[to] == 0 {
				visit(to)
				low[f] = min(low[f], low[to])
			} else if !connected[to] {
				low[f] = min(low[f], index[to])
			}
		}
		if low[f] != index[f] {
			return
		}
		first := slices.Index(stack, f)
		circle := slices.Clone(stack[first:])
		stack = stack[:first]
		for _, member := range circle {
			connected[member] = true
		}
		slices.SortFunc(circle, byName)
		found = append(found, circle)
	}
	for _, f := range g.files {
		if index[f] == 0 {
			visit(f)
		}
	}
	slices.SortFunc(found, func(a, b []*file) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), byName(a[0], b[0]))
	})
	return found
}
