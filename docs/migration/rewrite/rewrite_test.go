// SPDX-License-Identifier: Apache-2.0

// Package rewrite_test tests what k8sretrylint -migrate makes of programs: the files of after
// are those of before, rewritten, and both do the same.
package rewrite_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/docs/migration/rewrite/after"
	"github.com/k8sretry/k8sretry/docs/migration/rewrite/before"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

var update = flag.Bool("update", false, "write the package after")

// The programs of after are what the tool makes of those of before:
//
//	go test -run TestAfterIsBeforeRewritten ./rewrite -update
//
// The go command does not see that the result depends on the tool: after a change of it alone, use -count=1.
func TestAfterIsBeforeRewritten(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "k8sretrylint")
	build := exec.Command("go", "build", "-o", tool, "./cmd/k8sretrylint")
	build.Dir = "../../../k8sretrylint"
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	// The copy has to be in the module, and a name with an underscore keeps it out of ./...
	dir, err := os.MkdirTemp(".", "_rewritten")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	files, err := filepath.Glob("before/*.go")
	require.NoError(t, err)
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), source, 0o644))
	}
	out, err = exec.Command(tool, "-migrate", "-fix", "./"+dir).CombinedOutput()
	require.NoError(t, err, "%s", out)

	for _, file := range files {
		name := filepath.Base(file)
		rewritten, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		got := strings.Replace(string(rewritten), "package before", "package after", 1)
		if name == "doc.go" {
			got = "// SPDX-License-Identifier: Apache-2.0\n\n// Package after has what k8sretrylint makes of the programs of package before.\npackage after\n"
		}
		target := filepath.Join("after", name)
		if *update {
			require.NoError(t, os.MkdirAll("after", 0o755))
			require.NoError(t, os.WriteFile(target, []byte(got), 0o644))
			continue
		}
		want, err := os.ReadFile(target)
		require.NoError(t, err)
		assert.Equal(t, string(want), got, "%s: go test -run %s ./rewrite -update", name, t.Name())
	}
}

func cluster() (*fake.Clientset, *k8sretrytest.Faults) {
	clientset := fake.NewClientset(
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "totals", Namespace: "default"}, Data: map[string]string{"runs": ""}},
	)
	k8sretrytest.EmulateServer(&clientset.Fake)
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	return clientset, &faults
}

type reader func(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error)

// Before and after, the programs repeat the same failures, as often and about as fast.
func TestReads(t *testing.T) {
	for name, read := range map[string]reader{
		"OnError": before.OnError, "OnError, rewritten": after.OnError,
		"Condition": before.Condition, "Condition, rewritten": after.Condition,
		"ConditionWithContext": before.ConditionWithContext, "ConditionWithContext, rewritten": after.ConditionWithContext,
		"cenkalti": before.Cenkalti, "cenkalti, rewritten": after.Cenkalti,
		"avast": before.Avast, "avast, rewritten": after.Avast,
		"sethvargo": before.Sethvargo, "sethvargo, rewritten": after.Sethvargo,
		"a chain of sethvargo": before.SethvargoChain, "a chain of sethvargo, rewritten": after.SethvargoChain,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := cluster()
				faults.FailNext(2, "get", "pods", k8sretrytest.Status(503))
				start := time.Now()
				pod, err := read(t.Context(), clientset, "web-0")
				require.NoError(t, err)
				assert.Equal(t, "web-0", pod.Name)
				assert.Equal(t, 3, faults.Calls("get", "pods"))
				assert.InDelta(t, 2.5, time.Since(start).Seconds(), 2)

				_, err = read(t.Context(), clientset, "web-1")
				assert.True(t, apierrors.IsNotFound(err), "%v", err)
				assert.Equal(t, 4, faults.Calls("get", "pods"), "a 404 is not repeated")

				faults.FailNext(99, "get", "pods", k8sretrytest.Status(503))
				_, err = read(t.Context(), clientset, "web-0")
				assert.Error(t, err)
				assert.Equal(t, 8, faults.Calls("get", "pods"), "three retries")
			})
		})
	}
}

func TestReadModifyWrites(t *testing.T) {
	for name, program := range map[string]struct {
		count func(context.Context, kubernetes.Interface) error
		fail  func(context.Context, kubernetes.Interface, string) error
	}{
		"RetryOnConflict":            {before.CountRun, before.Fail},
		"RetryOnConflict, rewritten": {after.CountRun, after.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := cluster()
				conflict := k8sretrytest.ServerStatus(409, metav1.StatusReasonConflict, "the object has been modified")
				faults.FailNext(2, "update", "configmaps", conflict)
				require.NoError(t, program.count(t.Context(), clientset))
				totals, err := clientset.CoreV1().ConfigMaps("default").Get(t.Context(), "totals", metav1.GetOptions{})
				require.NoError(t, err)
				assert.Equal(t, "I", totals.Data["runs"])
				assert.Equal(t, 3, faults.Calls("update", "configmaps"))

				faults.FailNext(1, "update", "pods", conflict)
				require.NoError(t, program.fail(t.Context(), clientset, "web-0"))
				pod, err := clientset.CoreV1().Pods("default").Get(t.Context(), "web-0", metav1.GetOptions{})
				require.NoError(t, err)
				assert.Equal(t, corev1.PodFailed, pod.Status.Phase)
				writes := faults.Calls("update", "pods")
				require.NoError(t, program.fail(t.Context(), clientset, "web-0"))
				assert.Equal(t, writes, faults.Calls("update", "pods"), "nothing to change, nothing sent")
				assert.True(t, apierrors.IsNotFound(program.fail(t.Context(), clientset, "web-1")))
			})
		})
	}
}

// A write is repeated after what the server has refused. Rewritten, it is not repeated while
// its outcome is unknown, and the error says so.
func TestCreates(t *testing.T) {
	type create func(context.Context, kubernetes.Interface, *corev1.ConfigMap) error
	named := func(name string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}
	}
	for name, test := range map[string]struct {
		create    create
		rewritten bool
	}{"OnError": {before.Create, false}, "OnError, rewritten": {after.Create, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := cluster()
				faults.FailNext(2, "create", "configmaps", k8sretrytest.TooManyRequests(0))
				require.NoError(t, test.create(t.Context(), clientset, named("a")))
				assert.Equal(t, 3, faults.Calls("create", "configmaps"))
				assert.True(t, apierrors.IsAlreadyExists(test.create(t.Context(), clientset, named("a"))))

				faults.LoseResponses(1, "create", "configmaps", k8sretrytest.ConnectionClosed())
				err := test.create(t.Context(), clientset, named("b"))
				if test.rewritten {
					assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				} else {
					assert.True(t, apierrors.IsAlreadyExists(err), "its own object: %v", err)
				}
			})
		})
	}
}
