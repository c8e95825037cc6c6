package k8sretry

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/internal/delay"
)

var update = flag.Bool("update", false, "write the generated tables into doc.go and README.md")

// The tables of the presets in doc.go and README.md come from the calculator:
//
//	go test -run TestPresetTables . -update
func TestPresetTables(t *testing.T) {
	type row struct {
		name   string
		policy *Policy
	}
	var text, markdown strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "Preset\tRetries\tDelays\tIn all\tWith jitter")
	markdown.WriteString("| preset | retries | delays | in all | with jitter at most |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range []row{
		{"the defaults", NewPolicy()}, {"ForWrite", ForWrite()}, {"ForRead", ForRead()}, {"ForConnection", ForConnection()},
		{"ForMaintenance", ForMaintenance()}, {"ForBackground", ForBackground()},
	} {
		c := r.policy.config
		c.setDefaults()
		e := c.schedule()
		e.Jitter = JitterNone
		var total, most time.Duration
		for retry := 1; retry <= c.maxRetries(); retry++ {
			d := e.Delay(retry)
			total += d
			most += min(e.Max, time.Duration(float64(d)*(1+delay.Spread)))
		}
		delays := fmt.Sprintf("%v to %v", e.Initial, e.Max)
		fmt.Fprintf(w, "%s\t%d\t%s\t%v\t%v\n", r.name, c.maxRetries(), delays, total, most)
		name := r.name
		if r.policy.given != 0 {
			name = "`" + name + "()`"
		}
		fmt.Fprintf(&markdown, "| %s | %d | %s | %v | %v |\n", name, c.maxRetries(), delays, total, most)
	}
	require.NoError(t, w.Flush())
	comment := "//\n"
	for line := range strings.Lines(text.String()) {
		comment += "//\t" + line
	}
	Generated(t, "doc.go", "// presets:begin\n", comment+"//\n", "// presets:end\n")
	Generated(t, "README.md", "<!-- presets:begin -->\n", markdown.String(), "<!-- presets:end -->\n")
}

// Generated compares what is between two marks of a file with want, or writes it there. It
// is exported for the tests of package k8sretry_test.
func Generated(t *testing.T, file, begin, want, end string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := bytes.Cut(content, []byte(begin))
	require.True(t, ok, "%s has no %q", file, begin)
	got, after, ok := bytes.Cut(rest, []byte(end))
	require.True(t, ok, "%s has no %q", file, end)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(string(before)+begin+want+end+string(after)), 0o644))
		return
	}
	assert.Equal(t, want, string(got), "%s is out of date: go test -run %s . -update", file, t.Name())
}
