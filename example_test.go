package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
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
	if e, ok := errors.AsType[*k8sretry.Error](err); ok {
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
