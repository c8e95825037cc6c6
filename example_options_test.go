package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// The answer to a create is lost. With the verb, the create is not repeated blindly.
// [k8sretry.Create] would find out whether the object was created.
func ExampleWithVerb() {
	ctx := context.Background()
	clientset, faults := exampleCluster()
	faults.LoseResponses(1, "create", "configmaps", k8sretrytest.ConnectionClosed())

	_, err := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.ConfigMap, error) {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "job-"}}
		return clientset.CoreV1().ConfigMaps("default").Create(ctx, cm, metav1.CreateOptions{})
	}, k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbCreate))

	fmt.Println("may have been created:", errors.Is(err, k8sretry.ErrOutcomeUnknown))
	fmt.Println("requests:", faults.Calls("create", "configmaps"))
	// Output:
	// may have been created: true
	// requests: 1
}

// NotFound is not retryable, but this pod is about to be created by someone else.
func ExampleWithRetryIf() {
	ctx := context.Background()
	clientset, faults := exampleCluster(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}})
	faults.FailNext(2, "get", "pods", k8sretrytest.Status(404))

	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get,
		k8sretry.ForRead(), k8sretry.WithRetryIf(apierrors.IsNotFound), noDelay)
	pod, err := get(ctx, "web-0", metav1.GetOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pod.Name, "after", faults.Calls("get", "pods"), "requests")
	// Output: web-0 after 3 requests
}

// A webhook of your own answers 503 for a permanent failure.
func ExampleWithClassifier() {
	classify := func(err error) (k8sretry.Verdict, bool) {
		v := k8sretry.Classify(err)
		if v.StatusCode != 503 || !strings.Contains(err.Error(), "quota service") {
			return v, false // use the default classification
		}
		v.Class = k8sretry.ClassPermanent
		return v, true
	}
	attempts := 0
	err := k8sretry.Run(context.Background(), func(context.Context) error {
		attempts++
		return apierrors.NewServiceUnavailable("quota service: denied")
	}, k8sretry.WithClassifier(classify))
	fmt.Println(attempts, err)
	// Output: 1 quota service: denied
}

// constant is a Backoff without growth.
type constant time.Duration

func (c constant) Delay(int) time.Duration { return time.Duration(c) }

// The server is being restarted: refused connections are retried at short intervals, all
// other failures as usual.
func ExampleWithBackoffFor() {
	ctx := context.Background()
	clientset, faults := exampleCluster(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}})
	faults.FailNext(3, "get", "pods", k8sretrytest.ConnectionRefused())

	var recorder k8sretrytest.Recorder
	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead(),
		k8sretry.WithBackoffFor(k8sretry.ClassRefused, constant(time.Millisecond)), k8sretry.WithObserver(&recorder))
	_, err := get(ctx, "web-0", metav1.GetOptions{})
	fmt.Println(err, recorder.Delays())
	// Output: <nil> [1ms 1ms 1ms]
}

// printer is an Observer that prints retries.
type printer struct{}

func (printer) Observe(_ context.Context, e k8sretry.Event) {
	if e.Kind == k8sretry.EventRetry {
		fmt.Printf("%s: attempt %d failed: %v\n", e.Function, e.Attempt, e.Class)
	}
}

func ExampleWithObserver() {
	ctx := context.Background()
	clientset, faults := exampleCluster(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}})
	faults.FailNext(1, "get", "pods", k8sretrytest.ConnectionRefused())
	faults.FailNext(1, "get", "pods", k8sretrytest.Status(503))

	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead(),
		k8sretry.WithName("get_pod"), k8sretry.WithObserver(printer{}), noDelay)
	_, err := get(ctx, "web-0", metav1.GetOptions{})
	fmt.Println(err)
	// Output:
	// get_pod: attempt 1 failed: refused
	// get_pod: attempt 2 failed: server
	// <nil>
}

// retryCounter is an Observer that counts retries. A service would use package
// k8sretryprom or k8sretryotel.
type retryCounter struct{ n int }

func (c *retryCounter) Observe(_ context.Context, e k8sretry.Event) {
	if e.Kind == k8sretry.EventRetry {
		c.n++
	}
}

func ExampleMultiObserver() {
	ctx := context.Background()
	clientset, faults := exampleCluster(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}})
	faults.FailNext(2, "get", "pods", k8sretrytest.Status(503))

	var counter retryCounter
	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead(),
		k8sretry.WithName("get_pod"), k8sretry.WithObserver(k8sretry.MultiObserver(printer{}, &counter)), noDelay)
	_, err := get(ctx, "web-0", metav1.GetOptions{})
	fmt.Println(err, "retries:", counter.n)
	// Output:
	// get_pod: attempt 1 failed: server
	// get_pod: attempt 2 failed: server
	// <nil> retries: 2
}

type requestLoggerKey struct{}

// requestLogger returns the logger of the request. If it is nil, zap.L() is used.
func requestLogger(ctx context.Context) *zap.Logger {
	logger, _ := ctx.Value(requestLoggerKey{}).(*zap.Logger)
	return logger
}

func ExampleWithContextLogger() {
	clientset, faults := exampleCluster(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}})
	faults.FailNext(1, "get", "pods", k8sretrytest.Status(503))
	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get,
		k8sretry.ForRead(), k8sretry.WithContextLogger(requestLogger), noDelay)

	core, lines := observer.New(zapcore.InfoLevel)
	logger := zap.New(core).With(zap.String("request_id", "r-1"))
	ctx := context.WithValue(context.Background(), requestLoggerKey{}, logger)
	if _, err := get(ctx, "web-0", metav1.GetOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	for _, line := range lines.All() {
		fmt.Println(line.ContextMap()["request_id"], line.Message)
	}
	// Output:
	// r-1 k8s_api_call_failed_retrying
	// r-1 k8s_api_call_succeeded_after_retry
}
