package k8sretry_test

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/k8sretry/k8sretry"
)

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
