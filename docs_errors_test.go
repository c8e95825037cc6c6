package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry"
)

// The columns of the page. Reads share one: no verdict tells them apart, which
// TestErrorsPage makes sure of.
var columns = []struct {
	title string
	verbs []k8sretry.Verb
}{
	{"no verb", []k8sretry.Verb{k8sretry.VerbUnspecified}},
	{"get, list, watch", []k8sretry.Verb{k8sretry.VerbGet, k8sretry.VerbList, k8sretry.VerbWatch}},
	{"create", []k8sretry.Verb{k8sretry.VerbCreate}},
	{"update", []k8sretry.Verb{k8sretry.VerbUpdate}},
	{"patch", []k8sretry.Verb{k8sretry.VerbPatch}},
	{"apply", []k8sretry.Verb{k8sretry.VerbApply}},
	{"delete", []k8sretry.Verb{k8sretry.VerbDelete}},
	{"deletecollection", []k8sretry.Verb{k8sretry.VerbDeleteCollection}},
}

// The tables of docs/errors.md come from what Do does with each error:
//
//	go test -run TestErrorsPage . -update
func TestErrorsPage(t *testing.T) {
	for _, section := range errorsPage {
		var page strings.Builder
		page.WriteString("\n| error | code | class | outcome of a write | wait |")
		for _, c := range columns {
			page.WriteString(" " + c.title + " |")
		}
		page.WriteString("\n| --- |" + strings.Repeat(" --- |", 4+len(columns)) + "\n")
		for _, row := range section.rows {
			synctest.Test(t, func(t *testing.T) { page.WriteString(row.line(t)) })
		}
		page.WriteString("\n")
		k8sretry.Generated(t, "docs/errors.md", "<!-- "+section.mark+":begin -->\n", page.String(), "<!-- "+section.mark+":end -->\n")
	}
}

// A meaning that the classifier learns gets a row, too.
func TestErrorsPageLeavesNothingOut(t *testing.T) {
	shown := map[string]bool{}
	classes := map[k8sretry.Class]bool{k8sretry.ClassNone: true}
	for _, section := range errorsPage {
		for _, row := range section.rows {
			v := k8sretry.Classify(row.err)
			shown[v.Detail], classes[v.Class] = true, true
		}
	}
	files, err := filepath.Glob("classify*.go")
	require.NoError(t, err)
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`meaning\{\w+, \w+, [\w| ]+, "(.+)"\}`).FindAllStringSubmatch(string(source), -1) {
			found++
			assert.True(t, shown[m[1]], "%s knows %q, docs/errors.md does not: add a row to errorsPage", file, m[1])
		}
	}
	assert.Greater(t, found, 90, "the meanings are written in another way than this test reads them")
	for class := range k8sretry.ClassCanceled + 1 {
		assert.True(t, classes[class], "no row of class %v", class)
	}
}

// errorRow is an error as client-go returns it, and what has to be said to tell it
// from others of the same meaning.
type errorRow struct {
	note string
	err  error
}

// line asks Do, and makes sure that Verdict.Retryable would have said the same.
func (r errorRow) line(t *testing.T) string {
	v := k8sretry.Classify(r.err)
	code := "–"
	if v.StatusCode != 0 {
		code = fmt.Sprint(v.StatusCode)
	}
	title := v.Detail
	if r.note != "" {
		title += ": " + r.note
	}
	wait, cells := "–", make([]string, 0, len(columns))
	for _, c := range columns {
		cell := ""
		for i, verb := range c.verbs {
			answer, delay := r.ask(t, verb)
			assert.Equal(t, v.Retryable(verb), answer == "retried", "Do and Retryable disagree about %s %q", verb, title)
			if delay != "" {
				wait = delay
			}
			if i > 0 {
				assert.Equal(t, cell, answer, "%q cannot share a column", verb)
			}
			cell = answer
		}
		cells = append(cells, cell)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n",
		title, code, v.Class, strings.ReplaceAll(v.Outcome.String(), "_", " "), wait, strings.Join(cells, " | "))
}

// ask lets a call fail with the error once or twice, and tells what became of it and
// how long it has waited.
func (r errorRow) ask(t *testing.T, verb k8sretry.Verb) (answer, wait string) {
	attempts, start := 0, time.Now()
	err := k8sretry.Run(t.Context(), func(context.Context) error {
		attempts++
		return r.err
	}, k8sretry.WithVerb(verb), k8sretry.WithMaxRetries(1), exact)
	if attempts == 2 {
		return "retried", waited(t, time.Since(start), k8sretry.Classify(r.err).RetryAfter)
	}
	if e, ok := errors.AsType[*k8sretry.Error](err); ok && e.Outcome == k8sretry.OutcomeExecuted {
		return "done", ""
	}
	if errors.Is(err, k8sretry.ErrOutcomeUnknown) {
		return "unknown", ""
	}
	return "–", ""
}

// waited says in words by which rule the first delay was chosen.
func waited(t *testing.T, d, retryAfter time.Duration) string {
	switch {
	case retryAfter > 0:
		require.Equal(t, retryAfter, d)
		return "Retry-After"
	case d == time.Second:
		return "schedule"
	case d == time.Second/2:
		return "half"
	case d == 2*time.Second:
		return "twice"
	case d == 5*time.Second:
		return "5 s to 20 s"
	}
	require.Fail(t, "a delay without a word", "%v", d)
	return ""
}
