package k8sretry_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
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

// The Go code of the README and of docs/overload.md stands here, too, so that it
// compiles and works.
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

// squeeze is a text without its indentation and empty lines.
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

func TestREADMEFirstLines(t *testing.T) {
	ctx, clientset := t.Context(), readmeClientset()

	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead())

	pod, err := get(ctx, "web-0", metav1.GetOptions{})

	require.NoError(t, err)
	assert.Equal(t, "web-0", pod.Name)
}

func TestREADMEUse(t *testing.T) {
	ctx, clientset, logger := t.Context(), readmeClientset(), zap.NewNop()

	pods, err := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.PodList, error) {
		return clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	}, k8sretry.ForRead())

	require.NoError(t, err)
	assert.Len(t, pods.Items, 1)

	err = k8sretry.Run(ctx, func(ctx context.Context) error {
		return clientset.CoreV1().Pods("default").Delete(ctx, "web-0", metav1.DeleteOptions{})
	}, k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbDelete))

	require.NoError(t, err)

	create := k8sretry.Wrap2(clientset.CoreV1().ConfigMaps("default").Create,
		k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbCreate))

	_, err = create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}}, metav1.CreateOptions{})
	require.NoError(t, err)

	policy := k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.WithMaxElapsed(2*time.Minute), k8sretry.WithLogger(logger))

	require.NoError(t, k8sretry.Run(ctx, func(context.Context) error { return nil }, policy))
}

func TestREADMEWrites(t *testing.T) {
	ctx, clientset, config := t.Context(), readmeClientset(), &rest.Config{}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}}

	config.Wrap(k8sretry.Transport(k8sretry.ForRead()))

	created, err := k8sretry.Create(ctx, clientset.CoreV1().Pods("default"), pod, metav1.CreateOptions{}, k8sretry.ForWrite())

	require.NoError(t, err)
	assert.Equal(t, "web-1", created.Name)

	_, err = k8sretry.Modify(ctx, clientset.AppsV1().Deployments("default"), "web", func(d *appsv1.Deployment) error {
		*d.Spec.Replicas++
		return nil
	}, k8sretry.ForWrite())

	require.NoError(t, err)
	web, err := clientset.AppsV1().Deployments("default").Get(ctx, "web", metav1.GetOptions{})
	require.NoError(t, err)
	assert.EqualValues(t, 2, *web.Spec.Replicas)
	k8sretry.ForgetTransports()
}

func TestREADMEErrors(t *testing.T) {
	err := k8sretry.Run(t.Context(), func(context.Context) error { return notFound() })
	switch {
	case errors.Is(err, k8sretry.ErrOutcomeUnknown): // the server may have done it: read before you repeat
	case errors.Is(err, k8sretry.ErrMaxRetries): // still failing after all retries
	case apierrors.IsNotFound(err): // predicates answer for the last API error
	}
}

func TestREADMEUnitTest(t *testing.T) {
	clientset := failingTwice("get")
	synctest.Test(t, func(t *testing.T) {
		get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead())
		pod, err := get(t.Context(), "web-0", metav1.GetOptions{}) // the reactor fails twice
		require.NoError(t, err)
		assert.Equal(t, "web-0", pod.Name)
	})
}

func TestREADMEOverload(t *testing.T) {
	config := &rest.Config{Host: "https://server"}
	t.Cleanup(k8sretry.ForgetTransports)

	gate := k8sretry.NewLimiter() // one for the process; the Transport keeps servers apart
	config.Wrap(k8sretry.Transport(k8sretry.ForWrite(), k8sretry.WithLimiter(gate), k8sretry.WithAttemptTimeout(30*time.Second)))
	clientset, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	assert.NotNil(t, clientset)

	policy := k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.WithLimiter(k8sretry.NewLimiter()))

	patient := k8sretry.NewPolicy(policy, k8sretry.WithMaxQueueTime(10*time.Minute)) // a batch job
	atOnce := k8sretry.NewPolicy(policy, k8sretry.WithMaxQueueTime(0))               // a health check: ErrQueueTimeout rather than a wait

	guards := []k8sretry.Option{
		k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{})), k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{})),
	}
	for _, opts := range [][]k8sretry.Option{{patient}, {atOnce}, append(guards, policy)} {
		assert.NoError(t, k8sretry.Run(t.Context(), func(context.Context) error { return nil }, opts...))
	}
}
