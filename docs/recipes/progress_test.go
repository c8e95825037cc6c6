// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// progress prints why a call is waiting, and for how long.
type progress struct{ out io.Writer }

func (p progress) Observe(_ context.Context, e k8sretry.Event) {
	if e.Kind == k8sretry.EventRetry {
		fmt.Fprintf(p.out, "waiting %v: %s (attempt %d of %d)\n", e.Delay.Round(time.Second), reason(e), e.Attempt+1, e.MaxRetries+1)
	}
}

// reason describes a failure for users. Event.Detail is more precise.
func reason(e k8sretry.Event) string {
	switch e.Class {
	case k8sretry.ClassThrottled:
		return "server busy"
	case k8sretry.ClassRefused:
		return "server unreachable"
	case k8sretry.ClassConnection:
		return "connection lost"
	case k8sretry.ClassTimeout:
		return "timeout"
	case k8sretry.ClassDisruptionBudget:
		return "blocked by a disruption budget"
	}
	return "server error"
}

// show prints the phase of a pod. Ctrl-C ends it at once, even during a wait.
func show(ctx context.Context, clientset kubernetes.Interface, name string, out io.Writer, opts ...k8sretry.Option) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithObserver(progress{out}))
	pod, err := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, append(opts, policy)...)(ctx, name, metav1.GetOptions{})
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(out, "interrupted")
	case err == nil:
		fmt.Fprintln(out, pod.Name, pod.Status.Phase)
	}
	return err
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset, faults := cluster(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}, Status: corev1.PodStatus{Phase: "Running"}})
		faults.FailNext(1, "get", "pods", k8sretrytest.ConnectionRefused())
		faults.FailNext(1, "get", "pods", k8sretrytest.Status(503))
		faults.FailNext(1, "get", "pods", k8sretrytest.TooManyRequests(20*time.Second))
		var out strings.Builder
		policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithObserver(progress{&out}), exact)
		_, err := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, policy)(t.Context(), "web-0", metav1.GetOptions{})
		require.NoError(t, err)
		assert.Equal(t, `waiting 1s: server unreachable (attempt 2 of 4)
waiting 2s: server error (attempt 3 of 4)
waiting 20s: server busy (attempt 4 of 4)
`, out.String())
	})
}

// pressCtrlC interrupts the process when the first text is written.
type pressCtrlC struct{ strings.Builder }

func (p *pressCtrlC) Write(text []byte) (int, error) {
	if p.Len() == 0 {
		process, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = process.Signal(os.Interrupt)
		}
		if err != nil {
			return 0, err
		}
	}
	return p.Builder.Write(text)
}

// This test runs in real time, because a signal cannot be sent in virtual time. The wait of 1 s ends at once.
func TestCtrlCEndsTheWait(t *testing.T) {
	clientset, faults := cluster()
	faults.FailNext(9, "get", "pods", k8sretrytest.Status(503))
	var out pressCtrlC
	start := time.Now()
	err := show(t.Context(), clientset, "web-0", &out, exact)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, "waiting 1s: server error (attempt 2 of 4)\ninterrupted\n", out.String())
	assert.Less(t, time.Since(start), 900*time.Millisecond)
}
