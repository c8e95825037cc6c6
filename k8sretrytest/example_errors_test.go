// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func ExampleStatus() {
	err := k8sretrytest.Status(503)
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// the server is currently unable to handle the request (put pods web-0)
	// server unknown
}

func ExampleTooManyRequests() {
	err := k8sretrytest.TooManyRequests(5 * time.Second)
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome, v.RetryAfter)
	// Output:
	// the server has received too many requests and has asked us to try again later (put pods web-0)
	// throttled not_executed 5s
}

func ExampleServerStatus() {
	err := k8sretrytest.ServerStatus(500, metav1.StatusReasonInternalError, "Internal error occurred: something broke")
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// Internal error occurred: something broke
	// server unknown
}

func ExampleEtcdTimeout() {
	err := k8sretrytest.EtcdTimeout()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// etcdserver: request timed out
	// server unknown
}

func ExampleWebhookDenied() {
	err := k8sretrytest.WebhookDenied("no limits set")
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// admission webhook "policy.example.com" denied the request: no limits set
	// permanent not_executed
}

func ExampleWebhookFailed() {
	err := k8sretrytest.WebhookFailed()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// Internal error occurred: failed calling webhook "policy.example.com": failed to call webhook: Post "https://policy.policy-system.svc:443/validate?timeout=10s": context deadline exceeded
	// server not_executed
}

func ExampleQuotaExceeded() {
	err := k8sretrytest.QuotaExceeded()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// pods "web-0" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=10, limited: pods=10
	// blocked not_executed
}

func ExampleQuotaConflict() {
	err := k8sretrytest.QuotaConflict()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// Operation cannot be fulfilled on resourcequotas "compute": the object has been modified; please apply your changes to the latest version and try again
	// server not_executed
}

func ExampleDisruptionBudget() {
	err := k8sretrytest.DisruptionBudget()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// Cannot evict pod as it would violate the pod's disruption budget.
	// disruption_budget not_executed
}

func ExampleConnectionRefused() {
	err := k8sretrytest.ConnectionRefused()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// Post "https://10.96.0.1:443/api/v1/namespaces/default/pods": dial tcp 10.96.0.1:443: connect: connection refused
	// refused not_executed
}

func ExampleConnectionReset() {
	err := k8sretrytest.ConnectionReset()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// Post "https://10.96.0.1:443/api/v1/namespaces/default/pods": read tcp 10.244.0.7:40512->10.96.0.1:443: read: connection reset by peer
	// connection unknown
}

func ExampleConnectionClosed() {
	err := k8sretrytest.ConnectionClosed()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// Post "https://10.96.0.1:443/api/v1/namespaces/default/pods": EOF
	// connection unknown
}

func ExampleGoAway() {
	err := k8sretrytest.GoAway()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// Post "https://10.96.0.1:443/api/v1/namespaces/default/pods": http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=""
	// connection unknown
}

func ExampleTruncatedBody() {
	err := k8sretrytest.TruncatedBody()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// unexpected error when reading response body. Please retry. Original error: unexpected EOF
	// connection unknown
}

func ExampleNoSuchHost() {
	err := k8sretrytest.NoSuchHost()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// Post "https://10.96.0.1:443/api/v1/namespaces/default/pods": dial tcp: lookup api.example.com on 10.96.0.10:53: no such host
	// blocked not_executed
}

func ExampleDNSTimeout() {
	err := k8sretrytest.DNSTimeout()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// Post "https://10.96.0.1:443/api/v1/namespaces/default/pods": dial tcp: lookup api.example.com on 10.96.0.10:53: i/o timeout
	// timeout not_executed
}

func ExampleClientTimeout() {
	err := k8sretrytest.ClientTimeout()
	v := k8sretry.Classify(err)
	fmt.Println(err)
	fmt.Println(v.Class, v.Outcome)
	// Output:
	// Post "https://10.96.0.1:443/api/v1/namespaces/default/pods": context deadline exceeded (Client.Timeout exceeded while awaiting headers)
	// timeout unknown
}
