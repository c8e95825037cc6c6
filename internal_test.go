// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/delay"
	"github.com/k8sretry/k8sretry/internal/health"
)

func TestVerbClassOutcomeNames(t *testing.T) {
	seen := map[string]bool{}
	for v := VerbGet; v <= VerbDeleteCollection; v++ {
		assert.NotEmpty(t, v.String())
		assert.False(t, seen[v.String()])
		seen[v.String()] = true
	}
	assert.Empty(t, VerbUnspecified.String())
	assert.Equal(t, "invalid", Verb(len(verbNames)).String())
	for c := range Class(len(classNames)) {
		assert.NotEmpty(t, c.String())
		assert.False(t, seen[c.String()])
		seen[c.String()] = true
	}
	assert.Equal(t, "canceled", ClassCanceled.String())
	assert.Equal(t, "invalid", Class(len(classNames)).String())
	assert.Equal(t, " not_executed unknown executed invalid", OutcomeNone.String()+" "+OutcomeNotExecuted.String()+" "+OutcomeUnknown.String()+" "+OutcomeExecuted.String()+" "+Outcome(3).String())
	assert.Equal(t, "invalid invalid invalid", Outcome(-2).String()+" "+Outcome(math.MinInt8).String()+" "+Outcome(math.MaxInt8).String())
}

// What may be repeated, for every class, outcome and verb.
func TestRetryable(t *testing.T) {
	passing := map[Class]bool{
		ClassServer: true, ClassTimeout: true, ClassThrottled: true, ClassRefused: true, ClassConnection: true, ClassDisruptionBudget: true, ClassBadResponse: true,
	}
	for c := range Class(len(classNames)) {
		for v := VerbUnspecified; v <= VerbDeleteCollection; v++ {
			raced := c == ClassConflict && v == VerbApply // no version that it names can be stale
			assert.Equal(t, passing[c] || raced, Verdict{Class: c}.Retryable(v), "%v %v", c, v)
			notTwice := v == VerbCreate || v == VerbDeleteCollection
			assert.Equal(t, passing[c] && !notTwice, Verdict{Class: c, Outcome: OutcomeUnknown}.Retryable(v), "%v %v", c, v)
			harmless := v == VerbUnspecified || v == VerbGet || v == VerbList || v == VerbWatch
			assert.Equal(t, passing[c] && harmless, Verdict{Class: c, Outcome: OutcomeExecuted}.Retryable(v), "%v %v", c, v)
		}
	}
	assert.False(t, Verdict{Class: 99}.Retryable(VerbGet))
}

// internal/apirequest has verbs of its own, because it cannot import this package.
// Transports convert them.
func TestVerbsOfRequestsConvert(t *testing.T) {
	for v := range Verb(len(verbNames) + 1) {
		assert.Equal(t, v.String(), apirequest.Verb(v).String())
		assert.Equal(t, v.reads(), apirequest.Verb(v).Reads())
	}
}

// Log lines name the resource of a typed object without a RESTMapper.
func TestTheResourceOfATypeIsThatOfTheAPI(t *testing.T) {
	found := 0
	for gvk, typ := range scheme.Scheme.AllKnownTypes() {
		if _, ok := reflect.New(typ).Interface().(Object); !ok || strings.HasPrefix(typ.PkgPath(), "k8s.io/apimachinery/") {
			continue // a list, or options
		}
		found++
		got := targetOfType(reflect.PointerTo(typ))
		plural, _ := meta.UnsafeGuessKindToResource(gvk)
		assert.Equal(t, schema.GroupResource{Group: gvk.Group, Resource: plural.Resource}, schema.GroupResource{Group: got.group, Resource: got.resource}, "%v", gvk)
	}
	assert.Greater(t, found, 60)
	for _, v := range []any{new(metav1.PartialObjectMetadata), new(unstructured.Unstructured), 1, "text", new(int), []string{}} {
		assert.Equal(t, target{}, targetOfType(reflect.TypeOf(v)), "%T", v)
	}
}

func TestVerdictHealth(t *testing.T) {
	for _, c := range []struct {
		v    Verdict
		want health.Health
	}{
		{Verdict{Class: ClassServer, StatusCode: 503}, health.Failing},
		{Verdict{Class: ClassServer, StatusCode: 500, flags: besideServer}, health.Unknown},
		{Verdict{Class: ClassTimeout, StatusCode: 504, flags: besideServer}, health.Unknown},
		{Verdict{Class: ClassServer, StatusCode: 503, flags: besideServer | answered}, health.Unknown},
		{Verdict{Class: ClassTimeout}, health.Unreachable},
		{Verdict{Class: ClassTimeout, StatusCode: 504}, health.Unreachable},
		{Verdict{Class: ClassRefused}, health.Down},
		{Verdict{Class: ClassConnection}, health.Unreachable},
		{Verdict{Class: ClassThrottled, StatusCode: 429}, health.Throttled},
		{Classify(apierrors.NewGenericServerResponse(429, "GET", schema.GroupResource{Resource: "pods"}, "", "Too many requests, please try again later.\n", 1, true)), health.Exhausted},
		{Classify(apierrors.NewGenericServerResponse(429, "GET", schema.GroupResource{Resource: "pods"}, "", "the apiserver is shutting down", 1, true)), health.Throttled},
		{Classify(apierrors.NewTooManyRequests("storage is (re)initializing", 1)), health.Throttled},
		{Verdict{Class: ClassThrottled, StatusCode: 429, flags: besideServer | answered}, health.Healthy},
		{Classify(&apierrors.StatusError{ErrStatus: metav1.Status{Code: 429, Details: &metav1.StatusDetails{
			RetryAfterSeconds: 10, Causes: []metav1.StatusCause{{Type: causeDisruptionBudget}},
		}}}), health.Healthy}, // it asks one client to wait for one object
		{Verdict{Class: ClassBadResponse}, health.Healthy},
		{Verdict{Class: ClassConflict, StatusCode: 409}, health.Healthy},
		{Verdict{Class: ClassBlocked, StatusCode: 403}, health.Healthy},
		{Verdict{Class: ClassDisruptionBudget, StatusCode: 429}, health.Healthy},
		{Verdict{Class: ClassPermanent, StatusCode: 404}, health.Healthy},
		{Verdict{Class: ClassPermanent}, health.Unknown},
		{Verdict{Class: ClassConflict}, health.Unknown},
		{Verdict{Class: ClassCanceled}, health.Unknown},
		{Verdict{}, health.Unknown},
	} {
		assert.Equal(t, c.want, c.v.health(), "%+v", c.v)
	}
}

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

// A Limiter tells calls without a name apart by the code of their functions.
func TestCodeOfAFunction(t *testing.T) {
	closures := make([]func() int, 2)
	for i := range closures {
		closures[i] = func() int { return i }
	}
	other := func() int { return 2 }
	assert.Equal(t, reflect.ValueOf(closures[0]).Pointer(), codeOf(closures[0]))
	assert.Equal(t, codeOf(closures[0]), codeOf(closures[1]), "two closures of one function")
	assert.NotEqual(t, codeOf(closures[0]), codeOf(other))
	assert.Equal(t, reflect.ValueOf(TestCodeOfAFunction).Pointer(), codeOf(TestCodeOfAFunction))
}
