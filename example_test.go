// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/watch"
	applyv1 "k8s.io/client-go/applyconfigurations/core/v1"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// noDelay makes the examples run without waiting. Omit it in a service.
var noDelay = k8sretry.WithInitialDelay(0)

// exampleClientset returns a clientset with one pod that answers the first two calls with
// 503.
func exampleClientset() kubernetes.Interface {
	clientset := fake.NewClientset(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}})
	calls := 0
	clientset.PrependReactor("*", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		calls++
		return calls <= 2, nil, apierrors.NewServiceUnavailable("restarting")
	})
	return clientset
}

func ExampleDo() {
	ctx, clientset := context.Background(), exampleClientset()

	pods, err := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.PodList, error) {
		return clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	}, k8sretry.ForRead(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(pods.Items), "pod")
	// Output: 1 pod
}

func ExampleRun() {
	ctx, clientset := context.Background(), exampleClientset()

	err := k8sretry.Run(ctx, func(ctx context.Context) error {
		return clientset.CoreV1().Pods("default").Delete(ctx, "web-0", metav1.DeleteOptions{})
	}, k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbDelete), noDelay)
	fmt.Println(err)
	// Output: <nil>
}

func ExampleWrap1() {
	ctx, clientset := context.Background(), exampleClientset()

	list := k8sretry.Wrap1(clientset.CoreV1().Pods("default").List, k8sretry.ForRead(), noDelay)

	pods, err := list(ctx, metav1.ListOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(pods.Items), "pod")
	// Output: 1 pod
}

// A method of a typed client is wrapped once and called like the method.
func ExampleWrap2() {
	ctx, clientset := context.Background(), exampleClientset()

	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead(), noDelay)

	pod, err := get(ctx, "web-0", metav1.GetOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pod.Name)
	_, err = get(ctx, "web-1", metav1.GetOptions{})
	fmt.Println(apierrors.IsNotFound(err), err)
	// Output:
	// web-0
	// true pods "web-1" not found
}

func ExampleWrapRun2() {
	ctx, clientset := context.Background(), exampleClientset()

	remove := k8sretry.WrapRun2(clientset.CoreV1().Pods("default").Delete,
		k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbDelete), noDelay)

	fmt.Println(remove(ctx, "web-0", metav1.DeleteOptions{}))
	// Output: <nil>
}

// A policy for all calls of a service, and a call that overrides one of its settings.
func ExampleNewPolicy() {
	policy := k8sretry.NewPolicy(
		k8sretry.ForWrite(),
		k8sretry.WithMaxElapsed(2*time.Minute),
		k8sretry.WithLogger(zap.NewNop()),
	)
	attempts := 0
	err := k8sretry.Run(context.Background(), func(context.Context) error {
		attempts++
		return apierrors.NewServiceUnavailable("restarting")
	}, policy, k8sretry.WithMaxRetries(1), noDelay)
	fmt.Println(attempts, errors.Is(err, k8sretry.ErrMaxRetries))
	// Output: 2 true
}

// The information in the error of a failed call.
func ExampleError() {
	err := k8sretry.Run(context.Background(), func(context.Context) error {
		return apierrors.NewTimeoutError("the write may still happen", 0)
	}, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithName("create_database"))

	fmt.Println("may have been created:", errors.Is(err, k8sretry.ErrOutcomeUnknown))
	fmt.Println("timeout in the API server:", apierrors.IsTimeout(err))
	var e *k8sretry.Error
	if errors.As(err, &e) {
		fmt.Println("attempts:", e.Attempts, "stop:", e.StopReason)
	}
	fmt.Println(err)
	// Output:
	// may have been created: true
	// timeout in the API server: true
	// attempts: 1 stop: outcome_unknown
	// create_database: not repeated after 1 attempt; the server may have carried out the call: Timeout: the write may still happen
}

// With a Transport below the client, each call of a function is retried separately. A Do
// around the function would repeat all of them.
func ExampleTransport() {
	requests := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests[r.Method]++
		if requests[r.Method] == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"settings","uid":"1","resourceVersion":"7"}}`)
	}))
	defer server.Close()

	config := &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	config.Wrap(k8sretry.Transport(k8sretry.ForWrite(), noDelay))
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	configMaps := clientset.CoreV1().ConfigMaps("default")

	ctx := context.Background()
	settings, err := configMaps.Get(ctx, "settings", metav1.GetOptions{})
	if err == nil {
		_, err = configMaps.Update(ctx, settings, metav1.UpdateOptions{})
	}
	fmt.Println(err, requests["GET"], requests["PUT"])
	// Output: <nil> 2 2
}

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

func ExampleIsRetryableK8sError() {
	unavailable := apierrors.NewServiceUnavailable("restarting")
	missing := apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "web-0")

	fmt.Println(k8sretry.IsRetryableK8sError(unavailable))
	fmt.Println(k8sretry.IsRetryableK8sError(fmt.Errorf("reading web-0: %w", missing)))

	// The predicates of apierrors do not inspect an Aggregate.
	all := utilerrors.NewAggregate([]error{errors.New("2 of 3 pods failed"), unavailable})
	fmt.Println(apierrors.IsServiceUnavailable(all), k8sretry.IsRetryableK8sError(all))
	// Output:
	// true
	// false
	// false true
}

func ExampleIsRetryableConnectionError() {
	refused := &url.Error{Op: "Get", URL: "https://10.96.0.1/api", Err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}
	fmt.Println(k8sretry.IsRetryableConnectionError(refused))

	// The server has answered, so this is not a connection error.
	answer := apierrors.NewInternalError(errors.New("read tcp 10.0.0.7:443: connection reset by peer"))
	fmt.Println(k8sretry.IsRetryableConnectionError(answer))
	// Output:
	// true
	// false
}

func ExampleClassify() {
	pods := schema.GroupResource{Resource: "pods"}
	quotas := schema.GroupResource{Resource: "resourcequotas"}
	for _, err := range []error{
		apierrors.NewTooManyRequests("slow down", 7),
		apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0),
		apierrors.NewConflict(pods, "web-0", errors.New("the object has been modified")),
		apierrors.NewConflict(quotas, "team-a", errors.New("the object has been modified")),
		apierrors.NewInternalError(errors.New(`failed calling webhook "guard.example.com": no endpoints available`)),
		apierrors.NewInternalError(errors.New("etcdserver: request is too large")),
	} {
		v := k8sretry.Classify(err)
		fmt.Printf("%d %v, %v, %v: %s (repeat a create: %t)\n",
			v.StatusCode, v.Class, v.Outcome, v.RetryAfter, v.Detail, v.Retryable(k8sretry.VerbCreate))
	}
	// Output:
	// 429 throttled, not_executed, 7s: too many requests (repeat a create: true)
	// 504 timeout, unknown, 0s: server timed out (repeat a create: false)
	// 409 conflict, not_executed, 0s: conflict (repeat a create: false)
	// 409 server, not_executed, 0s: conflict on the status of a quota (repeat a create: true)
	// 500 server, not_executed, 0s: failed calling webhook (repeat a create: true)
	// 500 permanent, not_executed, 0s: object too large for etcd (repeat a create: false)
}

// The server refuses all connections. After some of them the Limiter believes it: further calls
// would wait, and here they do not want to. Their error says why.
func ExampleWithLimiter() {
	limiter := k8sretry.NewLimiter() // shared by all calls to the server
	policy := k8sretry.NewPolicy(k8sretry.WithLimiter(limiter), k8sretry.WithMaxRetries(0), k8sretry.WithMaxQueueTime(0))

	down := func(context.Context) error { return syscall.ECONNREFUSED }
	var err error
	for !errors.Is(err, k8sretry.ErrQueueTimeout) {
		err = k8sretry.Run(context.Background(), down, policy, k8sretry.WithName("get pods"))
	}
	fmt.Println(err)
	fmt.Println("limited:", limiter.Limited()[0].Scope)
	// Output:
	// get pods: queue timeout (server limited), request not sent: connection refused
	// limited: server
}

// All calls together have one retry in ten seconds. A call without a retry returns the
// error of the API.
func ExampleWithBudget() {
	budget := k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 1, Window: 10 * time.Second})
	policy := k8sretry.NewPolicy(k8sretry.WithBudget(budget), k8sretry.WithInitialDelay(0))

	fail := func(context.Context) error { return apierrors.NewServiceUnavailable("try again later") }
	err := k8sretry.Run(context.Background(), fail, policy)
	fmt.Println(errors.Is(err, k8sretry.ErrBudgetExhausted), apierrors.IsServiceUnavailable(err))

	var e *k8sretry.Error
	errors.As(err, &e)
	fmt.Println("attempts:", e.Attempts)
	// Output:
	// true true
	// attempts: 2
}

// All calls to a server share a Breaker. It opens when nearly all attempts of the last
// seconds have failed. Then calls fail at once with ErrBreakerOpen.
func ExampleWithBreaker() {
	breaker := k8sretry.NewBreaker(k8sretry.BreakerConfig{OpenDuration: 5 * time.Second})
	policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithBreaker(breaker))

	err := k8sretry.Run(context.Background(), func(context.Context) error { return nil }, policy)
	fmt.Println(err, breaker.State())
	// Output: <nil> closed
}

// exampleCluster returns a fake clientset that behaves like a server, and its faults.
func exampleCluster(objects ...runtime.Object) (kubernetes.Interface, *k8sretrytest.Faults) {
	clientset := fake.NewClientset(objects...)
	k8sretrytest.EmulateServer(&clientset.Fake)
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	return clientset, &faults
}

// The answer to the first request is lost. The second request is answered AlreadyExists,
// and Create finds that the object is its own.
func ExampleCreate() {
	ctx := context.Background()
	clientset, faults := exampleCluster()
	faults.LoseResponses(1, "create", "configmaps", k8sretrytest.ConnectionClosed())
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}}

	created, err := k8sretry.Create(ctx, clientset.CoreV1().ConfigMaps("default"), settings,
		metav1.CreateOptions{}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(created.Name, "after", faults.Calls("create", "configmaps"), "requests")
	// Output: settings after 2 requests
}

// A generated name is drawn once per call, so that a repetition does not create a second
// object.
func ExampleCreate_generateName() {
	ctx := context.Background()
	clientset, faults := exampleCluster()
	faults.LoseResponses(1, "create", "configmaps", k8sretrytest.ConnectionClosed())
	job := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "job-"}}

	_, err := k8sretry.Create(ctx, clientset.CoreV1().ConfigMaps("default"), job,
		metav1.CreateOptions{}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	list, err := clientset.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(list.Items), "object")
	// Output: 1 object
}

// The answer to the first request is lost. The second request is answered Conflict, and
// Update finds its own change.
func ExampleUpdate() {
	ctx := context.Background()
	clientset, faults := exampleCluster(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings", Namespace: "default"},
		Data:       map[string]string{"colour": "blue"},
	})
	faults.LoseResponses(1, "update", "configmaps", k8sretrytest.ConnectionClosed())
	configMaps := clientset.CoreV1().ConfigMaps("default")

	settings, err := k8sretry.Wrap2(configMaps.Get, k8sretry.ForRead())(ctx, "settings", metav1.GetOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	settings.Data["colour"] = "green"
	settings, err = k8sretry.Update(ctx, configMaps, settings, metav1.UpdateOptions{}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(settings.Data["colour"], "after", faults.Calls("update", "configmaps"), "requests")
	// Output: green after 2 requests
}

// The answer to the first update is lost. The run is counted once.
func ExampleModify() {
	ctx := context.Background()
	clientset, faults := exampleCluster(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "totals", Namespace: "default"},
		Data:       map[string]string{"runs": "41"},
	})
	faults.LoseResponses(1, "update", "configmaps", k8sretrytest.ConnectionClosed())

	totals, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "totals",
		func(cm *corev1.ConfigMap) error {
			runs, err := strconv.Atoi(cm.Data["runs"])
			if err != nil {
				return err
			}
			cm.Data["runs"] = strconv.Itoa(runs + 1)
			return nil
		}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(totals.Data["runs"])
	// Output: 42
}

// A controller writes the status of a Deployment.
func ExampleStatusSubresource() {
	ctx := context.Background()
	clientset, faults := exampleCluster(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}})
	faults.FailNext(1, "update", "deployments/status", k8sretrytest.Status(503))
	statuses := k8sretry.StatusSubresource(clientset.AppsV1().Deployments("default"))

	web, err := k8sretry.Modify(ctx, statuses, "web", func(d *appsv1.Deployment) error {
		d.Status.ReadyReplicas = 3
		return nil
	}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(web.Status.ReadyReplicas, "ready")
	// Output: 3 ready
}

// The answer to the first request is lost. The second request is answered NotFound, which
// means that the pod has been deleted.
func ExampleDelete() {
	ctx := context.Background()
	clientset, faults := exampleCluster(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}})
	faults.LoseResponses(1, "delete", "pods", k8sretrytest.ConnectionClosed())
	pods := clientset.CoreV1().Pods("default")

	pod, err := k8sretry.Wrap2(pods.Get, k8sretry.ForRead())(ctx, "web-0", metav1.GetOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = k8sretry.Delete(ctx, pods, pod, metav1.DeleteOptions{}, k8sretry.ForWrite(), noDelay)
	fmt.Println(err, faults.Calls("delete", "pods"))
	// Output: <nil> 2
}

// The PodDisruptionBudget does not allow the eviction twice. Without the last option, Evict
// would wait 5 s before the first retry. The deadline limits how long it waits in all.
func ExampleEvict() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	clientset, faults := exampleCluster(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}})
	faults.FailNext(2, "create", "pods/eviction", k8sretrytest.DisruptionBudget())
	pods := clientset.CoreV1().Pods("default")

	pod, err := k8sretry.Wrap2(pods.Get, k8sretry.ForRead())(ctx, "web-0", metav1.GetOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = k8sretry.Evict(ctx, pods, pod, metav1.DeleteOptions{},
		k8sretry.WithBackoffFor(k8sretry.ClassDisruptionBudget, k8sretry.Exponential{Initial: time.Millisecond}))
	fmt.Println(err, faults.Calls("create", "pods/eviction"))
	// Output: <nil> 3
}

func ExampleApply() {
	ctx := context.Background()
	clientset, faults := exampleCluster()
	faults.FailNext(1, "apply", "configmaps", k8sretrytest.Status(503))
	settings := applyv1.ConfigMap("settings", "default").WithData(map[string]string{"colour": "green"})

	applied, err := k8sretry.Apply(ctx, clientset.CoreV1().ConfigMaps("default"), settings,
		metav1.ApplyOptions{FieldManager: "example"}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(applied.Data["colour"])
	// Output: green
}

func ExampleDynamic() {
	ctx := context.Background()
	resource := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{resource: "WidgetList"})
	var faults k8sretrytest.Faults
	faults.Install(&client.Fake)
	faults.LoseResponses(1, "create", "widgets", k8sretrytest.ConnectionClosed())
	widget := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1",
		"kind":       "Widget",
		"metadata":   map[string]any{"name": "first", "namespace": "default"},
	}}

	widgets := k8sretry.Dynamic(client.Resource(resource).Namespace("default"))
	created, err := k8sretry.Create(ctx, widgets, widget, metav1.CreateOptions{}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(created.GetName(), "after", faults.Calls("create", "widgets"), "requests")
	// Output: first after 2 requests
}

// A function that knows better than the error of the API ends the call.
func ExamplePermanent() {
	attempts := 0
	err := k8sretry.Run(context.Background(), func(context.Context) error {
		attempts++
		return k8sretry.Permanent(apierrors.NewServiceUnavailable("moved to another cluster"))
	})
	fmt.Println(attempts, err, apierrors.IsServiceUnavailable(err))
	// Output: 1 moved to another cluster true
}

// errNotInstalled is an error of the program, not of the API.
var errNotInstalled = errors.New("not installed yet")

func ExampleWithRetryOn() {
	attempts := 0
	err := k8sretry.Run(context.Background(), func(context.Context) error {
		if attempts++; attempts < 3 {
			return fmt.Errorf("attempt %d: %w", attempts, errNotInstalled)
		}
		return nil
	}, k8sretry.WithRetryOn(errNotInstalled), noDelay)
	fmt.Println(err, "after", attempts, "attempts")
	// Output: <nil> after 3 attempts
}

// The first attempt is never answered. The timeout ends it, but not the call.
func ExampleWithAttemptTimeout() {
	attempts := 0
	err := k8sretry.Run(context.Background(), func(ctx context.Context) error {
		if attempts++; attempts == 1 {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}, k8sretry.WithAttemptTimeout(10*time.Millisecond), noDelay)
	fmt.Println(err, "after", attempts, "attempts")
	// Output: <nil> after 2 attempts
}

// A retry that would start later than a minute after the call began is not waited for.
func ExampleWithMaxElapsed() {
	err := k8sretry.Run(context.Background(), func(context.Context) error {
		return k8sretrytest.TooManyRequests(90 * time.Second)
	}, k8sretry.WithMaxElapsed(time.Minute), k8sretry.WithMaxRetryAfter(2*time.Minute))

	var stopped *k8sretry.Error
	fmt.Println(errors.As(err, &stopped), stopped.StopReason, stopped.Attempts, stopped.RetryAfter)
	// Output: true max_elapsed 1 1m30s
}

// A read that fails has no unknown outcome.
func ExampleReadOnly() {
	lost := func(context.Context) error { return k8sretrytest.ConnectionClosed() }

	err := k8sretry.Run(context.Background(), lost, k8sretry.WithMaxRetries(1), noDelay)
	fmt.Println("may have been carried out:", errors.Is(err, k8sretry.ErrOutcomeUnknown))
	err = k8sretry.Run(context.Background(), lost, k8sretry.WithMaxRetries(1), noDelay, k8sretry.ReadOnly())
	fmt.Println("may have been carried out:", errors.Is(err, k8sretry.ErrOutcomeUnknown))
	// Output:
	// may have been carried out: true
	// may have been carried out: false
}

// The pod runs at the third read. The second one fails and is retried.
func ExampleUntil() {
	clientset, reads := fake.NewClientset(), 0
	clientset.PrependReactor("get", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		switch reads++; reads {
		case 1:
			return true, &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending}}, nil
		case 2:
			return true, nil, k8sretrytest.Status(503)
		}
		return true, &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning}}, nil
	})

	pod, err := k8sretry.Until(context.Background(), func(ctx context.Context) (*corev1.Pod, error) {
		return clientset.CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
	}, func(pod *corev1.Pod) (bool, error) {
		if pod.Status.Phase == corev1.PodFailed {
			return false, errors.New("the pod has failed")
		}
		return pod.Status.Phase == corev1.PodRunning, nil
	}, k8sretry.ForRead(), k8sretry.WithMaxElapsed(5*time.Minute), noDelay)
	fmt.Println(pod.Status.Phase, err, "after", reads, "reads")
	// Output: Running <nil> after 3 reads
}

// The pod is pending when it is read, and the watch reports that it runs.
func ExampleUntilWatch() {
	clientset := fake.NewClientset()
	clientset.PrependReactor("get", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, webPod(corev1.PodPending), nil
	})
	clientset.PrependWatchReactor("pods", func(clienttesting.Action) (bool, watch.Interface, error) {
		w := watch.NewFakeWithChanSize(1, false)
		w.Modify(webPod(corev1.PodRunning))
		return true, w, nil
	})

	pod, err := k8sretry.UntilWatch(context.Background(), clientset.CoreV1().Pods("default"), "web-0", func(pod *corev1.Pod) (bool, error) {
		if pod == nil {
			return false, nil // it does not exist yet, or no longer
		}
		return pod.Status.Phase == corev1.PodRunning, nil
	}, k8sretry.ForRead(), k8sretry.WithMaxElapsed(5*time.Minute))
	fmt.Println(pod.Status.Phase, err)
	// Output: Running <nil>
}

func webPod(phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", ResourceVersion: "7"}, Status: corev1.PodStatus{Phase: phase}}
}

// Other schedules than Exponential are one line each: constant, linear and Fibonacci.
func ExampleBackoffFunc() {
	constant := k8sretry.BackoffFunc(func(int) time.Duration { return 2 * time.Second })
	linear := k8sretry.BackoffFunc(func(retry int) time.Duration { return time.Duration(min(retry, 30)) * time.Second })
	fibonacci := k8sretry.BackoffFunc(func(retry int) time.Duration {
		return time.Duration(math.Round(math.Pow(math.Phi, float64(min(retry, 8)))/math.Sqrt(5))) * time.Second
	})

	for retry := 1; retry <= 9; retry++ {
		fmt.Println(constant.Delay(retry), linear.Delay(retry), fibonacci.Delay(retry))
	}
	_ = k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithBackoff(fibonacci))
	// Output:
	// 2s 1s 1s
	// 2s 2s 1s
	// 2s 3s 2s
	// 2s 4s 3s
	// 2s 5s 5s
	// 2s 6s 8s
	// 2s 7s 13s
	// 2s 8s 21s
	// 2s 9s 21s
}

// The errors of all attempts, where the last one says too little.
func ExampleWithErrorHistory() {
	failures := []error{k8sretrytest.ConnectionRefused(), k8sretrytest.Status(502), k8sretrytest.Status(503)}
	err := k8sretry.Run(context.Background(), func(context.Context) error {
		failure := failures[0]
		failures = failures[1:]
		return failure
	}, k8sretry.ForRead(), k8sretry.WithMaxRetries(2), k8sretry.WithErrorHistory(10), noDelay, k8sretry.WithName("get a pod"))

	var stopped *k8sretry.Error
	if errors.As(err, &stopped) {
		for _, earlier := range stopped.History() {
			fmt.Println(k8sretry.Classify(earlier).Class)
		}
	}
	// Output:
	// refused
	// server
	// server
}

// The annotation by which Create recognizes its object has a name of the program's own.
func ExampleWithTokenAnnotation() {
	ctx := context.Background()
	clientset, _ := exampleCluster()
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}}

	created, err := k8sretry.Create(ctx, clientset.CoreV1().ConfigMaps("default"), settings,
		metav1.CreateOptions{}, k8sretry.ForWrite(), k8sretry.WithTokenAnnotation("example.com/request"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(created.Annotations["example.com/request-create"]) > 0)
	// Output: true
}

// The schedule of a policy. It is printed with the settings that are in force.
func ExampleWithMultiplier() {
	policy := k8sretry.NewPolicy(
		k8sretry.WithMaxRetries(4),
		k8sretry.WithInitialDelay(100*time.Millisecond),
		k8sretry.WithMultiplier(3),
		k8sretry.WithMaxDelay(2*time.Second),
		k8sretry.WithJitter(k8sretry.JitterFull),
	)
	fmt.Println(policy)
	// Output: max_retries=4 initial_delay=100ms max_delay=2s multiplier=3 jitter=full max_retry_after=1m0s
}

// A schedule that is no exponential one.
func ExampleWithBackoff() {
	noWait := k8sretry.BackoffFunc(func(retry int) time.Duration { return 0 })
	attempts := 0
	err := k8sretry.Run(context.Background(), func(context.Context) error {
		if attempts++; attempts < 4 {
			return k8sretrytest.Status(503)
		}
		return nil
	}, k8sretry.WithBackoff(noWait))
	fmt.Println(err, "after", attempts, "attempts")
	// Output: <nil> after 4 attempts
}

// A server that asks for a long wait is asked again by someone else.
func ExampleWithMaxRetryAfter() {
	err := k8sretry.Run(context.Background(), func(context.Context) error {
		return k8sretrytest.TooManyRequests(30 * time.Second)
	}, k8sretry.WithMaxRetryAfter(10*time.Second))

	var stopped *k8sretry.Error
	fmt.Println(errors.Is(err, k8sretry.ErrRetryAfterTooLong), errors.As(err, &stopped), stopped.RetryAfter)
	// Output: true true 30s
}

// A method of a service that makes one call.
func ExampleWrap() {
	clientset := exampleClientset()
	count := func(ctx context.Context) (int, error) {
		pods, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			return 0, err
		}
		return len(pods.Items), nil
	}

	countPods := k8sretry.Wrap(count, k8sretry.ForRead(), noDelay)
	fmt.Println(countPods(context.Background()))
	// Output: 1 <nil>
}

func ExampleWrapRun() {
	clientset := exampleClientset()
	ping := func(ctx context.Context) error {
		_, err := clientset.CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
		return err
	}

	fmt.Println(k8sretry.WrapRun(ping, k8sretry.ForRead(), noDelay)(context.Background()))
	// Output: <nil>
}

// The UID of the pod keeps a repetition from evicting the next pod of the name.
func ExampleWrapRun1() {
	pods := exampleClientset().CoreV1().Pods("default")
	uid := types.UID("0a1b")

	evict := k8sretry.WrapRun1(pods.EvictV1, k8sretry.ForEviction(), noDelay)
	err := evict(context.Background(), &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Name: "web-0", Namespace: "default"},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}},
	})
	fmt.Println(err)
	// Output: <nil>
}

func ExamplePatch() {
	ctx := context.Background()
	clientset, _ := exampleCluster()
	maps := clientset.CoreV1().ConfigMaps("default")
	if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}}, metav1.CreateOptions{}); err != nil {
		fmt.Println(err)
		return
	}

	settings, err := k8sretry.Patch(ctx, maps, "settings", types.MergePatchType,
		[]byte(`{"data":{"mode":"fast"}}`), metav1.PatchOptions{}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(settings.Data["mode"])
	// Output: fast
}

func ExamplePatchSubresource() {
	pods := exampleClientset().CoreV1().Pods("default")

	pod, err := k8sretry.Patch(context.Background(), k8sretry.PatchSubresource(pods, "status"), "web-0", types.MergePatchType,
		[]byte(`{"status":{"message":"warm"}}`), metav1.PatchOptions{}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pod.Status.Message)
	// Output: warm
}

// slogLines is a logger that writes lines without a time to the standard output.
func slogLines() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.LevelKey, slog.MessageKey, "function", "object", "error":
			return a
		}
		return slog.Attr{}
	}}))
}

func ExampleSlogObserver() {
	policy := k8sretry.NewPolicy(k8sretry.WithObserver(k8sretry.SlogObserver(slogLines())), k8sretry.WithLogger(nil), noDelay)

	_, err := k8sretry.Wrap2(exampleClientset().CoreV1().Pods("default").Get, policy, k8sretry.WithName("get pods"))(
		context.Background(), "web-0", metav1.GetOptions{})
	fmt.Println(err)
	// Output:
	// level=WARN msg=k8s_api_call_failed_retrying function="get pods" error=restarting
	// level=WARN msg=k8s_api_call_failed_retrying function="get pods" error=restarting
	// level=INFO msg=k8s_api_call_succeeded_after_retry function="get pods"
	// <nil>
}

// The logger of a request is in its context.
func ExampleContextSlogObserver() {
	type loggerKey struct{}
	observer := k8sretry.ContextSlogObserver(func(ctx context.Context) *slog.Logger {
		l, _ := ctx.Value(loggerKey{}).(*slog.Logger)
		return l
	})
	ctx := context.WithValue(context.Background(), loggerKey{}, slogLines())

	err := k8sretry.Run(ctx, func(context.Context) error { return apierrors.NewNotFound(corev1.Resource("pods"), "web-0") },
		k8sretry.WithObserver(observer), k8sretry.WithLogger(nil), k8sretry.WithName("get pods"))
	fmt.Println(err)
	// Output:
	// level=INFO msg=k8s_api_call_failed_non_retryable function="get pods" error="pods \"web-0\" not found"
	// pods "web-0" not found
}

// A safe write knows its object, and its lines name it.
func ExampleWithObjectNames() {
	pods := exampleClientset().CoreV1().Pods("default")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "default"}}

	_, err := k8sretry.Create(context.Background(), pods, pod, metav1.CreateOptions{}, k8sretry.WithObjectNames(),
		k8sretry.WithObserver(k8sretry.SlogObserver(slogLines())), k8sretry.WithLogger(nil), k8sretry.WithMaxRetries(1), noDelay)
	fmt.Println(err != nil)
	// Output:
	// level=WARN msg=k8s_api_call_failed_retrying function="create pods" error=restarting object=default/web-1
	// level=ERROR msg=k8s_api_call_failed_max_retries function="create pods" error=restarting object=default/web-1
	// true
}

// A Get that looks whether an object exists.
func ExampleWithExpected() {
	core, lines := observer.New(zapcore.InfoLevel)
	get := k8sretry.Wrap2(fake.NewClientset().CoreV1().Pods("default").Get,
		k8sretry.ForRead(), k8sretry.WithExpected(apierrors.IsNotFound), k8sretry.WithLogger(zap.New(core)))

	_, err := get(context.Background(), "web-0", metav1.GetOptions{})
	fmt.Println(apierrors.IsNotFound(err), "lines:", lines.Len())
	// Output: true lines: 0
}

// While the Limiter makes other calls wait, a health check passes.
func ExampleWithPriority() {
	limited := k8sretry.NewPolicy(k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithMaxQueueTime(10*time.Minute))

	err := k8sretry.Run(context.Background(), func(context.Context) error { return nil }, limited, k8sretry.WithPriority())
	fmt.Println(err)
	// Output: <nil>
}

// A first call at the start of a program: connections that are refused are waited for, an answer
// of the API is not.
func ExampleForConnection() {
	attempts := 0
	err := k8sretry.Run(context.Background(), func(context.Context) error {
		if attempts++; attempts < 3 {
			return k8sretrytest.ConnectionRefused()
		}
		return k8sretrytest.Status(503)
	}, k8sretry.ForConnection(), noDelay)
	fmt.Println(attempts, apierrors.IsServiceUnavailable(err))
	// Output: 3 true
}

// Requests for leases wait and are repeated as all others.
func ExampleIncludeLeases() {
	config := &rest.Config{Host: "https://server"}

	config.Wrap(k8sretry.Transport(k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.IncludeLeases()))

	_, err := kubernetes.NewForConfig(config)
	fmt.Println(err)
	// Output: <nil>
}

// A server whose first answer hangs: the second request is answered at once.
func ExampleWithHedge() {
	var sent atomic.Int32
	server := roundTripper(func(req *http.Request) (*http.Response, error) {
		if sent.Add(1) == 1 {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: req}, nil
	})
	transport := k8sretry.Transport(k8sretry.WithHedge(10 * time.Millisecond))(server)

	req, _ := http.NewRequest(http.MethodGet, "https://server/api/v1/namespaces/default/pods/web-0", nil)
	resp, err := transport.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	fmt.Println(err, sent.Load(), "requests")
	// Output: <nil> 2 requests
}
