// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// The exit codes of the job. The podFailurePolicy of a Job can distinguish them: count
// exitTransient as a failure to be retried, and fail the Job on the others.
const (
	exitOK        = 0
	exitPermanent = 1  // would fail again in the same way
	exitUnknown   = 3  // a write may have been carried out; check before running again
	exitTransient = 75 // the server was unavailable for too long; EX_TEMPFAIL of sysexits.h
)

// label labels all ConfigMaps of a namespace. It tolerates an outage of four minutes
// in each call, and takes at most ten minutes in all.
func label(ctx context.Context, clientset kubernetes.Interface, namespace string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // less than the activeDeadlineSeconds of the Job
	defer cancel()
	policy := k8sretry.NewPolicy(k8sretry.ForMaintenance(), k8sretry.WithMaxElapsed(4*time.Minute), k8sretry.WithAttemptTimeout(30*time.Second))

	configMaps := clientset.CoreV1().ConfigMaps(namespace)
	list, err := k8sretry.Wrap1(configMaps.List, policy, k8sretry.WithVerb(k8sretry.VerbList))(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, found := range list.Items {
		_, err := k8sretry.Modify(ctx, configMaps, found.Name, func(cm *corev1.ConfigMap) error {
			metav1.SetMetaDataLabel(&cm.ObjectMeta, "example.com/migrated", "true")
			return nil
		}, policy)
		if err != nil {
			return fmt.Errorf("%s: %w", found.Name, err)
		}
		fmt.Fprintln(out, "migrated", found.Name)
	}
	return nil
}

// exitCode returns the exit code of the job.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, k8sretry.ErrOutcomeUnknown): // may be combined with any of the following
		return exitUnknown
	case errors.Is(err, k8sretry.ErrMaxRetries), errors.Is(err, k8sretry.ErrMaxElapsed),
		errors.Is(err, k8sretry.ErrDeadline), errors.Is(err, k8sretry.ErrRetryAfterTooLong),
		errors.Is(err, k8sretry.ErrBudgetExhausted), errors.Is(err, k8sretry.ErrBreakerOpen),
		errors.Is(err, k8sretry.ErrQueueTimeout),
		errors.Is(err, context.Canceled): // SIGTERM, for example during a drain
		return exitTransient
	}
	return exitPermanent
}

func TestBatch(t *testing.T) {
	for name, job := range map[string]struct {
		faults func(*k8sretrytest.Faults)
		code   int
		out    string
		after  time.Duration // at most
	}{
		"no failure": {func(*k8sretrytest.Faults) {}, exitOK, "migrated a\nmigrated b\n", 0},
		"an outage of two minutes": {
			func(f *k8sretrytest.Faults) { f.FailNext(8, "get", "configmaps", k8sretrytest.ConnectionRefused()) },
			exitOK, "migrated a\nmigrated b\n", 3 * time.Minute,
		},
		"an outage of hours": {
			func(f *k8sretrytest.Faults) { f.FailNext(999, "get", "configmaps", k8sretrytest.ConnectionRefused()) },
			exitTransient, "", 5 * time.Minute,
		},
		"no permission": {
			func(f *k8sretrytest.Faults) { f.FailNext(999, "list", "configmaps", k8sretrytest.Status(403)) },
			exitPermanent, "", 0,
		},
		"an answer is lost": {
			func(f *k8sretrytest.Faults) {
				f.LoseResponses(1, "update", "configmaps", k8sretrytest.ConnectionClosed())
			},
			exitOK, "migrated a\nmigrated b\n", 2 * time.Second,
		},
		"an answer is lost, then the server is unreachable": {
			func(f *k8sretrytest.Faults) {
				f.LoseResponses(1, "update", "configmaps", k8sretrytest.ConnectionClosed())
				f.FailNext(1, "list", "configmaps", nil)
				f.FailNext(1, "get", "configmaps", nil)
				f.FailNext(999, "*", "configmaps", k8sretrytest.ConnectionRefused())
			},
			exitUnknown, "", 10 * time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := cluster(
					&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default"}},
					&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: "default"}},
				)
				job.faults(faults)
				var out strings.Builder
				start := time.Now()
				err := label(t.Context(), clientset, "default", &out)
				assert.Equal(t, job.code, exitCode(err), "%v", err)
				assert.Equal(t, job.out, out.String())
				assert.LessOrEqual(t, time.Since(start), job.after)
			})
		})
	}
}

func TestExitCode(t *testing.T) {
	for _, reason := range []error{
		k8sretry.ErrMaxRetries, k8sretry.ErrMaxElapsed, k8sretry.ErrDeadline, k8sretry.ErrRetryAfterTooLong,
		k8sretry.ErrBudgetExhausted, k8sretry.ErrBreakerOpen, k8sretry.ErrQueueTimeout, context.Canceled,
	} {
		assert.Equal(t, exitTransient, exitCode(fmt.Errorf("a: %w", reason)), "%v", reason)
		assert.Equal(t, exitUnknown, exitCode(errors.Join(reason, k8sretry.ErrOutcomeUnknown)), "%v, outcome unknown", reason)
	}
	assert.Equal(t, exitPermanent, exitCode(k8sretrytest.Status(403)))
	assert.Equal(t, exitOK, exitCode(nil))
}
