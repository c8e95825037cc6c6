// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// coverage is what a test has executed: the blocks of each file, as a profile of go test lists them.
type coverage map[string][]block

type block struct {
	firstLine, firstColumn, lastLine, lastColumn, statements, count int
}

// parseCoverage reads a profile. Files are named from the root of the module.
func parseCoverage(module, profile string) coverage {
	c := coverage{}
	for line := range strings.Lines(profile) {
		file, rest, ok := strings.Cut(strings.TrimPrefix(line, module+"/"), ":")
		var b block
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.firstLine, &b.firstColumn, &b.lastLine, &b.lastColumn, &b.statements, &b.count); ok && err == nil {
			c[file] = append(c[file], b)
		}
	}
	return c
}

// executes reports whether the code of the mutant was executed. What is in no block, such as
// the expression of a case, counts as executed if anything of its function was.
func (c coverage) executes(m mutant) bool {
	known, function := false, false
	for _, b := range c[m.file] {
		switch {
		case b.contains(m.line, m.column):
			if b.count > 0 {
				return true
			}
			known = true
		case b.count > 0 && b.firstLine >= m.firstLine && b.lastLine <= m.lastLine:
			function = true
		}
	}
	return !known && function
}

func (b block) contains(line, column int) bool {
	after := line > b.firstLine || line == b.firstLine && column >= b.firstColumn
	before := line < b.lastLine || line == b.lastLine && column < b.lastColumn
	return after && before
}
