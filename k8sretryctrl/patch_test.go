// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	metav1apply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// A timeout without a connection means that the patch was not executed. The error does not
// show whether there was a connection.
func TestAJSONPatchThatWasNotSentIsRetried(t *testing.T) {
	for situation, stalls := range map[string]string{"no connection": "dial", "no response": "serve"} {
		t.Run(situation, func(t *testing.T) {
			var dials, served atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // after that the server notices that the client closes the connection
				if served.Add(1) == 1 && stalls == "serve" {
					<-r.Context().Done()
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"default","resourceVersion":"2"}}`))
			}))
			t.Cleanup(server.Close)
			transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials.Add(1) == 1 && stalls == "dial" {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			}}
			t.Cleanup(transport.CloseIdleConnections)
			known := builder().Build()
			inner, err := client.New(&rest.Config{Host: server.URL, QPS: -1}, client.Options{
				HTTPClient: &http.Client{Transport: transport}, Scheme: known.Scheme(), Mapper: known.RESTMapper(),
			})
			require.NoError(t, err)
			c := k8sretryctrl.NewClient(inner, k8sretry.WithAttemptTimeout(time.Second/4), k8sretry.WithInitialDelay(0))
			cm := configMap("x")
			err = c.Patch(t.Context(), cm, jsonPatch())
			if stalls == "serve" {
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.EqualValues(t, 1, served.Load())
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "2", cm.ResourceVersion)
		})
	}
}

func TestAJSONPatchIsNotAppliedTwice(t *testing.T) {
	appends := client.RawPatch("application/json-patch+json", []byte(`[{"op":"add","path":"/metadata/finalizers/-","value":"example.com/a"}]`))
	inVirtualTime(t, "unknown outcome", func(t *testing.T) {
		f := &faults{only: "Patch", err: unknownOutcome, lose: 1}
		retrying, server := newClient(f)
		cm := read(t, server, "x")
		cm.Finalizers = []string{"example.com/b"}
		require.NoError(t, server.Update(t.Context(), cm))
		err := retrying.Patch(t.Context(), configMap("x"), appends)
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Len(t, read(t, server, "x").Finalizers, 2)
		result, err := k8sretryctrl.Result(err)
		require.NoError(t, err)
		assert.NotZero(t, result.RequeueAfter)
	})
	inVirtualTime(t, "unknown outcome after failures that were not executed", func(t *testing.T) {
		n := 0
		c := k8sretryctrl.NewClient(interceptor.NewClient(cluster(), interceptor.Funcs{
			Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
				if n++; n < 3 {
					return notExecuted()
				}
				return unknownOutcome()
			},
		}))
		err := c.Patch(t.Context(), configMap("x"), appends)
		var e *k8sretry.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, 3, e.Attempts)
		assert.True(t, apierrors.IsTimeout(err))
	})
}

// The rules are those of k8sretry.Patch.
func TestAPatchIsRepeatedIfItsBodyAllowsThat(t *testing.T) {
	appending := `{"op":"add","path":"/metadata/finalizers","value":["example.com/a"]}`
	for situation, c := range map[string]struct {
		patch   client.Patch
		err     func() error
		repeats bool
	}{
		"a JSON patch that tests the version": {
			client.RawPatch(types.JSONPatchType, []byte(`[{"op":"test","path":"/metadata/resourceVersion","value":"999"},`+appending+`]`)), unknownOutcome, true,
		},
		"a JSON patch that tests nothing": {client.RawPatch(types.JSONPatchType, []byte(`[`+appending+`]`)), unknownOutcome, false},
		"a merge patch without a version, a conflict": {
			labelPatch(), func() error { return apierrors.NewConflict(corev1.Resource("configmaps"), "x", errors.New("modified")) }, true,
		},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			f := &faults{only: "Patch", err: c.err, fail: 1}
			retrying, _ := newClient(f)
			err := retrying.Patch(t.Context(), configMap("x"), c.patch)
			if c.repeats {
				require.NoError(t, err)
				assert.Equal(t, 2, f.count("Patch"))
				return
			}
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.Equal(t, 1, f.count("Patch"))
		})
	}
	t.Run("the error of a patch without data", func(t *testing.T) {
		cause := errors.New("cause")
		f := &faults{}
		retrying, _ := newClient(f)
		assert.Same(t, cause, retrying.Patch(t.Context(), configMap("x"), badPatch{labelPatch(), cause}))
		assert.Empty(t, f.all())
	})
}

type badPatch struct {
	client.Patch
	err error
}

func (p badPatch) Data(client.Object) ([]byte, error) { return nil, p.err }

// With a resource version, a second patch is a Conflict, which shows nothing by itself.
// The content of a merge patch proves nothing: another client may have sent the same.
func TestAPatchWithAResourceVersion(t *testing.T) {
	type call struct {
		name string
		run  func(context.Context, client.Client, string) error
	}
	for kind, c := range map[string]call{
		"merge patch": {"Patch", func(ctx context.Context, c client.Client, version string) error {
			patch := fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"data":{"n":"1","old":null}}`, version)
			return c.Patch(ctx, configMap("x"), client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("me"))
		}},
		"merge patch from a base": {"Patch", func(ctx context.Context, c client.Client, version string) error {
			base := configMap("x", "n", "0", "old", "yes")
			base.ResourceVersion = version
			cm := base.DeepCopy()
			cm.Data = map[string]string{"n": "1"}
			return c.Patch(ctx, cm, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}), client.FieldOwner("me"))
		}},
		"apply patch": {"Patch", func(ctx context.Context, c client.Client, version string) error {
			cm := configMap("x", "n", "1")
			cm.APIVersion, cm.Kind, cm.ResourceVersion = "v1", "ConfigMap", version
			//lint:ignore SA1019 it is still in use
			return c.Patch(ctx, cm, client.Apply, client.FieldOwner("me"), client.ForceOwnership)
		}},
		"apply": {"Apply", func(ctx context.Context, c client.Client, version string) error {
			config := corev1apply.ConfigMap("x", "default").WithResourceVersion(version).WithData(map[string]string{"n": "1"})
			err := c.Apply(ctx, config, client.FieldOwner("me"), client.ForceOwnership)
			if err == nil {
				assert.NotEqual(t, version, *config.ResourceVersion, "the configuration has the content of the response")
			}
			return err
		}},
	} {
		for situation, s := range map[string]struct {
			lose, fail int
			other      string // what another client sets after the first attempt
			unknown    bool
			conflict   bool
		}{
			"a lost response": {lose: 1},
			"lost responses":  {lose: 1000},
			"not executed":    {fail: 1},
			"a lost response, then another client has set it":       {lose: 1, other: "8", unknown: true, conflict: true},
			"not executed, and another client has set it":           {fail: 1, other: "8", unknown: true, conflict: true},
			"not executed, and another client has set a part of it": {fail: 1, other: "1", unknown: true, conflict: true},
		} {
			isMerge := strings.HasPrefix(kind, "merge")
			s.unknown = s.unknown || isMerge && s.lose > 0
			inVirtualTime(t, kind+": "+situation, func(t *testing.T) {
				server := builder().WithReturnManagedFields().WithObjects(configMap("x", "n", "0", "old", "yes")).Build()
				f := &faults{only: c.name, err: unknownOutcome, lose: s.lose, fail: s.fail}
				version := read(t, server, "x").ResourceVersion
				attempts := 0
				between := func() {
					if attempts++; attempts == 1 && s.other != "" {
						other := read(t, server, "x")
						other.Data["n"] = s.other
						require.NoError(t, server.Update(t.Context(), other, client.FieldOwner("other")))
					}
				}
				var events k8sretrytest.Recorder
				retrying := k8sretryctrl.NewClient(after(f.in(server), between), k8sretry.WithObserver(&events))
				err := c.run(t.Context(), retrying, version)
				assert.Equal(t, s.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
				if !isMerge || s.lose == 0 {
					assert.Equal(t, s.conflict, apierrors.IsConflict(err), "%v", err)
				}
				if !s.unknown {
					require.NoError(t, err)
					assert.Equal(t, "1", read(t, server, "x").Data["n"])
				}
				if s.lose == 1 && !s.unknown {
					all := events.Events()
					assert.Equal(t, k8sretry.EventSuccess, all[len(all)-1].Kind, "the events say so, too")
				}
			})
		}
	}
}

// The assumption was that the field owner is in the options of the call. The client below may
// add it.
func TestAnApplyOfAnotherOwnerIsNoProofIfTheOwnerIsSetBelow(t *testing.T) {
	for situation, owner := range map[string]client.FieldOwner{"applied by this owner": "me", "applied by another owner": "other"} {
		for _, patches := range []bool{false, true} {
			inVirtualTime(t, fmt.Sprint(situation, ", as a patch: ", patches), func(t *testing.T) {
				server := builder().WithReturnManagedFields().WithObjects(configMap("x", "n", "0")).Build()
				version := read(t, server, "x").ResourceVersion
				config := func() *corev1apply.ConfigMapApplyConfiguration {
					return corev1apply.ConfigMap("x", "default").WithResourceVersion(version).WithData(map[string]string{"n": "1"})
				}
				attempts := 0
				between := func() {
					if attempts++; attempts == 1 {
						require.NoError(t, server.Apply(t.Context(), config(), owner, client.ForceOwnership))
					}
				}
				f := &faults{err: unknownOutcome, fail: 1}
				retrying := k8sretryctrl.NewClient(after(f.in(ownedBy(server, "me")), between))
				var err error
				if patches {
					cm := configMap("x", "n", "1")
					cm.APIVersion, cm.Kind, cm.ResourceVersion = "v1", "ConfigMap", version
					//lint:ignore SA1019 it is still in use
					err = retrying.Patch(t.Context(), cm, client.Apply, client.ForceOwnership)
				} else {
					err = retrying.Apply(t.Context(), config(), client.ForceOwnership)
				}
				if owner == "me" {
					require.NoError(t, err)
					return
				}
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.True(t, apierrors.IsConflict(err), "%v", err)
			})
		}
	}
}

// ownConfiguration is an apply configuration that was not generated.
type ownConfiguration struct{ content map[string]any }

func (ownConfiguration) IsApplyConfiguration() {}

func (c ownConfiguration) MarshalJSON() ([]byte, error) { return json.Marshal(c.content) }

// The assumption was that an apply configuration is a struct with a field APIVersion that is set.
func TestAnApplyConfigurationMayHaveAnyType(t *testing.T) {
	content := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "x", "namespace": "default"}}
	for situation, c := range map[string]struct {
		config runtime.ApplyConfiguration
		name   string // of the call, "" if the inner client refuses it
	}{
		"generated":                      {corev1apply.ConfigMap("x", "default"), "configmaps"},
		"a type of the caller":           {ownConfiguration{content}, "configmaps"},
		"a pointer to one":               {&ownConfiguration{content}, "configmaps"},
		"generated, without a kind":      {&corev1apply.ConfigMapApplyConfiguration{}, ""},
		"a type of the caller, no kind":  {&ownConfiguration{map[string]any{"apiVersion": "v1"}}, ""},
		"a type of the caller, not JSON": {&ownConfiguration{map[string]any{"apiVersion": func() {}}}, ""},
	} {
		for _, subresource := range []string{"", "status"} {
			inVirtualTime(t, situation+" "+subresource, func(t *testing.T) {
				refused := runtime.NewMissingKindErr("{}")
				send := func() error {
					if c.name == "" {
						return refused
					}
					return notExecuted()
				}
				retrying := k8sretryctrl.NewClient(interceptor.NewClient(cluster(), interceptor.Funcs{
					Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
						return send()
					},
					SubResourceApply: func(context.Context, client.Client, string, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
						return send()
					},
				}), k8sretry.WithMaxRetries(0))
				err := retrying.Apply(t.Context(), c.config, client.FieldOwner("me"))
				want := "apply " + c.name
				if subresource != "" {
					err = retrying.SubResource(subresource).Apply(t.Context(), c.config, client.FieldOwner("me"))
					want += "/" + subresource
				}
				if c.name == "" {
					assert.Same(t, refused, err)
					return
				}
				var e *k8sretry.Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, want, e.Function)
			})
		}
	}
}

// An apply removes the fields that its field manager has applied before and no longer applies.
// The assumption was that an object which has all that is applied shows the apply.
func TestAnApplyThatRemovesAFieldIsNotProvenByTheOthers(t *testing.T) {
	cm := func(data map[string]string) *corev1apply.ConfigMapApplyConfiguration {
		return corev1apply.ConfigMap("x", "default").WithData(data)
	}
	all := cm(map[string]string{"n": "1", "old": "yes"}).WithLabels(map[string]string{"a": "b"}).WithFinalizers("example.com/a", "example.com/b").
		WithOwnerReferences(ownerReference("1"), ownerReference("2"))
	for situation, config := range map[string]*corev1apply.ConfigMapApplyConfiguration{
		"a key of a map":       cm(map[string]string{"n": "1"}).WithLabels(map[string]string{"a": "b"}).WithFinalizers("example.com/a", "example.com/b").WithOwnerReferences(ownerReference("1"), ownerReference("2")),
		"a map":                cm(map[string]string{"n": "1", "old": "yes"}).WithFinalizers("example.com/a", "example.com/b").WithOwnerReferences(ownerReference("1"), ownerReference("2")),
		"an element of a set":  cm(map[string]string{"n": "1", "old": "yes"}).WithLabels(map[string]string{"a": "b"}).WithFinalizers("example.com/a").WithOwnerReferences(ownerReference("1"), ownerReference("2")),
		"an element of a list": cm(map[string]string{"n": "1", "old": "yes"}).WithLabels(map[string]string{"a": "b"}).WithFinalizers("example.com/a", "example.com/b").WithOwnerReferences(ownerReference("1")),
		"nothing":              all,
		"nothing, and adds what another client sets to the same": cm(map[string]string{"n": "1", "old": "yes", "other": "1"}).WithLabels(map[string]string{"a": "b"}).WithFinalizers("example.com/a", "example.com/b").WithOwnerReferences(ownerReference("1"), ownerReference("2")),
	} {
		for _, executed := range []bool{true, false} {
			inVirtualTime(t, fmt.Sprint(situation, ", executed: ", executed), func(t *testing.T) {
				server := builder().WithReturnManagedFields().Build()
				copied := func(c *corev1apply.ConfigMapApplyConfiguration) *corev1apply.ConfigMapApplyConfiguration {
					text, err := json.Marshal(c)
					require.NoError(t, err)
					copied := &corev1apply.ConfigMapApplyConfiguration{}
					require.NoError(t, json.Unmarshal(text, copied))
					return copied
				}
				require.NoError(t, server.Apply(t.Context(), copied(all), client.FieldOwner("me")))
				config := copied(config).WithResourceVersion(read(t, server, "x").ResourceVersion)
				f := &faults{only: "Apply", err: unknownOutcome}
				if executed {
					f.lose = 1
				} else {
					f.fail = 1
				}
				attempts := 0
				retrying := k8sretryctrl.NewClient(after(f.in(server), func() {
					if attempts++; attempts == 1 {
						other := read(t, server, "x")
						other.Data["other"] = "1"
						other.Annotations = map[string]string{"other": "1"}
						require.NoError(t, server.Update(t.Context(), other, client.FieldOwner("other")))
					}
				}))
				err := retrying.Apply(t.Context(), config, client.FieldOwner("me"))
				if executed || situation == "nothing" {
					require.NoError(t, err)
					return
				}
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.True(t, apierrors.IsConflict(err), "%v", err)
			})
		}
	}
}

// What a real server records as owned: it adds the defaults of the keys of a list, records no
// status in an apply of the object and nothing else in one of the status, and owns lists that
// are no sets as a whole.
func TestAnApplyIsProvenByWhatItsManagerOwns(t *testing.T) {
	const (
		web    = `"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:name":{},"f:args":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}`
		keeper = `"f:metadata":{"f:finalizers":{"v:\"example.com/a\"":{}}}`
		phase  = `"f:status":{"f:phase":{}}`
		image  = `"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:name":{},"f:args":{},"f:image":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}`
		whole  = `"f:spec":{},` + keeper
		two    = `"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{},"k:{\"name\":\"sidecar\"}":{}}}`
	)
	entry := func(subresource, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{
			Manager: "me", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1", Subresource: subresource,
			FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte("{" + fields + "}")},
		}
	}
	of := func(manager string, e metav1.ManagedFieldsEntry) metav1.ManagedFieldsEntry {
		e.Manager = manager
		return e
	}
	for situation, c := range map[string]struct {
		subresource string
		owned       []metav1.ManagedFieldsEntry
		proven      bool
	}{
		"all of it":                            {"", []metav1.ManagedFieldsEntry{entry("", web+","+keeper)}, true},
		"a part as a whole":                    {"", []metav1.ManagedFieldsEntry{entry("", whole)}, true},
		"and an empty field":                   {"", []metav1.ManagedFieldsEntry{entry("", web+","+keeper+`,"f:metadata2":{}`)}, true},
		"all of it, the status by another":     {"", []metav1.ManagedFieldsEntry{entry("", web+","+keeper), entry("status", phase)}, true},
		"the status":                           {"status", []metav1.ManagedFieldsEntry{entry("status", phase), entry("", image)}, true},
		"more of an element":                   {"", []metav1.ManagedFieldsEntry{entry("", image+","+keeper)}, false},
		"another container":                    {"", []metav1.ManagedFieldsEntry{entry("", two+","+keeper)}, false},
		"no finalizer":                         {"", []metav1.ManagedFieldsEntry{entry("", web)}, false},
		"the status, by another":               {"status", []metav1.ManagedFieldsEntry{of("other", entry("status", phase))}, false},
		"nothing of the status":                {"status", []metav1.ManagedFieldsEntry{entry("status", ""), entry("", web+","+keeper)}, false},
		"the object, but the status was asked": {"status", []metav1.ManagedFieldsEntry{entry("", web+","+keeper+","+phase)}, false},
		"fields that cannot be decoded":        {"", []metav1.ManagedFieldsEntry{entry("", `"x":1`)}, false},
		"no fields":                            {"", []metav1.ManagedFieldsEntry{{Manager: "me", Operation: metav1.ManagedFieldsOperationApply}}, false},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			found := podWithUID("1")
			found.APIVersion, found.Kind = "v1", "Pod"
			found.ManagedFields, found.Finalizers = c.owned, []string{"example.com/a"}
			found.Spec.Containers = []corev1.Container{{Name: "web", Image: "web:1", Args: []string{"x"}, Ports: []corev1.ContainerPort{{ContainerPort: 80, Protocol: corev1.ProtocolTCP}}}, {Name: "sidecar"}}
			found.Status.Phase = corev1.PodRunning
			answers := []error{unknownOutcome(), apierrors.NewConflict(corev1.Resource("pods"), "web-0", nil)}
			apply := func() error {
				answer := answers[0]
				answers = answers[1:]
				return answer
			}
			retrying := k8sretryctrl.NewClient(interceptor.NewClient(cluster(), interceptor.Funcs{
				Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
					text, err := json.Marshal(found)
					require.NoError(t, err)
					return json.Unmarshal(text, obj)
				},
				Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
					return apply()
				},
				SubResourceApply: func(_ context.Context, _ client.Client, _ string, _ runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
					(&client.SubResourceApplyOptions{}).ApplyOpts(append([]client.SubResourceApplyOption{client.FieldOwner("me")}, opts...))
					return apply()
				},
				SubResourcePatch: func(_ context.Context, _ client.Client, _ string, _ client.Object, _ client.Patch, opts ...client.SubResourcePatchOption) error {
					(&client.SubResourcePatchOptions{}).ApplyOptions(append([]client.SubResourcePatchOption{client.FieldOwner("me")}, opts...))
					return apply()
				},
			}))
			config := corev1apply.Pod("web-0", "default").WithResourceVersion("7").WithFinalizers("example.com/a").
				WithSpec(corev1apply.PodSpec().WithContainers(corev1apply.Container().WithName("web").WithArgs("x").
					WithPorts(corev1apply.ContainerPort().WithContainerPort(80)))).
				WithStatus(corev1apply.PodStatus().WithPhase(corev1.PodRunning))
			var results []error
			if c.subresource == "" {
				results = append(results, retrying.Apply(t.Context(), config, client.FieldOwner("me")))
			} else {
				body, err := json.Marshal(config)
				require.NoError(t, err)
				again := slices.Clone(answers)
				results = append(results, retrying.SubResource(c.subresource).Apply(t.Context(), config))
				answers = again
				results = append(results, retrying.SubResource(c.subresource).Patch(t.Context(), pod(), client.RawPatch(types.ApplyPatchType, body)))
			}
			for _, err := range results {
				assert.Equal(t, !c.proven, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
				assert.Equal(t, c.proven, err == nil, "%v", err)
			}
		})
	}
}

func ownerReference(uid types.UID) *metav1apply.OwnerReferenceApplyConfiguration {
	return metav1apply.OwnerReference().WithAPIVersion("v1").WithKind("ConfigMap").WithName("owner-" + string(uid)).WithUID(uid)
}

// after calls then after each patch and apply.
func after(c client.WithWatch, then func()) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			defer then()
			return c.Patch(ctx, obj, patch, opts...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			defer then()
			return c.Apply(ctx, obj, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			defer then()
			return c.SubResource(name).Patch(ctx, obj, patch, opts...)
		},
	})
}

// With the right to watch, the first change after the version shows whether it was the patch.
func TestAPatchWithAResourceVersionIsProvenByTheFirstChange(t *testing.T) {
	merge := func(obj client.Object, version string) client.Patch {
		part := map[bool]string{false: `"data":{"n":"1"}`, true: `"status":{"phase":"Running"}`}[isPod(obj)]
		return client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"resourceVersion":"`+version+`"},`+part+`}`))
	}
	typed := func() client.Object { return configMap("x") }
	for kind, c := range map[string]struct {
		obj   func() client.Object
		patch func(obj client.Object, version string) client.Patch
	}{
		"merge patch":                 {typed, merge},
		"merge patch of unstructured": {func() client.Object { return asUnstructured("x", nil) }, merge},
		"merge patch of a status": {func() client.Object {
			return &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: meta("web-0")}
		}, merge},
		"merge patch from a base": {typed, func(obj client.Object, version string) client.Patch {
			cm := obj.(*corev1.ConfigMap)
			base := configMap("x", "n", "0")
			base.ResourceVersion = version
			cm.ResourceVersion, cm.Data = version, map[string]string{"n": "1"}
			return client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
		}},
		"JSON patch that tests the version": {typed, func(_ client.Object, version string) client.Patch {
			return client.RawPatch(types.JSONPatchType, []byte(`[{"op":"test","path":"/metadata/resourceVersion","value":"`+version+`"},{"op":"replace","path":"/data/n","value":"1"}]`))
		}},
	} {
		for situation, s := range map[string]struct {
			lose, fail int
			blind      bool
			same       bool // the other client has sent the same
			below      bool // the field owner is set by the client below
			raw        bool // the field owner is in the raw options
		}{
			"carried out":     {lose: 1},
			"not carried out": {fail: 1},
			"carried out, but the watch is forbidden":                                                {lose: 1, blind: true},
			"not carried out, and another client has sent the same":                                  {fail: 1, same: true},
			"not carried out, another client has sent the same, and the owner is set below":          {fail: 1, same: true, below: true},
			"not carried out, another client has sent the same, and the owner is in the raw options": {fail: 1, same: true, raw: true},
		} {
			inVirtualTime(t, kind+": "+situation, func(t *testing.T) {
				server := builder().WithReturnManagedFields().WithStatusSubresource(&corev1.Pod{}).WithObjects(configMap("x", "n", "0"), &corev1.Pod{ObjectMeta: meta("web-0")}).Build()
				obj := c.obj()
				stored := func() client.Object {
					now := newLike(obj)
					require.NoError(t, server.Get(t.Context(), client.ObjectKeyFromObject(obj), now))
					return now
				}
				if !isPod(obj) { // the fake records no subresource
					first := stored()
					first.SetAnnotations(map[string]string{"a": "b"})
					require.NoError(t, server.Update(t.Context(), first, client.FieldOwner("other")))
				}
				history := []watch.Event{{Type: watch.Modified, Object: stored()}}
				attempts := 0
				between := func() {
					if attempts++; attempts > 1 {
						return
					}
					if s.lose > 0 {
						history = append(history, watch.Event{Type: watch.Modified, Object: stored()})
					}
					other := stored()
					other.SetLabels(map[string]string{"a": "b"})
					if cm, ok := other.(*corev1.ConfigMap); ok && s.same {
						cm.Data["n"] = "1"
					}
					require.NoError(t, server.Update(t.Context(), other, client.FieldOwner("other")))
					history = append(history, watch.Event{Type: watch.Modified, Object: stored()})
				}
				watched := interceptor.NewClient(server, interceptor.Funcs{
					Watch: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
						if s.blind {
							return nil, apierrors.NewForbidden(corev1.Resource("configmaps"), "x", nil)
						}
						events := make(chan watch.Event, len(history))
						for _, e := range history {
							events <- e
						}
						return watch.NewProxyWatcher(events), nil
					},
				})
				owned, ownedStatus := []client.PatchOption{client.FieldOwner("me")}, []client.SubResourcePatchOption{client.FieldOwner("me")}
				if s.below {
					watched, owned, ownedStatus = ownedBy(watched, "me"), nil, nil
				}
				if s.raw {
					raw := client.PatchOptions{Raw: &metav1.PatchOptions{FieldManager: "me"}}
					owned, ownedStatus = []client.PatchOption{&raw}, []client.SubResourcePatchOption{&client.SubResourcePatchOptions{PatchOptions: raw}}
				}
				retrying := k8sretryctrl.NewClient(after((&faults{err: unknownOutcome, lose: s.lose, fail: s.fail}).patches(watched), between))
				patch := c.patch(obj, history[0].Object.(client.Object).GetResourceVersion())
				given := obj.DeepCopyObject()
				var err error
				if isPod(obj) {
					err = retrying.Status().Patch(t.Context(), obj, patch, ownedStatus...)
				} else {
					err = retrying.Patch(t.Context(), obj, patch, owned...)
				}
				switch {
				case s.blind:
					assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				case s.fail > 0:
					require.Error(t, err)
					assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
					assert.True(t, apierrors.IsConflict(err) || strings.Contains(err.Error(), "test failed"), "%v", err) // of the fake
				default:
					require.NoError(t, err)
					assert.Equal(t, history[1].Object.(client.Object).GetResourceVersion(), obj.GetResourceVersion())
					assert.Equal(t, given.GetObjectKind().GroupVersionKind(), obj.GetObjectKind().GroupVersionKind())
					return
				}
				assert.Equal(t, given, obj, "a failed patch does not change the object")
			})
		}
	}
}

func isPod(obj client.Object) bool { _, ok := obj.(*corev1.Pod); return ok }

// newLike returns an empty object of the type of another.
func newLike(obj client.Object) client.Object {
	empty := reflect.New(reflect.TypeOf(obj).Elem()).Interface().(client.Object)
	if u, ok := obj.(*unstructured.Unstructured); ok {
		empty.(*unstructured.Unstructured).SetGroupVersionKind(u.GroupVersionKind())
	}
	return empty
}

// patches makes only patches fail.
func (f *faults) patches(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return f.apply(ctx, "Patch", func() error { return c.Patch(ctx, obj, patch, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return f.apply(ctx, "Patch", func() error { return c.SubResource(name).Patch(ctx, obj, patch, opts...) })
		},
	})
}
