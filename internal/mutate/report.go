// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
)

// report prints the figures by file and all survivors. It returns the percentage killed.
func report(stdout io.Writer, mutants []mutant, fates []fate) float64 {
	var total [len(fateNames)]int
	perFile := map[string]*[len(fateNames)]int{}
	var files []string
	for i, m := range mutants {
		if perFile[m.file] == nil {
			perFile[m.file] = new([len(fateNames)]int)
			files = append(files, m.file)
		}
		perFile[m.file][fates[i]]++
		total[fates[i]]++
	}
	fmt.Fprintf(stdout, "\n%-40s %7s %9s %11s %12s\n", "file", "killed", "survived", "equivalent", "not compiled")
	for _, f := range files {
		c := perFile[f]
		fmt.Fprintf(stdout, "%-40s %7d %9d %11d %12d\n", f, c[killed], c[survived], c[equivalent], c[invalid])
	}
	percent := 100.0
	if tried := total[killed] + total[survived]; tried > 0 {
		percent = 100 * float64(total[killed]) / float64(tried)
	}
	fmt.Fprintf(stdout, "%-40s %7d %9d %11d %12d\n", "all", total[killed], total[survived], total[equivalent], total[invalid])
	fmt.Fprintf(stdout, "%.1f %% killed of the mutants that are not equivalent\n", percent)
	for i, m := range mutants {
		if fates[i] == survived {
			fmt.Fprintf(stdout, "survived: %s\n          %s\n", m, m.key())
		}
	}
	return percent
}
