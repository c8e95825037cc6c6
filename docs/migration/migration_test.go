// SPDX-License-Identifier: Apache-2.0

package migration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reader reads a pod, with one of the libraries or with k8sretry.
type reader func(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error)

var readers = map[string]struct{ before, after reader }{
	"client-go":   {onErrorBefore, onErrorAfter},
	"cenkalti":    {cenkaltiBefore, cenkaltiAfter},
	"avast":       {avastBefore, avastAfter},
	"sethvargo":   {sethvargoBefore, sethvargoAfter},
	"failsafe-go": {failsafeBefore, failsafeAfter},
}

// cluster returns a fake clientset that behaves like a server, and its faults.
func cluster() (kubernetes.Interface, *k8sretrytest.Faults) {
	clientset := fake.NewClientset(
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "totals", Namespace: "default"}, Data: map[string]string{"runs": "41"}},
	)
	k8sretrytest.EmulateServer(&clientset.Fake)
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	return clientset, &faults
}

func TestReadersBehaveAlikeBeforeAndAfter(t *testing.T) {
	for name, pair := range readers {
		for when, read := range map[string]reader{"before": pair.before, "after": pair.after} {
			t.Run(name+"/"+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					clientset, faults := cluster()
					faults.FailNext(2, "get", "pods", k8sretrytest.Status(503))
					start := time.Now()
					pod, err := read(t.Context(), clientset, "web-0")
					require.NoError(t, err)
					assert.Equal(t, "web-0", pod.Name, "two failures are retried")
					assert.Equal(t, 3, faults.Calls("get", "pods"))
					assert.InDelta(t, 2.5, time.Since(start).Seconds(), 2, "with delays")

					_, err = read(t.Context(), clientset, "web-1")
					assert.True(t, apierrors.IsNotFound(err), "404 is not retried: %v", err)
					assert.Equal(t, 4, faults.Calls("get", "pods"))

					faults.FailNext(99, "get", "pods", k8sretrytest.Status(503))
					_, err = read(t.Context(), clientset, "web-0")
					assert.True(t, apierrors.IsServiceUnavailable(err), "three retries: %v", err)
					assert.Equal(t, 8, faults.Calls("get", "pods"))
				})
			})
		}
	}
}

// The Go code in migration.md is identical to code in the files of this module.
func TestCodeInPageIsTested(t *testing.T) {
	page, err := os.ReadFile("../migration.md")
	require.NoError(t, err)
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var sources strings.Builder
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		sources.Write(source)
	}
	blocks := strings.Split(string(page), "```go\n")[1:]
	require.Len(t, blocks, 2*(len(readers)+2)+1, "two functions for each program, and the predicate")
	for _, block := range blocks {
		code, _, ok := strings.Cut(block, "```")
		require.True(t, ok)
		assert.True(t, strings.Contains(sources.String(), code), "not in the files of this module:\n%s", code)
	}
}
