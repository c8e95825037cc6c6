// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// environment is the variable that chooses the mutant, by its number: its index in the sample
// and one. Without it, the code does what it did before.
const environment = "MUTATE"

// chosenFile is added to each package that has mutants.
const chosenFile = "mutate_chosen.go"

func chosen(name string) string {
	return fmt.Sprintf(`package %s

import (
	"os"
	"strconv"
)

var mutateChosen, _ = strconv.Atoi(os.Getenv(%q))
`, name, environment)
}

// schemata returns the file with all its mutants, of which one is chosen at run time: the body
// of a function becomes a switch that has a copy for each mutant. The numbers of those
// that are no Go at all are returned, too; they have no copy.
func schemata(file string, src []byte, mutants map[int]mutant) (out []byte, broken []int) {
	numbers := make([]int, 0, len(mutants))
	for number := range mutants {
		numbers = append(numbers, number)
	}
	slices.SortFunc(numbers, func(a, b int) int { return mutants[a].bodyBegin - mutants[b].bodyBegin })
	end := 0 // of what is written
	for i, number := range numbers {
		m := mutants[number]
		if i == 0 || mutants[numbers[i-1]].bodyBegin != m.bodyBegin {
			out = append(out, src[end:m.bodyBegin]...)
			out = append(out, "{\nswitch mutateChosen {\n"...)
			end = m.bodyBegin
		}
		if body, err := relabel(m.body(src), number); err != nil {
			broken = append(broken, number)
		} else {
			// The compiler names the mutant instead of the file.
			out = fmt.Appendf(out, "case %d:\n//line mutant%d:1\n%s\n", number, number, body)
		}
		if i == len(numbers)-1 || mutants[numbers[i+1]].bodyBegin != m.bodyBegin {
			out = fmt.Appendf(out, "default:\n//line %s:%d\n%s\n}\n}", file, m.firstLine, src[m.bodyBegin:m.bodyEnd])
			end = m.bodyEnd
		}
	}
	return append(out, src[end:]...), broken
}

// relabel returns the body with labels of its own: those of a function are told apart by name.
func relabel(body []byte, number int) ([]byte, error) {
	const before = "package p; func _() "
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "", append([]byte(before), body...), parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var ends []int
	label := func(id *ast.Ident) {
		if id != nil {
			ends = append(ends, fset.Position(id.End()).Offset-len(before))
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.LabeledStmt:
			label(n.Label)
		case *ast.BranchStmt:
			label(n.Label)
		}
		return true
	})
	slices.Sort(ends)
	for _, end := range slices.Backward(ends) {
		body = slices.Insert(slices.Clone(body), end, []byte("_"+strconv.Itoa(number))...)
	}
	return body, nil
}

// writeOverlay writes the files of the mutants but for those that are left out, and the list of
// them that the go command reads. It adds to left what is no Go at all.
func writeOverlay(dir string, mutants []mutant, left map[int]bool) (overlay string, err error) {
	byFile := map[string]map[int]mutant{}
	for i, m := range mutants {
		if byFile[m.file] == nil {
			byFile[m.file] = map[int]mutant{}
		}
		if number := i + 1; !left[number] {
			byFile[m.file][number] = m
		}
	}
	replace := map[string]string{}
	add := func(file string, content []byte) error {
		changed := replace[file]
		if changed == "" {
			changed = filepath.Join(dir, strconv.Itoa(len(replace))+".go")
			replace[file] = changed
		}
		return os.WriteFile(changed, content, 0o600)
	}
	for file, mutants := range byFile {
		path, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.PackageClauseOnly)
		if err != nil {
			return "", err
		}
		changed, broken := schemata(path, src, mutants)
		for _, number := range broken {
			left[number] = true
		}
		if err := add(path, changed); err != nil {
			return "", err
		}
		if err := add(filepath.Join(filepath.Dir(path), chosenFile), []byte(chosen(f.Name.Name))); err != nil {
			return "", err
		}
	}
	return overlayFile(dir, "overlay.json", replace)
}

// overlayOf returns an overlay with one mutant and nothing else.
func overlayOf(dir string, m mutant) (overlay string, err error) {
	path, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	changed, err := os.CreateTemp(dir, "alone*.go")
	if err != nil {
		return "", err
	}
	_, err = changed.Write(slices.Concat(src[:m.bodyBegin], m.body(src), src[m.bodyEnd:]))
	if err = errors.Join(err, changed.Close()); err != nil {
		return "", err
	}
	return overlayFile(dir, filepath.Base(changed.Name())+".json", map[string]string{path: changed.Name()})
}

// overlayFile writes the list of replaced files that the go command reads.
func overlayFile(dir, name string, replace map[string]string) (string, error) {
	content, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, name)
	return file, os.WriteFile(file, content, 0o600)
}

var refusal = regexp.MustCompile(`\bmutant(\d+):\d+`)

// compilable writes an overlay with all mutants that compile. It adds the others to left.
func (t *trial) compilable(dir string, mutants []mutant, left map[int]bool) (overlay string, err error) {
	var packages []string
	for _, m := range mutants {
		if !slices.Contains(packages, m.dir()) {
			packages = append(packages, m.dir())
		}
	}
	for {
		if overlay, err = writeOverlay(dir, mutants, left); err != nil {
			return "", err
		}
		output, err := t.goCommand(append([]string{"build", "-overlay", overlay, allErrors}, packages...)...)
		if err == nil {
			return overlay, nil
		}
		found := false
		for _, match := range refusal.FindAllSubmatch(output, -1) {
			number, _ := strconv.Atoi(string(match[1]))
			found = found || !left[number]
			left[number] = true
		}
		if !found {
			return "", fmt.Errorf("%w\n%s", err, bytes.TrimSpace(output))
		}
	}
}
