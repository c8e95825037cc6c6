package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry/examples/internal/tinykube"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the log of a run has to say.
var (
	wantEvents = map[string]string{
		"k8s_api_call_failed_retrying":       "8",
		"k8s_api_call_succeeded_after_retry": "4",
		"k8s_api_call_failed_max_retries":    "1",
		"k8s_api_call_failed_non_retryable":  "1",
	}
	wantCodes = []string{"3 503", "1 null", "1 504", "1 502", "1 500", "1 429"}
)

// TestTheProgramAndItsPipelines builds the program, runs it as a newcomer does,
// and asks its log what the summary says to ask.
func TestTheProgramAndItsPipelines(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "quickstart")
	built, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", built)
	run := exec.Command(program)
	run.Dir = dir
	shown, err := run.CombinedOutput()
	require.NoError(t, err, "the exit code of\n%s", shown)

	ask := func(pipeline string) string {
		sh := exec.Command("sh", "-c", pipeline)
		sh.Dir, sh.Env = dir, append(os.Environ(), "LC_ALL=C")
		answer, err := sh.CombinedOutput()
		require.NoError(t, err, "%s: %s", pipeline, answer)
		return strings.TrimSpace(string(answer))
	}
	for event, want := range wantEvents {
		pipeline := "grep " + event + " app.log | wc -l"
		assert.Equal(t, want, ask(pipeline), pipeline)
		assert.Regexp(t, regexp.QuoteMeta(pipeline)+` +# `+want+`\n`, string(shown), "the summary says so, too")
	}
	log, err := os.ReadFile(filepath.Join(dir, "app.log"))
	require.NoError(t, err)
	assert.Equal(t, wantCodes, codesOf(t, log), "counted here")
	if _, err := exec.LookPath("jq"); err == nil { // a machine without it still has the count above
		pipeline := "grep k8s_api_call_failed_retrying app.log | jq .status_code | sort | uniq -c | sort -rn"
		assert.Equal(t, wantCodes, trimmedLines(ask(pipeline)), pipeline)
	}
	for _, line := range wantCodes {
		assert.Contains(t, string(shown), line+"\n")
	}
	for line := range strings.Lines(string(log)) {
		assert.Contains(t, string(shown), line, "the log is shown, too")
	}
}

// codesOf is the jq pipeline in Go.
func codesOf(t *testing.T, log []byte) (lines []string) {
	counts := map[string]int{}
	for line := range bytes.Lines(log) {
		if !bytes.Contains(line, []byte("k8s_api_call_failed_retrying")) {
			continue
		}
		var entry struct {
			StatusCode json.RawMessage `json:"status_code"`
		}
		require.NoError(t, json.Unmarshal(line, &entry), "%s", line)
		if entry.StatusCode == nil {
			entry.StatusCode = json.RawMessage("null")
		}
		counts[string(entry.StatusCode)]++
	}
	for code, n := range counts {
		lines = append(lines, fmt.Sprintf("%7d %s", n, code))
	}
	slices.Sort(lines)
	slices.Reverse(lines)
	return trimmedLines(strings.Join(lines, "\n"))
}

func trimmedLines(text string) (lines []string) {
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// someCluster is a server that stands for a real cluster.
func someCluster(t *testing.T) (server *tinykube.Server, kubeconfig string) {
	t.Helper()
	server, err := tinykube.Start()
	require.NoError(t, err)
	t.Cleanup(func() {
		server.Stop()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, server.WriteKubeconfig(kubeconfig))
	return server, kubeconfig
}

// assertUntouched makes sure that nothing but a ConfigMap of the quickstart's own
// was written, and that it is gone.
func assertUntouched(t *testing.T, server *tinykube.Server) {
	t.Helper()
	for _, r := range server.Requests() {
		if !slices.Contains([]string{"get", "list", "watch"}, r.Verb) {
			assert.Equal(t, "configmaps", r.Resource, "%+v", r)
			assert.True(t, strings.HasPrefix(r.Name, "k8sretry-quickstart-"), "%+v", r)
		}
	}
	clients, err := kubernetes.NewForConfig(server.Config())
	require.NoError(t, err)
	left, err := clients.CoreV1().ConfigMaps("").List(context.Background(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Empty(t, left.Items)
}

func TestARealClusterIsLeftAsItWas(t *testing.T) {
	server, kubeconfig := someCluster(t)
	log := filepath.Join(t.TempDir(), "app.log")
	err := run(context.Background(), io.Discard, options{kubeconfig: kubeconfig, namespace: "default", log: log})
	require.NoError(t, err)
	assert.NotZero(t, server.Count(tinykube.Match{Verb: "create", Resource: "configmaps"}))
	assertUntouched(t, server)

	written, err := os.ReadFile(log)
	require.NoError(t, err)
	for event, want := range wantEvents {
		assert.Equal(t, want, fmt.Sprint(bytes.Count(written, []byte(event))), event)
	}
	assert.Equal(t, wantCodes, codesOf(t, written), "the failures are the same as in memory")
}

func TestAnInterruptedRunCleansUp(t *testing.T) {
	server, kubeconfig := someCluster(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// The interrupt comes when the ConfigMap is there and is being read.
	out := writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("get it")) {
			cancel()
		}
		return len(p), nil
	})
	err := run(ctx, out, options{kubeconfig: kubeconfig, namespace: "default", log: filepath.Join(t.TempDir(), "app.log")})
	assert.ErrorIs(t, err, context.Canceled)
	assert.NotZero(t, server.Count(tinykube.Match{Verb: "delete", Resource: "configmaps"}))
	assertUntouched(t, server)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestWhatDoesNotGoAsPlannedIsAnError(t *testing.T) {
	server, kubeconfig := someCluster(t)
	dir := t.TempDir()
	cases := map[string]struct {
		options options
		want    string
	}{
		"a namespace that is not there": {options{kubeconfig, "nowhere", filepath.Join(dir, "app.log")}, `namespaces "nowhere" not found`},
		"no such kubeconfig":            {options{filepath.Join(dir, "none"), "default", filepath.Join(dir, "app.log")}, "no such file"},
		"a log that cannot be written":  {options{kubeconfig, "default", filepath.Join(dir, "none", "app.log")}, "open the log"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			assert.ErrorContains(t, run(context.Background(), io.Discard, c.options), c.want)
		})
	}
	assertUntouched(t, server)
}
