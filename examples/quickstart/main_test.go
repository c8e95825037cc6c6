// SPDX-License-Identifier: Apache-2.0

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

// The expected content of the log.
var (
	wantEvents = map[string]string{
		"k8s_api_call_failed_retrying":       "8",
		"k8s_api_call_succeeded_after_retry": "4",
		"k8s_api_call_failed_max_retries":    "1",
		"k8s_api_call_failed_non_retryable":  "1",
	}
	wantCodes = []string{"3 503", "1 null", "1 504", "1 502", "1 500", "1 429"}
)

// TestSummaryCommandsGiveTheirExpectedOutput builds and runs the program, and runs
// the commands that its summary prints.
func TestSummaryCommandsGiveTheirExpectedOutput(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "quickstart")
	built, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", built)
	run := exec.Command(program)
	run.Dir = dir
	output, err := run.CombinedOutput()
	require.NoError(t, err, "%s", output)

	shell := func(pipeline string) string {
		sh := exec.Command("sh", "-c", pipeline)
		sh.Dir, sh.Env = dir, append(os.Environ(), "LC_ALL=C")
		result, err := sh.CombinedOutput()
		require.NoError(t, err, "%s: %s", pipeline, result)
		return strings.TrimSpace(string(result))
	}
	for event, want := range wantEvents {
		pipeline := "grep " + event + " app.log | wc -l"
		assert.Equal(t, want, shell(pipeline), pipeline)
		assert.Regexp(t, regexp.QuoteMeta(pipeline)+` +# `+want+`\n`, string(output), "the summary has the same number")
	}
	log, err := os.ReadFile(filepath.Join(dir, "app.log"))
	require.NoError(t, err)
	assert.Equal(t, wantCodes, codesOf(t, log))
	if _, err := exec.LookPath("jq"); err == nil { // without jq, codesOf still checks the counts
		pipeline := "grep k8s_api_call_failed_retrying app.log | jq .status_code | sort | uniq -c | sort -rn"
		assert.Equal(t, wantCodes, trimmedLines(shell(pipeline)), pipeline)
	}
	for _, line := range wantCodes {
		assert.Contains(t, string(output), line+"\n")
	}
	for line := range strings.Lines(string(log)) {
		assert.Contains(t, string(output), line, "the log is also printed")
	}
}

// codesOf does in Go what the jq pipeline does.
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

// startCluster starts a server that takes the place of a real cluster.
func startCluster(t *testing.T) (server *tinykube.Server, kubeconfig string) {
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

// assertUntouched checks that the only object written is a ConfigMap of the
// quickstart, and that it has been deleted.
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

func TestClusterIsUnchangedAfterTheRun(t *testing.T) {
	server, kubeconfig := startCluster(t)
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
	assert.Equal(t, wantCodes, codesOf(t, written), "the failures are the same as with the server in memory")
}

func TestInterruptedRunDeletesItsConfigMap(t *testing.T) {
	server, kubeconfig := startCluster(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// The run is interrupted after the ConfigMap has been created.
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

func TestRunFailsOn(t *testing.T) {
	server, kubeconfig := startCluster(t)
	dir := t.TempDir()
	cases := map[string]struct {
		options options
		want    string
	}{
		"a missing namespace":               {options{kubeconfig, "nowhere", filepath.Join(dir, "app.log")}, `namespaces "nowhere" not found`},
		"a missing kubeconfig":              {options{filepath.Join(dir, "none"), "default", filepath.Join(dir, "app.log")}, "no such file"},
		"a log file that cannot be created": {options{kubeconfig, "default", filepath.Join(dir, "none", "app.log")}, "open the log"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			assert.ErrorContains(t, run(context.Background(), io.Discard, c.options), c.want)
		})
	}
	assertUntouched(t, server)
}
