// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	typedappsv1 "k8s.io/client-go/kubernetes/typed/apps/v1"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

type errorCase struct {
	name       string
	make       func() error
	class      k8sretry.Class
	outcome    k8sretry.Outcome
	retryAfter time.Duration
}

const (
	notExecuted = k8sretry.OutcomeNotExecuted
	unknown     = k8sretry.OutcomeUnknown
)

func status(code int) func() error { return func() error { return k8sretrytest.Status(code) } }

var errorCases = []errorCase{
	{"400", status(400), k8sretry.ClassPermanent, notExecuted, 0},
	{"401", status(401), k8sretry.ClassBlocked, notExecuted, 0},
	{"403", status(403), k8sretry.ClassPermanent, notExecuted, 0},
	{"404", status(404), k8sretry.ClassPermanent, notExecuted, 0},
	{"408", status(408), k8sretry.ClassServer, unknown, 0},
	{"409", status(409), k8sretry.ClassConflict, unknown, 0},
	{"413", status(413), k8sretry.ClassPermanent, notExecuted, 0},
	{"422", status(422), k8sretry.ClassPermanent, notExecuted, 0},
	{"429", status(429), k8sretry.ClassThrottled, notExecuted, 0},
	{"500", status(500), k8sretry.ClassServer, unknown, 0},
	{"501", status(501), k8sretry.ClassPermanent, notExecuted, 0},
	{"502", status(502), k8sretry.ClassServer, unknown, 0},
	{"503", status(503), k8sretry.ClassServer, unknown, 0},
	{"504", status(504), k8sretry.ClassTimeout, unknown, 0},
	{"429 with Retry-After", func() error { return k8sretrytest.TooManyRequests(2500 * time.Millisecond) }, k8sretry.ClassThrottled, notExecuted, 3 * time.Second},
	{"429 without Retry-After", func() error { return k8sretrytest.TooManyRequests(0) }, k8sretry.ClassThrottled, notExecuted, 0},
	{"status of the server", func() error {
		return k8sretrytest.ServerStatus(504, metav1.StatusReasonTimeout, "Timeout: request did not complete within the allotted timeout")
	}, k8sretry.ClassTimeout, unknown, 0},
	{"etcd timeout", k8sretrytest.EtcdTimeout, k8sretry.ClassServer, unknown, 0},
	{"webhook denied", func() error { return k8sretrytest.WebhookDenied("no limits set") }, k8sretry.ClassPermanent, notExecuted, 0},
	{"webhook failed", k8sretrytest.WebhookFailed, k8sretry.ClassServer, notExecuted, 0},
	{"quota exceeded", k8sretrytest.QuotaExceeded, k8sretry.ClassBlocked, notExecuted, 0},
	{"quota conflict", k8sretrytest.QuotaConflict, k8sretry.ClassServer, notExecuted, 0},
	{"disruption budget", k8sretrytest.DisruptionBudget, k8sretry.ClassDisruptionBudget, notExecuted, 0},
	{"connection refused", k8sretrytest.ConnectionRefused, k8sretry.ClassRefused, notExecuted, 0},
	{"connection reset", k8sretrytest.ConnectionReset, k8sretry.ClassConnection, unknown, 0},
	{"connection closed", k8sretrytest.ConnectionClosed, k8sretry.ClassConnection, unknown, 0},
	{"GOAWAY", k8sretrytest.GoAway, k8sretry.ClassConnection, unknown, 0},
	{"truncated body", k8sretrytest.TruncatedBody, k8sretry.ClassConnection, unknown, 0},
	{"no such host", k8sretrytest.NoSuchHost, k8sretry.ClassBlocked, notExecuted, 0},
	{"DNS timeout", k8sretrytest.DNSTimeout, k8sretry.ClassTimeout, notExecuted, 0},
	{"client timeout", k8sretrytest.ClientTimeout, k8sretry.ClassTimeout, unknown, 0},
}

func TestErrorsAreClassifiedAsDocumented(t *testing.T) {
	for _, c := range errorCases {
		t.Run(c.name, func(t *testing.T) {
			v := k8sretry.Classify(c.make())
			assert.Equal(t, c.class.String(), v.Class.String())
			assert.Equal(t, c.outcome.String(), v.Outcome.String())
			assert.Equal(t, c.retryAfter, v.RetryAfter)
			assert.NotSame(t, c.make(), c.make(), "each call returns a new error")
		})
	}
}

// A real client behind a Transport returns the error that was passed to FailNext: the
// same types and the same verdict.
func TestARealClientReturnsTheSameErrors(t *testing.T) {
	for _, c := range errorCases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cs, faults := inMemory(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was called") })
				faults.FailNext(11, "update", "configmaps", c.make())
				_, err := cs.CoreV1().ConfigMaps("default").Update(t.Context(), configMap("a"), metav1.UpdateOptions{})
				want := c.make()
				assert.Equal(t, types(want), types(err), "%v", err)
				assert.Equal(t, k8sretry.Classify(want), k8sretry.Classify(err))
				if apierrors.ReasonForError(want) != metav1.StatusReasonUnknown {
					assert.Equal(t, mustStatus(t, want).Reason, mustStatus(t, err).Reason)
				}
				sent := 1
				if c.retryAfter > 0 {
					sent = 11 // client-go itself waits for a Retry-After
				}
				assert.Equal(t, sent, faults.Calls("update", "configmaps"))
			})
		})
	}
}

// Faults return the errors of this package for the object of the call. The assumption was that
// the object is the pod web-0.
func TestFaultsNameTheObjectOfTheCall(t *testing.T) {
	deployments := schema.GroupResource{Group: "apps", Resource: "deployments"}
	pods := schema.GroupResource{Resource: "pods"}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}}
	quota := k8sretrytest.QuotaExceeded
	in := func(c kubernetes.Interface) typedappsv1.DeploymentInterface { return c.AppsV1().Deployments("default") }
	for _, c := range []struct {
		verb, resource string
		err            func() error
		call           func(kubernetes.Interface) error
		object         schema.GroupResource
		name           string
	}{
		{"get", "deployments", status(503), func(c kubernetes.Interface) error {
			_, err := in(c).Get(t.Context(), "web", metav1.GetOptions{})
			return err
		}, deployments, "web"},
		{"list", "deployments", status(503), func(c kubernetes.Interface) error {
			_, err := in(c).List(t.Context(), metav1.ListOptions{})
			return err
		}, deployments, ""},
		{"watch", "deployments", status(503), func(c kubernetes.Interface) error {
			_, err := in(c).Watch(t.Context(), metav1.ListOptions{})
			return err
		}, deployments, ""},
		{"update", "deployments", quota, func(c kubernetes.Interface) error {
			_, err := in(c).Update(t.Context(), deployment, metav1.UpdateOptions{})
			return err
		}, deployments, "web"},
		{"create", "deployments", quota, func(c kubernetes.Interface) error {
			_, err := in(c).Create(t.Context(), deployment, metav1.CreateOptions{})
			return err
		}, deployments, "web"},
		{"delete", "deployments", quota, func(c kubernetes.Interface) error {
			return in(c).Delete(t.Context(), "web", metav1.DeleteOptions{})
		}, deployments, "web"},
		{"create", "pods/eviction", quota, func(c kubernetes.Interface) error {
			return c.CoreV1().Pods("default").EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}})
		}, pods, "web-1"},
		{"create", "deployments", k8sretrytest.EtcdTimeout, func(c kubernetes.Interface) error {
			_, err := in(c).Create(t.Context(), deployment, metav1.CreateOptions{})
			return err
		}, schema.GroupResource{}, ""},
	} {
		want := mustStatus(t, k8sretrytest.Named(c.err(), c.object, c.name))
		t.Run(c.verb+" "+c.resource+", fake", func(t *testing.T) {
			cs, faults := faulty()
			faults.FailNext(1, c.verb, c.resource, c.err())
			assert.Equal(t, want, mustStatus(t, c.call(cs)))
		})
		t.Run(c.verb+" "+c.resource+", real client", func(t *testing.T) {
			var faults k8sretrytest.Faults
			client, err := kubernetes.NewForConfig(&rest.Config{Host: "https://server", Transport: faults.Transport(nil)})
			require.NoError(t, err)
			faults.FailNext(1, c.verb, c.resource, c.err())
			details := mustStatus(t, c.call(client)).Details
			if want.Details == nil {
				assert.Nil(t, details)
				return
			}
			name := c.name
			if c.verb == "create" && c.object == deployments {
				name = "" // it is not in the path
			}
			assert.Equal(t, [3]string{c.object.Group, c.object.Resource, name}, [3]string{details.Group, details.Kind, details.Name})
		})
	}
}

// The assumption was that every error is about the pod web-0.
func TestNamed(t *testing.T) {
	deployments := schema.GroupResource{Group: "apps", Resource: "deployments"}
	configMaps := schema.GroupResource{Resource: "configmaps"}
	quota := errors.New("exceeded quota: compute, requested: pods=1, used: pods=10, limited: pods=10")
	for _, c := range []struct {
		situation string
		err       error
		resource  schema.GroupResource
		name      string
		want      error
	}{
		{"a 503 in plain text", k8sretrytest.Status(503), deployments, "web", apierrors.NewGenericServerResponse(503, "PUT", deployments, "web", "Service Unavailable", 0, true)},
		{"a 503 of a create", k8sretrytest.Status(503), configMaps, "", apierrors.NewGenericServerResponse(503, "PUT", configMaps, "", "Service Unavailable", 0, true)},
		{"a 429", k8sretrytest.TooManyRequests(time.Second), configMaps, "x", apierrors.NewGenericServerResponse(429, "PUT", configMaps, "x", "Too many requests, please try again later.", 1, true)},
		{"a quota", k8sretrytest.QuotaExceeded(), deployments, "web", apierrors.NewForbidden(deployments, "web", quota)},
		{"a quota of an object without a name", k8sretrytest.QuotaExceeded(), configMaps, "", apierrors.NewForbidden(configMaps, "", quota)},
		{"the status of a quota, which is the object", k8sretrytest.QuotaConflict(), configMaps, "x", k8sretrytest.QuotaConflict()},
		{"a webhook, which names none", k8sretrytest.WebhookDenied("no"), configMaps, "x", k8sretrytest.WebhookDenied("no")},
		{"the network", k8sretrytest.ConnectionClosed(), configMaps, "x", k8sretrytest.ConnectionClosed()},
	} {
		t.Run(c.situation, func(t *testing.T) {
			before := k8sretry.Classify(c.err)
			got := k8sretrytest.Named(c.err, c.resource, c.name)
			assert.Equal(t, c.want, got)
			assert.Equal(t, before, k8sretry.Classify(got))
		})
	}
	original := k8sretrytest.QuotaExceeded()
	_ = k8sretrytest.Named(original, configMaps, "x")
	assert.Equal(t, k8sretrytest.QuotaExceeded(), original, "it is copied")
	assert.NoError(t, k8sretrytest.Named(nil, configMaps, "x"))
}
