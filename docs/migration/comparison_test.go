// SPDX-License-Identifier: Apache-2.0

package migration

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table to docs/comparison.md")

// libraries are the compared packages, in the order of the page.
var libraries = []string{
	"k8s.io/client-go/util/retry",
	"github.com/cenkalti/backoff/v5",
	"github.com/avast/retry-go/v5",
	"github.com/sethvargo/go-retry",
	"github.com/hashicorp/go-retryablehttp",
	"github.com/failsafe-go/failsafe-go/retrypolicy",
	"github.com/k8sretry/k8sretry",
}

// The table of dependencies in docs/comparison.md is generated from go list:
//
//	go test -run TestDependencies . -update
func TestDependencies(t *testing.T) {
	const begin, end = "<!-- dependencies:begin -->\n", "<!-- dependencies:end -->\n"
	client := packages(t, "k8s.io/client-go/kubernetes")
	var table strings.Builder
	table.WriteString("\n| library | version | go.mod asks for | packages, itself included | modules | packages that a program with client-go does not have yet |\n| --- | --- | --- | ---: | ---: | ---: |\n")
	for _, library := range libraries {
		mods, more := map[string]bool{}, 0
		all := packages(t, library)
		for path, mod := range all {
			mods[mod] = true
			if client[path] == "" {
				more++
			}
		}
		about := list(t, "-f", "{{.Module.Version}} Go {{.Module.GoVersion}}", library)
		version, golang, _ := strings.Cut(about[0], " ")
		if library == "github.com/k8sretry/k8sretry" {
			version = "this one"
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %d | %d | %d |\n", library, version, golang, len(all), len(mods), more)
	}
	table.WriteString("\n")

	page, err := os.ReadFile("../comparison.md")
	require.NoError(t, err)
	before, rest, ok := bytes.Cut(page, []byte(begin))
	require.True(t, ok)
	got, after, ok := bytes.Cut(rest, []byte(end))
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile("../comparison.md", []byte(string(before)+begin+table.String()+end+string(after)), 0o644))
		return
	}
	assert.Equal(t, table.String(), string(got), "out of date: go test -run %s . -update", t.Name())
}

// packages returns the packages that a package depends on, itself included and without
// the standard library, with their modules.
func packages(t *testing.T, path string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, line := range list(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}} {{.Module.Path}}{{end}}", path) {
		path, mod, _ := strings.Cut(line, " ")
		all[path] = mod
	}
	return all
}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
