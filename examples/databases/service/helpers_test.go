// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/examples/databases/service"
)

// Failures as client-go returns them.
var (
	unavailable = apierrors.NewServiceUnavailable("the server is currently unable to handle the request")
	badGateway  = apierrors.NewGenericServerResponse(502, "POST", schema.GroupResource{Resource: "databases"}, "", "<html>", 0, true)
	throttled   = apierrors.NewTooManyRequests("too many requests", 7)
	lost        = &url.Error{Op: "Post", URL: "https://10.0.0.1", Err: io.EOF}
)

// cluster is a fake cluster and a service that uses it.
type cluster struct {
	*fake.FakeDynamicClient
	handler http.Handler
	log     *observer.ObservedLogs
	deletes []metav1.DeleteOptions
}

func newCluster(config service.Config, objects ...runtime.Object) *cluster {
	core, log := observer.New(zapcore.InfoLevel)
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		service.DatabaseResource: "DatabaseList", service.OpsRequestResource: "OpsRequestList",
	}, objects...)
	config.Retry = append(config.Retry, k8sretry.WithJitter(k8sretry.JitterNone))
	c := &cluster{FakeDynamicClient: client, log: log}
	c.handler = service.New(recording{client, c}, zap.New(core), config)
	return c
}

// recording keeps the options of deletes, which the fake of client-go v0.31 drops.
type recording struct {
	dynamic.Interface
	cluster *cluster
}

func (r recording) Resource(resource schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return recordingResource{r.Interface.Resource(resource), r.cluster}
}

type recordingResource struct {
	dynamic.NamespaceableResourceInterface
	cluster *cluster
}

func (r recordingResource) Namespace(namespace string) dynamic.ResourceInterface {
	return recordingDeletes{r.NamespaceableResourceInterface.Namespace(namespace), r.cluster}
}

type recordingDeletes struct {
	dynamic.ResourceInterface
	cluster *cluster
}

func (r recordingDeletes) Delete(ctx context.Context, name string, options metav1.DeleteOptions, subresources ...string) error {
	r.cluster.deletes = append(r.cluster.deletes, options)
	return r.ResourceInterface.Delete(ctx, name, options, subresources...)
}

// fail makes the next calls with the verb return the given errors, in order. A call
// with a nil error succeeds.
func (c *cluster) fail(verb string, errs ...error) {
	c.PrependReactor(verb, "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		if len(errs) == 0 {
			return false, nil, nil
		}
		err := errs[0]
		errs = errs[1:]
		return err != nil, nil, err
	})
}

// loseReply carries out the next call with the verb and returns err.
func (c *cluster) loseReply(verb string, err error) {
	done := false
	c.PrependReactor(verb, "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if done {
			return false, nil, nil
		}
		done = true
		if _, _, failed := clienttesting.ObjectReaction(c.Tracker())(action); failed != nil {
			return true, nil, failed
		}
		return true, nil, err
	})
}

type answer struct {
	code   int
	header http.Header
	body   map[string]any
	took   time.Duration
}

func (c *cluster) request(method, path, body string, set ...func(*http.Request) *http.Request) answer {
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, s := range set {
		request = s(request)
	}
	start := time.Now()
	recorder := httptest.NewRecorder()
	c.handler.ServeHTTP(recorder, request)
	got := answer{code: recorder.Code, header: recorder.Header(), took: time.Since(start)}
	if err := json.Unmarshal(recorder.Body.Bytes(), &got.body); err != nil {
		got.body = map[string]any{"not JSON": recorder.Body.String()}
	}
	return got
}

func (c *cluster) calls(verb string) (n int) {
	for _, action := range c.Actions() {
		if action.GetVerb() == verb {
			n++
		}
	}
	return n
}

func key(k string) func(*http.Request) *http.Request {
	return func(r *http.Request) *http.Request { r.Header.Set("Idempotency-Key", k); return r }
}

func withContext(ctx context.Context) func(*http.Request) *http.Request {
	return func(r *http.Request) *http.Request { return r.WithContext(ctx) }
}

const orders = `{"name":"orders","engine":"postgres","version":"16.2","storage":"10Gi"}`

func object(kind, name string, fields map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "databases.example.dev/v1", "kind": kind,
		"metadata": map[string]any{"name": name, "namespace": "default", "uid": "uid-of-" + name},
	}}
	for field, value := range fields {
		u.Object[field] = value
	}
	return u
}
