package k8sretry_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

// TestREADMELength keeps the README to one page: tables and explanations belong into docs/
// and benchmarks/RESULTS.md.
func TestREADMELength(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	assert.LessOrEqual(t, strings.Count(string(readme), "\n"), 150, "lines of README.md")
}

// TestREADMECode checks that this file contains the Go code of README.md and of
// docs/overload.md, so that the code compiles and works.
func TestREADMECode(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	overload, err := os.ReadFile("docs/overload.md")
	require.NoError(t, err)
	here, err := os.ReadFile("readme_test.go")
	require.NoError(t, err)
	compiled := squeeze(string(here))
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme)+string(overload), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		for piece := range strings.SplitSeq(block[1], "\n\n") {
			assert.True(t, strings.Contains(compiled, squeeze(piece)), piece)
		}
	}
}

// squeeze returns a text without its indentation and empty lines.
func squeeze(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func readmeClientset() kubernetes.Interface {
	one := int32(1)
	return fake.NewClientset(
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}},
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}, Spec: appsv1.DeploymentSpec{Replicas: &one}},
	)
}

func TestREADMEQuickStart(t *testing.T) {
	ctx, clientset, logger := t.Context(), readmeClientset(), zap.NewNop()

	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead())
	pod, err := get(ctx, "web-0", metav1.GetOptions{})

	require.NoError(t, err)
	assert.Equal(t, "web-0", pod.Name)

	policy := k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.WithMaxElapsed(2*time.Minute), k8sretry.WithLogger(logger))
	err = k8sretry.Run(ctx, func(ctx context.Context) error {
		return clientset.CoreV1().Pods("default").Delete(ctx, "web-0", metav1.DeleteOptions{})
	}, policy, k8sretry.WithVerb(k8sretry.VerbDelete))

	require.NoError(t, err)
	_, err = get(ctx, "web-0", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err))
}

func TestREADMESafeWrites(t *testing.T) {
	ctx, clientset := t.Context(), readmeClientset()
	var err error

	_, err = k8sretry.Modify(ctx, clientset.AppsV1().Deployments("default"), "web", func(d *appsv1.Deployment) error {
		*d.Spec.Replicas++
		return nil
	}, k8sretry.ForWrite())

	require.NoError(t, err)
	web, err := clientset.AppsV1().Deployments("default").Get(ctx, "web", metav1.GetOptions{})
	require.NoError(t, err)
	assert.EqualValues(t, 2, *web.Spec.Replicas)
}

func TestREADMEClientset(t *testing.T) {
	config := &rest.Config{Host: "https://server"}
	t.Cleanup(k8sretry.ForgetTransports)

	config.Wrap(k8sretry.Transport(k8sretry.WithAttemptTimeout(30 * time.Second)))

	_, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
}

func TestREADMEErrors(t *testing.T) {
	err := k8sretry.Run(t.Context(), func(context.Context) error { return notFound() })
	switch {
	case errors.Is(err, k8sretry.ErrOutcomeUnknown): // the server may have carried out the call: read before you repeat it
	case errors.Is(err, k8sretry.ErrMaxRetries): // all attempts failed
	case apierrors.IsNotFound(err): // the predicates of apierrors see the last API error
	}

	assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
	assert.NotErrorIs(t, err, k8sretry.ErrMaxRetries)
	assert.True(t, apierrors.IsNotFound(err))
}

func TestREADMEOverload(t *testing.T) {
	config := &rest.Config{Host: "https://server"}
	t.Cleanup(k8sretry.ForgetTransports)

	limiter := k8sretry.NewLimiter() // one per process; a Transport limits each server separately
	config.Wrap(k8sretry.Transport(k8sretry.ForWrite(), k8sretry.WithLimiter(limiter), k8sretry.WithAttemptTimeout(30*time.Second)))
	clientset, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	assert.NotNil(t, clientset)

	policy := k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.WithLimiter(k8sretry.NewLimiter()))

	patient := k8sretry.NewPolicy(policy, k8sretry.WithMaxQueueTime(10*time.Minute)) // a batch job
	atOnce := k8sretry.NewPolicy(policy, k8sretry.WithMaxQueueTime(0))               // a health check: ErrQueueTimeout instead of a wait

	guards := []k8sretry.Option{
		k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{})), k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{})),
	}
	for _, opts := range [][]k8sretry.Option{{patient}, {atOnce}, append(guards, policy)} {
		assert.NoError(t, k8sretry.Run(t.Context(), func(context.Context) error { return nil }, opts...))
	}
}
