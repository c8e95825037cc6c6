// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubetypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

var (
	ctx  = context.Background()
	fast = k8sretry.NewPolicy(k8sretry.WithInitialDelay(time.Millisecond), k8sretry.WithJitter(k8sretry.JitterNone))
)

// getPod is the code under test.
func getPod(clientset kubernetes.Interface, opts ...k8sretry.Option) error {
	return k8sretry.Run(ctx, func(ctx context.Context) error {
		_, err := clientset.CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
		return err
	}, opts...)
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}
}

// Several rules for the same calls apply one after the other.
func ExampleFaults() {
	clientset := fake.NewClientset(pod("web-0"))
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	faults.FailNext(1, "get", "pods", k8sretrytest.ConnectionRefused())
	faults.FailNext(1, "get", "pods", k8sretrytest.Status(503))

	var recorder k8sretrytest.Recorder
	fmt.Println(getPod(clientset, fast, k8sretry.WithObserver(&recorder)))
	for _, e := range recorder.Events() {
		fmt.Println(e.Attempt, e.Class)
	}
	// Output:
	// <nil>
	// 1 refused
	// 2 server
	// 3 none
}

func ExampleFaults_Install() {
	clientset := fake.NewClientset(pod("web-0"))
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	faults.FailNext(1, "get", "pods", k8sretrytest.Status(503))
	fmt.Println(getPod(clientset, fast), len(clientset.Actions()))
	// Output: <nil> 2
}

// The first two calls succeed, the third one fails.
func ExampleFaults_FailNext() {
	clientset := fake.NewClientset(pod("web-0"))
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	faults.FailNext(2, "get", "pods", nil)
	faults.FailNext(1, "get", "pods", errors.New("the third"))
	for range 4 {
		_, err := clientset.CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// the third
	// <nil>
}

// Run does not retry a create whose response was lost: the error reports that the
// outcome is unknown.
func ExampleFaults_LoseResponses() {
	clientset := fake.NewClientset()
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	faults.LoseResponses(1, "create", "pods", k8sretrytest.ConnectionClosed())
	err := k8sretry.Run(ctx, func(ctx context.Context) error {
		_, err := clientset.CoreV1().Pods("default").Create(ctx, pod("web-0"), metav1.CreateOptions{})
		return err
	}, k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbCreate))
	fmt.Println(errors.Is(err, k8sretry.ErrOutcomeUnknown))

	_, err = clientset.CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
	fmt.Println("stored:", err == nil)
	// Output:
	// true
	// stored: true
}

func ExampleFaults_FailRandomly() {
	clientset := fake.NewClientset(pod("web-0"))
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	faults.FailRandomly(1, 0.3, "get", "pods", k8sretrytest.Status(503))
	failed := 0
	for range 100 {
		if getPod(clientset, fast, k8sretry.WithMaxRetries(10)) != nil {
			failed++
		}
	}
	fmt.Println(failed, "of 100 failed; more than 120 calls:", faults.Calls("get", "pods") > 120)
	// Output: 0 of 100 failed; more than 120 calls: true
}

func ExampleFaults_LoseResponsesRandomly() {
	clientset := fake.NewClientset()
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	faults.LoseResponsesRandomly(1, 0.3, "create", "pods", k8sretrytest.Status(504))
	failed := 0
	for i := range 100 {
		if _, err := clientset.CoreV1().Pods("default").Create(ctx, pod(fmt.Sprint("web-", i)), metav1.CreateOptions{}); err != nil {
			failed++
		}
	}
	pods, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	fmt.Println(failed > 0, len(pods.Items), err)
	// Output: true 100 <nil>
}

func ExampleFaults_Clear() {
	clientset := fake.NewClientset(pod("web-0"))
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	faults.FailNext(1000, "*", "*", k8sretrytest.ConnectionRefused())
	fmt.Println(getPod(clientset, fast) != nil)
	faults.Clear()
	fmt.Println(getPod(clientset, fast) != nil)
	// Output:
	// true
	// false
}

func ExampleFaults_Calls() {
	clientset := fake.NewClientset(pod("web-0"))
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	faults.FailNext(2, "get", "pods", k8sretrytest.Status(503))
	_ = getPod(clientset, fast)
	fmt.Println(faults.Calls("get", "pods"), faults.Calls("create", "*"))
	// Output: 3 0
}

func ExampleFaults_Transport() {
	var faults k8sretrytest.Faults
	cfg := &rest.Config{Host: "http://in.memory", Transport: memory{http.HandlerFunc(serve)}} // or the config of envtest
	cfg.Wrap(faults.Transport)
	clientset, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	faults.FailNext(1, "list", "deployments", k8sretrytest.Status(502))
	faults.LoseResponses(1, "list", "deployments", k8sretrytest.TruncatedBody())
	for range 3 {
		_, err := clientset.AppsV1().Deployments("default").List(ctx, metav1.ListOptions{})
		fmt.Println(k8sretry.Classify(err).Class)
	}
	// Output:
	// server
	// connection
	// none
}

// Another client adds a finalizer after the object was created, and before its creator gets
// the answer, which is lost.
func ExampleFaults_AfterNext() {
	clientset := fake.NewClientset()
	k8sretrytest.EmulateServer(&clientset.Fake)
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	pods := clientset.CoreV1().Pods("default")
	faults.AfterNext(1, "create", "pods", func() {
		_, err := pods.Patch(ctx, "web-0", kubetypes.MergePatchType, []byte(`{"metadata":{"finalizers":["example.com/cleanup"]}}`), metav1.PatchOptions{})
		fmt.Println("patch:", err)
	})
	faults.LoseResponses(1, "create", "pods", k8sretrytest.Status(504))

	_, err := pods.Create(ctx, pod("web-0"), metav1.CreateOptions{})
	fmt.Println("create:", k8sretry.Classify(err).Class)
	created, err := pods.Get(ctx, "web-0", metav1.GetOptions{})
	fmt.Println("get:", created.Finalizers, err)
	// Output:
	// patch: <nil>
	// create: timeout
	// get: [example.com/cleanup] <nil>
}

func ExampleFaults_Throttle() {
	clientset := fake.NewClientset(pod("web-0"))
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	end := faults.Throttle("pods", time.Second)
	_, err := clientset.CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
	fmt.Println(k8sretry.Classify(err).Class)
	_, err = clientset.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	fmt.Println(err)
	end()
	_, err = clientset.CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
	fmt.Println(err)
	// Output:
	// throttled
	// <nil>
	// <nil>
}

// client-go repeats a create that the server has carried out.
func ExampleServer() {
	stored := fake.NewClientset()
	k8sretrytest.EmulateServer(&stored.Fake)
	server := k8sretrytest.NewServer(&stored.Fake, scheme.Scheme)
	defer server.Close()
	var faults k8sretrytest.Faults
	cfg := server.Config()
	cfg.Wrap(faults.Transport)
	clientset, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	faults.ReplaceResponses(1, "create", "pods", k8sretrytest.RetryNow())

	job := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "job-"}}
	_, err = clientset.CoreV1().Pods("default").Create(ctx, job, metav1.CreateOptions{})
	fmt.Println(err)
	list, err := stored.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	fmt.Println(len(list.Items), err)
	// Output:
	// <nil>
	// 2 <nil>
}

func ExampleEmulateServer() {
	clientset := fake.NewClientset()
	k8sretrytest.EmulateServer(&clientset.Fake)
	pods := clientset.CoreV1().Pods("default")

	created, _ := pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "web-"}}, metav1.CreateOptions{})
	fmt.Println(len(created.Name), len(created.UID), created.ResourceVersion)

	created.Labels = map[string]string{"app": "web"}
	updated, err := pods.Update(ctx, created, metav1.UpdateOptions{})
	fmt.Println(updated.ResourceVersion, err)
	_, err = pods.Update(ctx, created, metav1.UpdateOptions{})
	fmt.Println(k8sretry.Classify(err).Class)

	err = pods.Delete(ctx, created.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions("other")})
	fmt.Println(k8sretry.Classify(err).Class)
	// Output:
	// 9 36 2
	// 3 <nil>
	// conflict
	// conflict
}

func ExampleRecorder() {
	clientset := fake.NewClientset(pod("web-0"))
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	faults.FailNext(2, "get", "pods", k8sretrytest.Status(503))

	var recorder k8sretrytest.Recorder
	_ = getPod(clientset, fast, k8sretry.WithObserver(&recorder))
	fmt.Println(recorder.Retries(), recorder.Delays(), recorder.Last().Kind == k8sretry.EventSuccess)
	// Output: 2 [1ms 2ms] true
}

// printer stands for the t of a test.
type printer struct{ testing.TB }

func (printer) Helper()                        {}
func (printer) Errorf(format string, a ...any) { fmt.Printf(format+"\n", a...) }

func ExampleRecorder_AssertRetried() {
	var t printer
	clientset := fake.NewClientset(pod("web-0"))
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	faults.FailNext(1, "get", "pods", k8sretrytest.ConnectionReset())

	var recorder k8sretrytest.Recorder
	_ = getPod(clientset, fast, k8sretry.WithObserver(&recorder), k8sretry.WithName("getPod"))
	recorder.AssertRetried(t, 1)
	recorder.AssertRetried(t, 2)
	// Output:
	// retries: 1, want 2:
	//   getPod attempt 1: connection, retry in 1ms: Post "https://10.96.0.1:443/api/v1/namespaces/default/pods": read tcp 10.244.0.7:40512->10.96.0.1:443: read: connection reset by peer
	//   getPod attempt 2: success
}

func ExampleRecorder_AssertSucceeded() {
	var t printer
	var recorder k8sretrytest.Recorder
	_ = getPod(fake.NewClientset(), fast, k8sretry.WithObserver(&recorder), k8sretry.WithName("getPod"))
	recorder.AssertSucceeded(t)
	// Output:
	// the last call has not succeeded:
	//   getPod attempt 1: permanent, stopped (non_retryable): pods "web-0" not found
}

func ExampleRecorder_AssertStopped() {
	var t printer
	clientset := fake.NewClientset(pod("web-0"))
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	faults.FailNext(100, "get", "pods", k8sretrytest.Status(503))

	var recorder k8sretrytest.Recorder
	_ = getPod(clientset, fast, k8sretry.WithObserver(&recorder))
	fmt.Println(recorder.AssertStopped(t, k8sretry.StopMaxRetries))
	// Output: true
}
