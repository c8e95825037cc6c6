// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exact disables the jitter, so that the output is deterministic.
var exact = k8sretry.WithJitter(k8sretry.JitterNone)

// cluster returns a fake clientset that behaves like a server, and its faults.
func cluster(objects ...runtime.Object) (kubernetes.Interface, *k8sretrytest.Faults) {
	clientset := fake.NewClientset(objects...)
	k8sretrytest.EmulateServer(&clientset.Fake)
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	return clientset, &faults
}

// inMemory returns a config whose requests are served by a handler without a network,
// so that a real clientset works in virtual time.
func inMemory(faults *k8sretrytest.Faults, serve http.HandlerFunc) *rest.Config {
	config := &rest.Config{Host: "http://in.memory", Transport: memory{serve}}
	config.Wrap(faults.Transport)
	return config
}

type memory struct{ http.Handler }

func (memory) CloseIdleConnections() {} // without it client-go logs a warning

func (m memory) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, req)
	return w.Result(), nil
}

// The Go code in recipes.md is identical to code in the files of this package, or
// in those that need a newer client-go.
func TestCodeInPageIsTested(t *testing.T) {
	page, err := os.ReadFile("../recipes.md")
	require.NoError(t, err)
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	files = append(files, "../../internal/newest/informer_test.go")
	var sources strings.Builder
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		sources.Write(source)
	}
	blocks := strings.Split(string(page), "```go\n")[1:]
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		code, _, ok := strings.Cut(block, "```")
		require.True(t, ok)
		for piece := range strings.SplitSeq(strings.TrimSpace(code), "\n\n") {
			assert.True(t, strings.Contains(sources.String(), piece), "not in these files:\n%s", piece)
		}
	}
}
