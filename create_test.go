// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/k8sretry/k8sretry/internal/testkit"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
)

func TestCreate(t *testing.T) {
	allocated := apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), "x", field.ErrorList{
		field.Invalid(field.NewPath("spec", "clusterIP"), "10.0.0.10", "failed to allocate IP 10.0.0.10: provided IP is already allocated"),
	})
	other := configMap("x", "by", "another client")
	// controlled makes the object of the call, or a stored one, that of a controller.
	controlled := func(o *corev1.ConfigMap) {
		o.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Owner", Name: "o", UID: "owner", Controller: pointer(true)}}
	}
	then := func(c *cluster, change func(*corev1.ConfigMap)) *fault {
		return &fault{after: lostReply(), then: func() { c.change("x", change) }}
	}
	for name, tt := range map[string]struct {
		prepare  func(*cluster)
		obj      func(*corev1.ConfigMap) // changes what is sent
		later    time.Duration           // how long after prepare the call begins
		options  []k8sretry.Option
		fails    func(*testing.T, error)
		is       func(error) bool // of the error
		requests string
		created  int // how many objects named x were created
		ours     bool
	}{
		"success": {requests: "create", created: 1, ours: true},
		"the name is taken at the first attempt": {
			prepare: func(c *cluster) { c.put(other) }, fails: requireUnchanged, is: apierrors.IsAlreadyExists,
			requests: "create", created: 1,
		},
		"response lost, then AlreadyExists: the mark is on the object": {
			prepare:  func(c *cluster) { c.on("create", lost(lostReply())) },
			requests: "create create get", created: 1, ours: true,
		},
		"request lost, then created": {
			prepare:  func(c *cluster) { c.on("create", failed(network("read", syscall.ECONNRESET))) },
			requests: "create create", created: 1, ours: true,
		},
		// The assumption was that an object without the mark is that of another client.
		"504, not stored, another client creates the name during the call: unknown": {
			prepare: func(c *cluster) { c.on("create", &fault{before: gatewayTimeout(), then: func() { c.put(other) }}) },
			fails:   requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"504, the name was taken shortly before the call: unknown": {
			prepare: func(c *cluster) { c.put(other); c.on("create", failed(gatewayTimeout())) }, later: 15 * time.Minute,
			fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"504, the name was taken longer before the call than clocks may differ: AlreadyExists is returned": {
			prepare: func(c *cluster) { c.put(other); c.on("create", failed(gatewayTimeout())) }, later: 16 * time.Minute,
			fails: requireUnchanged, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"504, not stored, another Create of the name during the call: AlreadyExists is returned": {
			prepare: func(c *cluster) {
				c.on("create", &fault{before: gatewayTimeout(), then: func() {
					_, _ = k8sretry.Create(context.Background(), c, other, metav1.CreateOptions{})
				}})
			},
			fails: requireUnchanged, is: apierrors.IsAlreadyExists, requests: "create create create get", created: 1,
		},
		"response lost, a controller adds a finalizer with Modify": {
			prepare: func(c *cluster) {
				c.on("create", &fault{after: lostReply(), then: func() {
					_, _ = k8sretry.Modify(context.Background(), c, "x", func(o *corev1.ConfigMap) error {
						o.Finalizers = []string{"example.com/wait"}
						return nil
					})
				}})
			},
			requests: "create get update create get", created: 1, ours: true,
		},
		"response lost, others set the annotations that they want: unknown": {
			prepare: func(c *cluster) {
				c.on("create", then(c, func(o *corev1.ConfigMap) { o.Annotations = map[string]string{"a": "b"} }))
			},
			fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		// The assumption was that a creationTimestamp is a time. It is one in whole seconds.
		"response lost, others set the annotations that they want, and the clock of the server is almost 15 minutes behind: unknown": {
			prepare: func(c *cluster) {
				c.on("create", then(c, func(o *corev1.ConfigMap) {
					o.Annotations = map[string]string{"a": "b"}
					o.CreationTimestamp = metav1.NewTime(time.Now().Add(500*time.Millisecond - 15*time.Minute).Truncate(time.Second))
				}))
			},
			later: 200 * time.Millisecond,
			fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"response lost, others copy the annotations of another object: unknown": {
			prepare: func(c *cluster) {
				source, _ := k8sretry.Create(context.Background(), c, configMap("source"), metav1.CreateOptions{})
				c.requests = nil
				c.on("create", then(c, func(o *corev1.ConfigMap) { o.Annotations = source.Annotations }))
			},
			fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		// The assumption was that a mark of a Create of this name is that of a Create of this object.
		"response lost, a replicator copies the annotations from another namespace: unknown": {
			prepare: func(c *cluster) {
				source := configMap("x")
				source.Namespace = "templates"
				source, _ = k8sretry.Create(context.Background(), newCluster(), source, metav1.CreateOptions{})
				c.on("create", then(c, func(o *corev1.ConfigMap) { o.Annotations = source.Annotations }))
			},
			fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"response lost, a replicator copies from another namespace, which only its client names: unknown": {
			prepare: func(c *cluster) {
				source := configMap("x")
				source.Namespace = ""
				source, _ = k8sretry.Create(context.Background(), inNamespace{newCluster(), "templates"}, source, metav1.CreateOptions{})
				c.on("create", then(c, func(o *corev1.ConfigMap) { o.Annotations = source.Annotations }))
			},
			fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"response lost, a controller copies the annotations of another kind: unknown": {
			prepare: func(c *cluster) {
				o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "ConfigMap"}}
				o.SetNamespace("default")
				o.SetName("x")
				source, _ := k8sretry.Create(context.Background(), echo[*unstructured.Unstructured]{}, o, metav1.CreateOptions{})
				c.on("create", then(c, func(o *corev1.ConfigMap) { o.Annotations = source.GetAnnotations() }))
			},
			fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"response lost, a controller copies the annotations of a kind of the same name in Go: unknown": {
			prepare: func(c *cluster) {
				o := &ConfigMap{*configMap("x")}
				source, _ := k8sretry.Create(context.Background(), echo[*ConfigMap]{}, o, metav1.CreateOptions{})
				c.on("create", then(c, func(o *corev1.ConfigMap) { o.Annotations = source.Annotations }))
			},
			fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"response lost, a controller copies the annotations of a kind of the same name in Go, which does not state its version: unknown": {
			prepare: func(c *cluster) {
				o := &ConfigMap{*configMap("x")}
				o.Kind = "ConfigMap"
				source, _ := k8sretry.Create(context.Background(), echo[*ConfigMap]{}, o, metav1.CreateOptions{})
				c.on("create", then(c, func(o *corev1.ConfigMap) { o.Annotations = source.Annotations }))
			},
			fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"504, not stored, another Create whose client names the namespace: AlreadyExists is returned": {
			prepare: func(c *cluster) {
				c.on("create", &fault{before: gatewayTimeout(), then: func() {
					o := other.DeepCopy()
					o.Namespace = ""
					_, _ = k8sretry.Create(context.Background(), inNamespace{c, "default"}, o, metav1.CreateOptions{})
				}})
			},
			fails: requireUnchanged, is: apierrors.IsAlreadyExists, requests: "create create create get", created: 1,
		},
		"504, not stored, another Create that does not know the namespace: unknown": {
			prepare: func(c *cluster) {
				c.on("create", &fault{before: gatewayTimeout(), then: func() {
					o := other.DeepCopy()
					o.Namespace = ""
					_, _ = k8sretry.Create(context.Background(), k8sretry.Creator[*corev1.ConfigMap](setsNamespace{c}), o, metav1.CreateOptions{})
				}})
			},
			fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create create get", created: 1,
		},
		"response lost, an admission plugin removes the annotations: unknown": {
			prepare: func(c *cluster) {
				c.admit = func(o *corev1.ConfigMap) { o.Annotations = nil }
				c.on("create", lost(lostReply()))
			},
			fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"response lost, an object of a controller: the owner and the content are there": {
			prepare: func(c *cluster) {
				c.admit = func(o *corev1.ConfigMap) { o.Data["default"] = "1" }
				c.on("create", then(c, func(o *corev1.ConfigMap) {
					o.Annotations, o.Finalizers = map[string]string{"a": "b"}, []string{"example.com/wait"}
				}))
			},
			obj: controlled, requests: "create create get", created: 1, ours: true,
		},
		// The assumption was that an object with my owner and content can be that of the call at any age.
		"504, an object of a controller, the same was created long before the call: AlreadyExists is returned": {
			prepare: func(c *cluster) {
				o := configMap("x", "by", "this call")
				controlled(o)
				c.put(o)
				c.on("create", failed(gatewayTimeout()))
			}, later: time.Hour,
			obj: controlled, fails: requireUnchanged, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"504, an object of a controller, another Create has made the same without the owner, which was added: AlreadyExists is returned": {
			prepare: func(c *cluster) {
				c.on("create", &fault{before: gatewayTimeout(), then: func() {
					_, _ = k8sretry.Create(context.Background(), c, configMap("x", "by", "this call"), metav1.CreateOptions{})
					c.change("x", controlled)
				}})
			},
			obj: controlled, fails: requireUnchanged, is: apierrors.IsAlreadyExists, requests: "create create create get", created: 1,
		},
		"response lost, an object of a controller, others change the content: unknown": {
			prepare: func(c *cluster) {
				c.on("create", then(c, func(o *corev1.ConfigMap) { o.Data["by"] = "another client" }))
			},
			obj: controlled, fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"response lost, the same content without the owner: unknown": {
			prepare: func(c *cluster) {
				c.on("create", then(c, func(o *corev1.ConfigMap) { o.OwnerReferences = nil }))
			},
			obj: controlled, fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"an object of a controller, copied together with the mark of an earlier object": {
			prepare: func(c *cluster) {
				c.on("create", then(c, func(o *corev1.ConfigMap) { o.Data["by"] = "another client" }))
			},
			obj: func(o *corev1.ConfigMap) {
				controlled(o)
				earlier := newCluster()
				made, _ := k8sretry.Create(context.Background(), earlier, configMap("x"), metav1.CreateOptions{})
				o.Annotations = made.Annotations
			},
			fails: requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"AlreadyExists in plain text at the first attempt is ambiguous: the mark is on the object": {
			prepare: func(c *cluster) {
				c.on("create", lost(apierrors.NewGenericServerResponse(409, "POST", configMaps, "", "conflict", 0, true)))
			},
			requests: "create get", created: 1, ours: true,
		},
		"response lost, then 422 for the address that the object itself has": {
			prepare:  func(c *cluster) { c.on("create", lost(badGateway()), failed(allocated)) },
			requests: "create create get", created: 1, ours: true,
		},
		"response lost, then 403 for the quota that the object itself fills": {
			prepare:  func(c *cluster) { c.on("create", lost(badGateway()), failed(exceeded("x"))) },
			requests: "create create get", created: 1, ours: true,
		},
		"request lost, then 403 for the quota, no object: retried, then unknown": {
			prepare: func(c *cluster) {
				c.on("create", failed(badGateway()), failed(exceeded("x")), failed(exceeded("x")), failed(exceeded("x")))
			},
			fails: requireUnknown, is: apierrors.IsForbidden,
			requests: "create create get create get create get get",
		},
		"etcd timeout, stored late: NotFound is not final, another request finds the object": {
			prepare: func(c *cluster) {
				c.on("create", &fault{late: etcdTimeout()}, failed(exceeded("x")))
				c.faults["get"] = []*fault{failed(apierrors.NewNotFound(configMaps, "x"))}
			},
			requests: "create create get create get", created: 1, ours: true,
		},
		"response lost, then denied by a webhook: the mark is on the object": {
			prepare:  func(c *cluster) { c.on("create", lost(unavailable()), failed(denied(400, "BadRequest"))) },
			requests: "create create get", created: 1, ours: true,
		},
		"request lost, then denied by a webhook: unknown while there is no object": {
			prepare: func(c *cluster) { c.on("create", failed(etcdTimeout()), failed(denied(400, "BadRequest"))) },
			fails:   requireUnknown, is: apierrors.IsBadRequest, requests: "create create get",
		},
		"denied by a webhook with AlreadyExists at the first attempt": {
			prepare: func(c *cluster) { c.on("create", failed(denied(409, "AlreadyExists"))) },
			fails:   requireUnchanged, is: apierrors.IsAlreadyExists, requests: "create",
		},
		"permanent error at the first attempt": {
			prepare: func(c *cluster) { c.on("create", failed(forbidden("x"))) },
			fails:   requireUnchanged, is: apierrors.IsForbidden, requests: "create",
		},
		// As documented: nothing shows that there was an object.
		"response lost, removed by others before the repetition: created again": {
			prepare:  func(c *cluster) { c.on("create", &fault{after: unavailable(), then: func() { c.remove("x") }}) },
			requests: "create create", created: 2, ours: true,
		},
		"response lost, deleted by another client after the repetition was refused: not created again": {
			prepare: func(c *cluster) {
				c.on("create", lost(unavailable()))
				c.faults["create"] = append(c.faults["create"], &fault{then: func() { c.remove("x") }})
			},
			fails: requireUnknown, is: apierrors.IsAlreadyExists, created: 1,
			requests: "create create get get get get",
		},
		"429 is not ambiguous: no check": {
			prepare:  func(c *cluster) { c.on("create", failed(tooMany(1)), failed(tooMany(1))) },
			requests: "create create create", created: 1, ours: true,
		},
		"success without an object: send again": {
			prepare:  func(c *cluster) { c.on("create", &fault{empty: true}) },
			requests: "create get create", created: 1, ours: true,
		},
		"success without an object, the name is taken": {
			prepare: func(c *cluster) { c.put(other); c.on("create", &fault{empty: true}) }, later: time.Hour,
			fails: requireUnchanged, is: apierrors.IsAlreadyExists, requests: "create get create", created: 1,
		},
		"stored, but the response cannot be decoded: checked, not sent again": {
			prepare: func(c *cluster) {
				c.on("create", lost(errors.New("couldn't get version/kind; json parse error: unexpected end of JSON input")))
			},
			requests: "create get", created: 1, ours: true,
		},
		"the check fails for a while": {
			prepare: func(c *cluster) {
				c.on("create", lost(lostReply())).on("get", failed(unavailable()), failed(lostReply()))
			},
			requests: "create create get get get", created: 1, ours: true,
		},
		"the check finds no object in the response: unknown": {
			prepare: func(c *cluster) { c.on("create", lost(lostReply())).on("get", &fault{empty: true}) },
			fails:   requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"the check is forbidden: unknown": {
			prepare: func(c *cluster) { c.on("create", lost(lostReply())).on("get", failed(forbidden("x"))) },
			fails:   requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"no mark, response lost: unknown": {
			prepare: func(c *cluster) { c.on("create", lost(lostReply())) },
			options: []k8sretry.Option{k8sretry.WithTokenAnnotation("")},
			fails:   requireUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"no mark, the name is taken by an older object: AlreadyExists is returned": {
			prepare: func(c *cluster) { c.put(other); c.on("create", failed(lostReply())) }, later: time.Hour,
			options: []k8sretry.Option{k8sretry.WithTokenAnnotation("")},
			fails:   requireUnchanged, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"all responses lost: the final check finds the object": {
			prepare: func(c *cluster) {
				c.on("create", lost(lostReply()), failed(lostReply()), failed(lostReply()), failed(lostReply()))
			},
			requests: "create create create create get", created: 1, ours: true,
		},
		"all requests lost: unknown": {
			prepare: func(c *cluster) { c.on("create", repeated(4, failed(unavailable()))...) },
			fails: func(t *testing.T, err error) {
				requireUnknown(t, err)
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
			},
			is: apierrors.IsServiceUnavailable, requests: "create create create create get",
		},
		"response lost, no retries: the final check finds the object": {
			prepare:  func(c *cluster) { c.on("create", lost(lostReply())) },
			options:  []k8sretry.Option{k8sretry.WithMaxRetries(0)},
			requests: "create get", created: 1, ours: true,
		},
		"refused connections are not ambiguous": {
			prepare: func(c *cluster) { c.on("create", repeated(4, failed(network("dial", syscall.ECONNREFUSED)))...) },
			fails: func(t *testing.T, err error) {
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
			},
			requests: "create create create create",
		},
		"WithRetryIf is respected": {
			prepare:  func(c *cluster) { c.on("create", failed(forbidden("x"))) },
			options:  []k8sretry.Option{k8sretry.WithRetryIf(apierrors.IsForbidden)},
			requests: "create create", created: 1, ours: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				if tt.prepare != nil {
					tt.prepare(c)
				}
				testkit.Sleep(tt.later)
				obj := configMap("x", "by", "this call")
				if tt.obj != nil {
					tt.obj(obj)
				}
				given := obj.DeepCopy()

				made, err := k8sretry.Create(context.Background(), c, obj, metav1.CreateOptions{}, tt.options...)

				assert.Equal(t, given, obj, "the caller's object was changed")
				if tt.fails == nil {
					require.NoError(t, err)
					assert.Equal(t, "this call", made.Data["by"])
					assert.NotEmpty(t, made.UID)
				} else {
					tt.fails(t, err)
					assert.Nil(t, made)
				}
				if tt.is != nil {
					assert.True(t, tt.is(err), "%v", err)
				}
				c.expectRequests(t, strings.Fields(tt.requests)...)
				assert.Equal(t, tt.created, c.created["x"])
				if stored := c.objects["x"]; tt.ours {
					assert.Equal(t, "this call", stored.Data["by"])
				}
			})
		})
	}
}

// setsNamespace is a client of the namespace default, as the server makes of its URL.
type setsNamespace struct{ *cluster }

func (c setsNamespace) Create(ctx context.Context, o *corev1.ConfigMap, opts metav1.CreateOptions) (*corev1.ConfigMap, error) {
	o = o.DeepCopy()
	o.Namespace = "default"
	return c.cluster.Create(ctx, o, opts)
}

// inNamespace is a client of one namespace, which it names as those of client-go do.
type inNamespace struct {
	*cluster
	namespace string
}

func (c inNamespace) GetNamespace() string { return c.namespace }

func (c inNamespace) Create(ctx context.Context, o *corev1.ConfigMap, opts metav1.CreateOptions) (*corev1.ConfigMap, error) {
	o = o.DeepCopy()
	o.Namespace = c.namespace
	return c.cluster.Create(ctx, o, opts)
}

// echo is a client whose server returns what it is sent.
type echo[T k8sretry.Object] struct{}

func (echo[T]) Create(_ context.Context, o T, _ metav1.CreateOptions) (T, error) { return o, nil }
func (echo[T]) Get(context.Context, string, metav1.GetOptions) (o T, err error)  { return o, nil }

// ConfigMap is a custom resource whose type is called like one of Kubernetes.
type ConfigMap struct{ corev1.ConfigMap }

func (o *ConfigMap) DeepCopyObject() runtime.Object { return &ConfigMap{*o.DeepCopy()} }

// The assumption was that a Create makes an object of its name. A subresource may start something
// instead, and a server may choose the name of an object that has none.
func TestCreateThatMakesNoObjectOfItsName(t *testing.T) {
	builds := schema.GroupVersionResource{Group: "build.example.com", Version: "v1", Resource: "builds"}
	object := func(apiVersion, kind, name string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
		o.SetName(name)
		return o
	}
	for _, c := range []struct {
		situation   string
		subresource []string
		object      *unstructured.Unstructured
		answers     []error // nil is a success without an object, as an eviction is answered
		sent        int
		unknown     bool
		dryRun      []string
	}{
		{"an action, lost", []string{"instantiate"}, object("build.example.com/v1", "BuildRequest", "a"), []error{lostReply()}, 1, true, nil},
		{"an action, throttled", []string{"instantiate"}, object("build.example.com/v1", "BuildRequest", "a"), []error{tooMany(1)}, 2, false, nil},
		{"an action, throttled, then lost", []string{"instantiate"}, object("build.example.com/v1", "BuildRequest", "a"), []error{tooMany(1), gatewayTimeout()}, 2, true, nil},
		{"an action, answered with a Status", []string{"eviction"}, object("policy/v1", "Eviction", "a"), []error{nil}, 1, false, nil},
		{"a dry run of an action, answered with a Status", []string{"eviction"}, object("policy/v1", "Eviction", "a"), []error{nil}, 1, false, []string{metav1.DryRunAll}},
		{"a dry run of an action, lost", []string{"eviction"}, object("policy/v1", "Eviction", "a"), []error{lostReply(), nil}, 2, false, []string{metav1.DryRunAll}},
		{"an action, answered with what cannot be decoded", []string{"instantiate"}, object("build.example.com/v1", "BuildRequest", "a"), []error{errors.New("unexpected end of JSON input")}, 1, true, nil},
		{"no name, lost", nil, object("build.example.com/v1", "Build", ""), []error{lostReply()}, 1, true, nil},
		{"a token, lost", []string{"token"}, object("authentication.k8s.io/v1", "TokenRequest", "a"), []error{lostReply()}, 2, false, nil},
		{"a review, lost", nil, object("authorization.k8s.io/v1", "SubjectAccessReview", ""), []error{lostReply()}, 2, false, nil},
		{"a review with a name, answered without", nil, object("authentication.k8s.io/v1", "SelfSubjectReview", "a"), []error{lostReply(), nil}, 2, false, nil},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, sent := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme()), 0
				client.PrependReactor("create", "*", func(action k8stesting.Action) (bool, runtime.Object, error) {
					obj := action.(k8stesting.CreateAction).GetObject().(*unstructured.Unstructured)
					assert.Empty(t, obj.GetAnnotations())
					if sent++; sent > len(c.answers) {
						return true, obj, nil
					}
					err := c.answers[sent-1]
					return true, object("v1", "Status", ""), err
				})
				client.PrependReactor("get", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
					return true, c.object, nil
				})
				_, err := k8sretry.Create(t.Context(), k8sretry.Dynamic(client.Resource(builds), c.subresource...), c.object, metav1.CreateOptions{DryRun: c.dryRun})
				assert.Equal(t, c.sent, sent)
				if c.unknown {
					requireUnknown(t, err)
				} else {
					require.NoError(t, err)
				}
			})
		})
	}
}

func TestCreateDryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster().on("create", failed(gatewayTimeout()), failed(lostReply()))
		made, err := k8sretry.Create(context.Background(), c, configMap("x"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		require.NoError(t, err)
		assert.Empty(t, made.Annotations)
		assert.Empty(t, c.objects)
		c.expectRequests(t, "create", "create", "create")

		c = newCluster().on("create", repeated(9, failed(gatewayTimeout()))...)
		_, err = k8sretry.Create(context.Background(), c, configMap("x"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
	})
}

func TestCreateGenerateName(t *testing.T) {
	generated := func(base string) *corev1.ConfigMap {
		o := configMap("")
		o.GenerateName = base
		return o
	}
	t.Run("one object, whatever response is lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster().on("create", lost(lostReply()), failed(gatewayTimeout()))
			obj := generated("job-")
			made, err := k8sretry.Create(context.Background(), c, obj, metav1.CreateOptions{})
			require.NoError(t, err)
			assert.Regexp(t, `^job-[a-z0-9]{10}$`, made.Name)
			assert.Empty(t, made.Annotations, "the name proves enough")
			assert.Len(t, c.objects, 1)
			assert.Empty(t, obj.Name)
		})
	})
	t.Run("a long GenerateName is truncated as by the server", func(t *testing.T) {
		made, err := k8sretry.Create(context.Background(), newCluster(), generated(strings.Repeat("a", 100)), metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Len(t, made.Name, 63)
	})
	t.Run("another name after a collision, without a delay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			c := newCluster()
			var names []string
			c.always = func(verb string) *fault {
				if len(names) < 3 {
					names = append(names, verb)
					return failed(apierrors.NewGenerateNameConflict(configMaps, "job-x", 1))
				}
				return nil
			}
			_, err := k8sretry.Create(context.Background(), c, generated("job-"), metav1.CreateOptions{})
			require.NoError(t, err)
			c.expectRequests(t, "create", "create", "create", "create")
			assert.Zero(t, time.Since(began))
		})
	})
	t.Run("at most 8 names", func(t *testing.T) {
		c := newCluster()
		c.always = func(string) *fault { return failed(apierrors.NewGenerateNameConflict(configMaps, "job-x", 1)) }
		_, err := k8sretry.Create(context.Background(), c, generated("job-"), metav1.CreateOptions{})
		assert.True(t, apierrors.IsAlreadyExists(err))
		assert.Equal(t, 8, c.count("create"))
	})
	// The assumption was that an object without the mark is that of another client, and that
	// another name may be drawn then: that made a second object.
	for name, change := range map[string]func(*corev1.ConfigMap){
		"with Modify":     nil,
		"as it wants":     func(o *corev1.ConfigMap) { o.Annotations = map[string]string{"a": "b"} },
		"and the content": func(o *corev1.ConfigMap) { o.Data = map[string]string{"by": "another client"} },
	} {
		t.Run("response lost, another client changes the object "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.on("create", &fault{after: gatewayTimeout(), then: func() {
					if change != nil {
						c.change(c.tried[0], change)
						return
					}
					_, err := k8sretry.Modify(context.Background(), c, c.tried[0], plusOne)
					assert.NoError(t, err)
				}})
				made, err := k8sretry.Create(context.Background(), c, generated("job-"), metav1.CreateOptions{})
				require.NoError(t, err)
				assert.Equal(t, c.tried[0], made.Name)
				assert.Len(t, c.objects, 1)
			})
		})
	}
	t.Run("ambiguous, the name is taken by an object that cannot be read: no other name", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			c.on("create", failed(gatewayTimeout()), failed(apierrors.NewGenerateNameConflict(configMaps, "job-x", 1)))
			_, err := k8sretry.Create(context.Background(), c, generated("job-"), metav1.CreateOptions{})
			requireUnknown(t, err)
			assert.True(t, apierrors.IsAlreadyExists(err))
			assert.Equal(t, 2, c.count("create"))
		})
	})
}

// nameless is a client for objects without a name. Its first creates fail with errors.
type nameless[T k8sretry.Object] struct{ *script }

func (c nameless[T]) Create(ctx context.Context, obj T, _ metav1.CreateOptions) (T, error) {
	_, err := c.get(ctx)
	return obj, err
}

func (c nameless[T]) Get(context.Context, string, metav1.GetOptions) (obj T, err error) {
	return obj, errors.New("no name to get")
}

// Without any name a repetition may create a second object, which cannot be found. The assumption
// was that the server refuses such an object. A review stores nothing.
func TestCreateWithoutAName(t *testing.T) {
	typed := func(o metav1.CreateOptions) func(*script) error {
		return func(s *script) error {
			_, err := k8sretry.Create(context.Background(), nameless[*corev1.ConfigMap]{s}, &corev1.ConfigMap{}, o)
			return err
		}
	}
	untyped := func(version string) func(*script) error {
		return func(s *script) error {
			u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": "X"}}
			_, err := k8sretry.Create(context.Background(), nameless[*unstructured.Unstructured]{s}, u, metav1.CreateOptions{})
			return err
		}
	}
	for situation, c := range map[string]struct {
		create   func(*script) error
		repeated bool
	}{
		"an object":    {typed(metav1.CreateOptions{}), false},
		"unstructured": {untyped("example.com/v1"), false},
		"a dry run":    {typed(metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}), true},
		"a review": {func(s *script) error {
			_, err := k8sretry.Create(context.Background(), nameless[*authorizationv1.SubjectAccessReview]{s}, &authorizationv1.SubjectAccessReview{}, metav1.CreateOptions{})
			return err
		}, true},
		"an unstructured review":              {untyped("authentication.k8s.io/v1"), true},
		"an unstructured review of an access": {untyped("authorization.k8s.io/v1"), true},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(tooMany(1), gatewayTimeout())
				err := c.create(s)
				if c.repeated {
					require.NoError(t, err)
					assert.Equal(t, 3, s.attempts())
					return
				}
				requireUnknown(t, err)
				assert.True(t, apierrors.IsTimeout(err))
				assert.Equal(t, 2, s.attempts())
			})
		})
	}
}
