// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	cbor "k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// patcher is a client whose patches end as the script says.
type patcher struct {
	*script
	subresources []string
}

func (p *patcher) Patch(ctx context.Context, _ string, _ types.PatchType, _ []byte, _ metav1.PatchOptions, subresources ...string) (*corev1.ConfigMap, error) {
	p.subresources = subresources
	_, err := p.get(ctx)
	return configMap("x"), err
}

var (
	staleVersion = apierrors.NewConflict(configMaps, "x", errors.New("the object has been modified"))
	otherUID     = apierrors.NewConflict(configMaps, "x", errors.New("uid mismatch: the provided object specified uid a, and no existing object was found"))
	testFailed   = apierrors.NewGenericServerResponse(422, "patch", configMaps, "x", "", 0, false)
	fieldOwned   = apierrors.NewApplyConflict([]metav1.StatusCause{{Type: metav1.CauseTypeFieldManagerConflict}}, "owned")
)

const (
	mergeData    = `{"data":{"a":"1"}}`
	mergeGuarded = `{"metadata":{"resourceVersion":"7"},"data":{"a":"1"}}`
	jsonAppend   = `[{"op":"add","path":"/metadata/finalizers/-","value":"a"}]`
	jsonTested   = `[{"op":"test","path":"/data/a","value":"0"},{"op":"replace","path":"/data/a","value":"1"}]`
	jsonVersion  = `[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"add","path":"/metadata/finalizers/-","value":"a"}]`
	jsonUID      = `[{"op":"test","path":"/metadata/uid","value":"u"},{"op":"add","path":"/metadata/finalizers/-","value":"a"}]`
	mergesTwice  = `{"spec":{"containers":[{"name":"dns","ports":[{"containerPort":53,"protocol":"UDP"},{"containerPort":53,"protocol":"TCP"}]}]}}`
	applied      = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}`
	appliedAt    = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","resourceVersion":"7"}}`
	appliedYAML  = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n"
)

// applyCBORPatchType is types.ApplyCBORPatchType, which apimachinery v0.31 lacks.
const applyCBORPatchType types.PatchType = "application/apply-patch+cbor"

func TestPatch(t *testing.T) {
	const merge, strategic, json, apply = types.MergePatchType, types.StrategicMergePatchType, types.JSONPatchType, types.ApplyPatchType
	appliedCBOR, err := cbor.Marshal(map[string]any{"metadata": map[string]any{"name": "x"}})
	require.NoError(t, err)
	appliedCBORAt, err := cbor.Marshal(map[string]any{"metadata": map[string]any{"name": "x", "resourceVersion": "7"}})
	require.NoError(t, err)
	type result string
	const (
		success   result = "success"
		unchanged result = "the answer unchanged"
		unknown   result = "unknown"
	)
	lost, refused := lostReply(), tooMany(1)
	for _, c := range []struct {
		situation string
		kind      types.PatchType
		body      string
		answers   []error
		attempts  int
		want      result
	}{
		{"the answer is lost: merge patch", merge, mergeData, []error{lost}, 2, success},
		{"the answer is lost: merge patch with a version", merge, mergeGuarded, []error{lost}, 2, success},
		{"the answer is lost: strategic merge patch", strategic, mergeData, []error{lost}, 2, success},
		{"the answer is lost: strategic merge patch that is not the same twice", strategic, mergesTwice, []error{lost}, 1, unknown},
		{"the answer is lost: merge patch of the same lists, which replaces them", merge, mergesTwice, []error{lost}, 2, success},
		{"the answer is lost: JSON patch without a test", json, jsonAppend, []error{lost}, 1, unknown},
		{"the answer is lost: JSON patch that tests only the UID", json, jsonUID, []error{lost}, 1, unknown},
		{"the answer is lost: JSON patch that tests what it changes", json, jsonTested, []error{lost}, 2, success},
		{"the answer is lost: JSON patch that tests the version", json, jsonVersion, []error{lost}, 2, success},
		{"the answer is lost: apply", apply, applied, []error{lost}, 2, success},
		{"the answer is lost: apply in YAML", apply, appliedYAML, []error{lost}, 2, success},
		{"the answer is lost: apply in CBOR", applyCBORPatchType, string(appliedCBOR), []error{lost}, 2, success},

		{"refused before anything is done: JSON patch without a test", json, jsonAppend, []error{refused, noConnection(), refused}, 4, success},
		{"refused before anything is done: strategic merge patch that is not the same twice", strategic, mergesTwice, []error{refused}, 2, success},

		{"the first answer is a conflict: merge patch with a version", merge, mergeGuarded, []error{staleVersion}, 1, unchanged},
		{"the first answer is a conflict: JSON patch with a version", json, jsonVersion, []error{staleVersion}, 1, unchanged},
		{"the first answer is a failed test", json, jsonTested, []error{testFailed}, 1, unchanged},
		{"the first answer is a conflict: apply with a version", apply, appliedAt, []error{staleVersion}, 1, unchanged},
		{"the first answer is a conflict: apply with a version in YAML", apply, appliedYAML + "  resourceVersion: '7'\n", []error{staleVersion}, 1, unchanged},
		{"the first answer is a conflict: apply with a version in CBOR", applyCBORPatchType, string(appliedCBORAt), []error{staleVersion}, 1, unchanged},
		{"the first answer is a conflict with the UID, which the body is not seen to name: apply", apply, applied, []error{otherUID}, 1, unchanged},
		{"the first answer is a conflict with the UID: merge patch", merge, mergeData, []error{otherUID}, 1, unchanged},
		{"the field of another manager", apply, applied, []error{fieldOwned}, 1, unchanged},

		{"the server has lost a race: merge patch", merge, mergeData, []error{staleVersion}, 2, success},
		{"the server has lost a race: strategic merge patch", strategic, mergeData, []error{staleVersion}, 2, success},
		{"the server has lost a race: JSON patch", json, jsonAppend, []error{staleVersion}, 2, success},
		{"the server has lost a race: apply", apply, applied, []error{staleVersion}, 2, success},
		{"the server has lost a race: apply in YAML", apply, appliedYAML, []error{staleVersion}, 2, success},
		{"the server has lost a race: apply in CBOR", applyCBORPatchType, string(appliedCBOR), []error{staleVersion}, 2, success},
		{"the server has lost a race after a lost answer", merge, mergeData, []error{lost, staleVersion}, 3, success},

		{"a lost answer, then a conflict: merge patch with a version", merge, mergeGuarded, []error{lost, staleVersion}, 2, unknown},
		{"a lost answer, then a conflict: JSON patch with a version", json, jsonVersion, []error{lost, staleVersion}, 2, unknown},
		{"a lost answer, then a conflict: apply with a version", apply, appliedAt, []error{lost, staleVersion}, 2, unknown},
		{"a lost answer, then a failed test", json, jsonTested, []error{lost, testFailed}, 2, unknown},
		{"a lost answer, then a refusal", merge, mergeData, []error{lost, forbidden("x")}, 2, unknown},
		{"a refusal, then a conflict", merge, mergeGuarded, []error{refused, staleVersion}, 2, unchanged},
		{"a refusal, then a failed test", json, jsonTested, []error{refused, testFailed}, 2, unchanged},

		{"a body that cannot be decoded, refused", merge, `{`, []error{status(400, metav1.StatusReasonBadRequest)}, 1, unchanged},
		{"a JSON patch that cannot be decoded, lost", json, `{`, []error{lost}, 1, unknown},
		{"a strategic merge patch that cannot be decoded, lost", strategic, `{`, []error{lost}, 1, unknown},
		{"a merge patch that cannot be decoded, lost", merge, `{`, []error{lost}, 2, success},
		{"a type that the API does not know", "application/x", `{}`, []error{status(415, metav1.StatusReasonUnsupportedMediaType)}, 1, unchanged},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := &patcher{script: fails(c.answers...)}
				v, err := k8sretry.Patch(t.Context(), client, "x", c.kind, []byte(c.body), metav1.PatchOptions{}, k8sretry.WithVerb(k8sretry.VerbGet))
				assert.Equal(t, c.attempts, client.attempts())
				last := c.answers[len(c.answers)-1]
				switch c.want {
				case success:
					require.NoError(t, err)
					assert.Equal(t, "x", v.Name)
				case unchanged:
					assert.Same(t, last, err)
				case unknown:
					requireUnknown(t, err)
					assert.ErrorIs(t, err, last)
				}
			})
		})
	}
}

func TestPatchRejectsNil(t *testing.T) {
	_, err := k8sretry.Patch[*corev1.ConfigMap](t.Context(), nil, "x", types.MergePatchType, nil, metav1.PatchOptions{})
	assert.EqualError(t, err, "k8sretry: the client is nil")
	_, err = k8sretry.Patch(t.Context(), (*patcher)(nil), "x", types.MergePatchType, nil, metav1.PatchOptions{})
	assert.EqualError(t, err, "k8sretry: the client is nil")
	_, err = k8sretry.Patch(t.Context(), k8sretry.PatchSubresource[*corev1.ConfigMap]((*patcher)(nil), "status"), "x", types.MergePatchType, nil, metav1.PatchOptions{})
	assert.EqualError(t, err, "k8sretry: the client is nil")
	client := &patcher{script: fails()}
	_, err = k8sretry.Patch(t.Context(), client, "x", types.MergePatchType, nil, metav1.PatchOptions{}, k8sretry.WithMaxRetries(-1))
	assert.ErrorContains(t, err, "WithMaxRetries")
	assert.Zero(t, client.attempts())
}

// A dry run changes nothing, whatever the patch.
func TestPatchDryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &patcher{script: fails(lostReply(), testFailed)}
		_, err := k8sretry.Patch(t.Context(), client, "x", types.JSONPatchType, []byte(jsonAppend), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		assert.Same(t, error(testFailed), err)
		assert.Equal(t, 2, client.attempts())

		// There is nothing to find out, also if the patch names a version.
		c := newCluster(configMap("x", "n", "1"))
		c.on("patch", failed(lostReply()), failed(apierrors.NewConflict(configMaps, "x", errors.New("changed"))))
		_, err = k8sretry.Patch(t.Context(), c, "x", types.MergePatchType, []byte(`{"metadata":{"resourceVersion":"1"}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		requireUnchanged(t, err)
		assert.True(t, apierrors.IsConflict(err))
		c.expectRequests(t, "patch", "patch")
	})
}

func TestPatchEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen recorder
		client := &patcher{script: fails(staleVersion)}
		_, err := k8sretry.Patch(t.Context(), client, "x", types.MergePatchType, []byte(mergeData), metav1.PatchOptions{}, k8sretry.WithObserver(&seen), exact)
		require.NoError(t, err)
		assert.Equal(t, k8sretry.VerbPatch, seen.events[0].Verb)
		assert.Equal(t, "the server lost a race of its own", seen.events[0].Detail)
		assert.Equal(t, "patch configmaps", seen.events[0].Function)

		client = &patcher{script: fails()}
		seen = recorder{}
		_, err = k8sretry.Patch(t.Context(), client, "x", types.ApplyPatchType, []byte(applied), metav1.PatchOptions{}, k8sretry.WithObserver(&seen))
		require.NoError(t, err)
		assert.Equal(t, k8sretry.VerbApply, seen.last(t).Verb)
	})
}

func TestPatchWithClientsOfClientGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		clientset := fake.NewClientset(configMap("x"))
		loseResponses(&clientset.Fake, clientset.Tracker(), "patch", 2)
		client := clientset.CoreV1().ConfigMaps("default")
		cm, err := k8sretry.Patch(ctx, client, "x", types.MergePatchType, []byte(mergeData), metav1.PatchOptions{})
		require.NoError(t, err)
		assert.Equal(t, "1", cm.Data["a"])
		assert.Equal(t, []string{"patch", "patch", "patch"}, verbs(clientset.Actions()))

		clientset.ClearActions()
		_, err = k8sretry.Patch(ctx, k8sretry.PatchSubresource(client, "status"), "x", types.MergePatchType, []byte(mergeData), metav1.PatchOptions{})
		require.NoError(t, err)
		assert.Equal(t, "status", clientset.Actions()[0].GetSubresource())

		gvr := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
		scheme := runtime.NewScheme()
		require.NoError(t, corev1.AddToScheme(scheme))
		dynamicClient := dynamicfake.NewSimpleDynamicClient(scheme, configMap("x"))
		for _, c := range []struct {
			client k8sretry.Patcher[*unstructured.Unstructured]
			want   string
		}{
			{k8sretry.Dynamic(dynamicClient.Resource(gvr).Namespace("default")), ""},
			{k8sretry.Dynamic(dynamicClient.Resource(gvr).Namespace("default"), "status"), "status"},
			{k8sretry.PatchSubresource(k8sretry.Dynamic(dynamicClient.Resource(gvr).Namespace("default")), "scale"), "scale"},
			{dynamicClient.Resource(gvr).Namespace("default"), ""},
		} {
			dynamicClient.ClearActions()
			obj, err := k8sretry.Patch(ctx, c.client, "x", types.MergePatchType, []byte(mergeData), metav1.PatchOptions{})
			require.NoError(t, err)
			a, _, err := unstructured.NestedString(obj.Object, "data", "a")
			require.NoError(t, err)
			assert.Equal(t, "1", a)
			assert.Equal(t, c.want, dynamicClient.Actions()[0].(k8stesting.PatchAction).GetSubresource())
		}
	})
}

// What another server does with a patch is unknown.
func TestPatchOfAProxiedServer(t *testing.T) {
	client := &patcher{script: fails(lostReply())}
	_, err := k8sretry.Patch(t.Context(), k8sretry.PatchSubresource(client, "proxy"), "x", types.MergePatchType, []byte(mergeData), metav1.PatchOptions{})
	requireUnknown(t, err)
	assert.Equal(t, 1, client.attempts())
	assert.Equal(t, []string{"proxy"}, client.subresources)
}

// Subresources come in any number of adapters.
func TestPatchOfASubresourceOfAnAdapter(t *testing.T) {
	type patchers = k8sretry.Patcher[*unstructured.Unstructured]
	for situation, adapt := range map[string]func(patchers, *acting) patchers{
		"one": func(c patchers, _ *acting) patchers {
			return k8sretry.PatchSubresource(c, "restart")
		},
		"one in one without a subresource": func(c patchers, _ *acting) patchers {
			return k8sretry.PatchSubresource(k8sretry.PatchSubresource(c, "restart"))
		},
		"a dynamic client": func(_ patchers, a *acting) patchers {
			return k8sretry.PatchSubresource(k8sretry.Dynamic(a, "restart"))
		},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &acting{answers: []error{lostReply()}}
				_, err := k8sretry.Patch(t.Context(), adapt(k8sretry.Dynamic(a), a), "x", types.MergePatchType, []byte(mergeGuarded), metav1.PatchOptions{})
				requireUnknown(t, err)
				assert.Equal(t, 1, a.done)
			})
		})
	}
}

// The assumption was that an apply names no version. If it does, the server refuses the
// repetition of what it has carried out.
func TestApplyThatNamesAVersion(t *testing.T) {
	named := corev1apply.ConfigMap("x", "default").WithResourceVersion("7")
	for _, c := range []struct {
		situation     string
		configuration *corev1apply.ConfigMapApplyConfiguration
		answers       []error
		attempts      int
		outcome       k8sretry.Outcome
	}{
		{"a conflict", named, []error{staleVersion}, 1, k8sretry.OutcomeNotExecuted},
		{"a conflict after a lost answer", named, []error{lostReply(), staleVersion}, 2, k8sretry.OutcomeUnknown},
		{"a conflict, with a UID", corev1apply.ConfigMap("x", "default").WithUID("u"), []error{staleVersion}, 1, k8sretry.OutcomeNotExecuted},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, n := fake.NewClientset(), 0
				clientset.PrependReactor("patch", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
					n++
					return n <= len(c.answers), nil, c.answers[min(n, len(c.answers))-1]
				})
				began := time.Now()
				_, err := k8sretry.Apply(t.Context(), clientset.CoreV1().ConfigMaps("default"), c.configuration, metav1.ApplyOptions{FieldManager: "me"}, exact)
				assert.True(t, apierrors.IsConflict(err))
				assert.Equal(t, c.attempts, n)
				assert.Equal(t, c.outcome != k8sretry.OutcomeNotExecuted, errors.Is(err, k8sretry.ErrOutcomeUnknown))
				assert.Equal(t, time.Duration(c.attempts-1)*time.Second, time.Since(began))
			})
		})
	}

	t.Run("a dry run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			clientset, answers := fake.NewClientset(), []error{lostReply(), staleVersion}
			clientset.PrependReactor("patch", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
				err := answers[0]
				answers = answers[1:]
				return true, nil, err
			})
			_, err := k8sretry.Apply(t.Context(), clientset.CoreV1().ConfigMaps("default"), named, metav1.ApplyOptions{FieldManager: "me", DryRun: []string{metav1.DryRunAll}})
			requireUnchanged(t, err)
		})
	})
}

// patchOnly hides all but the Patch of a client.
type patchOnly struct {
	k8sretry.Patcher[*corev1.ConfigMap]
}

// A patch that names a version is carried out if and only if it is the first change after that
// version. The assumption was that a Conflict after a lost answer can mean anything.
func TestPatchThatNamesAVersionIsProven(t *testing.T) {
	const merge, strategic, json = types.MergePatchType, types.StrategicMergePatchType, types.JSONPatchType
	success := func(t *testing.T, err error) { require.NoError(t, err) }
	conflict := func(t *testing.T, err error) {
		requireUnchanged(t, err)
		assert.True(t, apierrors.IsConflict(err) || err == error(testFailed), "%v", err)
	}
	unknown := requireUnknown
	set := func(key, value string) func(*corev1.ConfigMap) {
		return func(o *corev1.ConfigMap) { o.Data[key] = value }
	}
	// other has another client, with the field manager "other", change the object.
	other := func(c *cluster, changes ...func(*corev1.ConfigMap)) func() {
		return func() {
			for _, change := range changes {
				c.change("x", change)
			}
		}
	}
	type test struct {
		kind    types.PatchType
		body    string // $V stands for the version
		manager string // "me"
		prepare func(*cluster)
		client  func(*cluster) k8sretry.Patcher[*corev1.ConfigMap]
		options []k8sretry.Option
		check   func(*testing.T, error)
		sent    string // requests
		stored  string // the counter
	}
	const counts, appends = `{"metadata":{"resourceVersion":"$V"},"data":{"n":"2"}}`, `{"metadata":{"resourceVersion":"$V","finalizers":["example.com/a"]}}`
	const tested = `[{"op":"test","path":"/metadata/resourceVersion","value":"$V"},{"op":"replace","path":"/data/n","value":"2"}]`
	const unknownField = `{"metadata":{"resourceVersion":"$V"},"mode":"fast"}` // of a newer server
	answerLost := func(then func()) *fault { return &fault{after: lostReply(), then: then} }
	requestLost := func(then func()) *fault { return &fault{before: gatewayTimeout(), then: then} }
	tests := map[string]test{
		"carried out, overwritten since": {
			prepare: func(c *cluster) { c.on("patch", answerLost(other(c, set("n", "7"), set("m", "1")))) },
			check:   success, sent: "patch patch get watch", stored: "7",
		},
		"not carried out, another field was changed": {
			prepare: func(c *cluster) { c.on("patch", requestLost(other(c, set("m", "1")))) },
			check:   conflict, sent: "patch patch get watch", stored: "1",
		},
		"not carried out, the field was changed by another manager": {
			prepare: func(c *cluster) { c.on("patch", requestLost(other(c, set("n", "7")))) },
			check:   conflict, sent: "patch patch get watch", stored: "7",
		},
		"not carried out, another manager has sent the same": {
			prepare: func(c *cluster) { c.on("patch", requestLost(other(c, set("n", "2")))) },
			check:   conflict, sent: "patch patch get watch", stored: "2",
		},
		"not carried out, another manager has sent the same and more": {
			prepare: func(c *cluster) {
				c.on("patch", requestLost(other(c, func(o *corev1.ConfigMap) { o.Data["n"], o.Data["m"] = "2", "1" })))
			},
			check: conflict, sent: "patch patch get watch", stored: "2",
		},
		"not carried out, the caller's manager has changed another field": {
			manager: "other",
			prepare: func(c *cluster) { c.on("patch", requestLost(other(c, set("m", "1")))) },
			check:   conflict, sent: "patch patch get watch", stored: "1",
		},
		"not carried out, the caller's manager has written another value": {
			manager: "other",
			prepare: func(c *cluster) { c.on("patch", requestLost(other(c, set("n", "7")))) },
			check:   unknown, sent: "patch patch get watch", stored: "7",
		},
		"carried out, an admission plugin has replaced the value": {
			prepare: func(c *cluster) {
				c.admit = set("n", "plugin")
				c.on("patch", answerLost(nil))
			},
			check: unknown, sent: "patch patch get watch", stored: "plugin",
		},
		"carried out, an admission plugin has added a field": {
			prepare: func(c *cluster) {
				c.admit = set("m", "plugin")
				c.on("patch", answerLost(nil))
			},
			check: success, sent: "patch patch get watch", stored: "2",
		},
		"carried out, deleted since": {
			prepare: func(c *cluster) { c.on("patch", answerLost(func() { c.remove("x") })) },
			check:   success, sent: "patch patch get watch",
		},
		"not carried out, deleted since": {
			prepare: func(c *cluster) { c.on("patch", requestLost(func() { c.remove("x") })) },
			check: func(t *testing.T, err error) {
				requireUnchanged(t, err)
				assert.True(t, apierrors.IsNotFound(err))
			}, sent: "patch patch get watch",
		},
		"not carried out, a successor has the content": {
			prepare: func(c *cluster) {
				c.on("patch", requestLost(func() { c.remove("x"); c.put(configMap("x", "n", "2")) }))
			},
			check: conflict, sent: "patch patch get watch", stored: "2",
		},
		"not carried out, a successor has the content, and the watch does not show the deletion": {
			prepare: func(c *cluster) {
				c.watches = func(events []watch.Event) []watch.Event {
					events = slices.DeleteFunc(events, func(e watch.Event) bool { return e.Type == watch.Deleted })
					events[len(events)-1].Type = watch.Modified
					return events
				}
				c.on("patch", requestLost(func() { c.remove("x"); c.put(configMap("x", "n", "2")) }))
			},
			check: unknown, sent: "patch patch get watch", stored: "2",
		},
		"the server has no history: the watch begins with a synthetic ADDED": {
			prepare: func(c *cluster) {
				c.watches = func(events []watch.Event) []watch.Event {
					events[len(events)-1].Type = watch.Added
					return events[len(events)-1:]
				}
				c.on("patch", answerLost(nil))
			},
			check: unknown, sent: "patch patch get watch", stored: "2",
		},
		"the history is compacted": {
			prepare: func(c *cluster) { c.on("patch", answerLost(func() { c.compacted = 100 })) },
			check:   unknown, sent: "patch patch get watch watch", stored: "2",
		},
		"the version itself is compacted": {
			prepare: func(c *cluster) { c.on("patch", answerLost(func() { c.compacted = 11 })) },
			check:   unknown, sent: "patch patch get watch watch", stored: "2",
		},
		"no right to get": {
			prepare: func(c *cluster) { c.on("patch", answerLost(nil)).on("get", failed(forbidden("x"))) },
			check:   unknown, sent: "patch patch get", stored: "2",
		},
		"no right to watch": {
			prepare: func(c *cluster) { c.on("patch", answerLost(nil)).on("watch", failed(forbidden("x"))) },
			check:   unknown, sent: "patch patch get watch", stored: "2",
		},
		"the check fails for a while": {
			prepare: func(c *cluster) {
				c.on("patch", answerLost(nil)).on("get", failed(unavailable())).on("watch", failed(unavailable()))
			},
			check: success, sent: "patch patch get get watch get watch", stored: "2",
		},
		"the client cannot read": {
			prepare: func(c *cluster) { c.on("patch", answerLost(nil)) },
			client:  func(c *cluster) k8sretry.Patcher[*corev1.ConfigMap] { return patchOnly{c} },
			check:   unknown, sent: "patch patch", stored: "2",
		},
		"refused after a timeout, unchanged: it may still be stored": {
			prepare: func(c *cluster) { c.on("patch", failed(etcdTimeout()), failed(forbidden("x"))) },
			check:   unknown, sent: "patch patch get", stored: "1",
		},
		"carried out, all answers are lost": {
			prepare: func(c *cluster) {
				c.on("patch", lost(lostReply()), failed(lostReply()), failed(lostReply()), failed(lostReply()))
			},
			check: success, sent: "patch patch patch patch get watch", stored: "2",
		},
		"not carried out, all answers are lost": {
			prepare: func(c *cluster) {
				c.on("patch", repeated(3, failed(lostReply()))...).on("patch", requestLost(other(c, set("m", "1"))))
			},
			check: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			}, sent: "patch patch patch patch get watch", stored: "1",
		},
		"success without an object": {
			prepare: func(c *cluster) { c.on("patch", &fault{empty: true}) },
			check:   success, sent: "patch patch", stored: "2",
		},
		"it changes nothing": {
			body:    `{"metadata":{"resourceVersion":"$V"},"data":{"n":"1"}}`,
			prepare: func(c *cluster) { c.on("patch", answerLost(nil)) },
			check:   success, sent: "patch patch", stored: "1",
		},
		"a field that the client's type lacks, carried out, an admission plugin has added another": {
			body: unknownField,
			prepare: func(c *cluster) {
				c.admit = set("m", "plugin")
				c.on("patch", answerLost(nil))
			},
			check: unknown, sent: "patch patch get watch", stored: "1",
		},
		"a field that the client's type lacks, not carried out, marked for deletion": {
			body: unknownField,
			prepare: func(c *cluster) {
				c.on("patch", requestLost(other(c, func(o *corev1.ConfigMap) {
					now := metav1.Now()
					o.DeletionTimestamp = &now
				})))
			},
			manager: "other",
			check:   unknown, sent: "patch patch get watch", stored: "1",
		},
		"version 0 is no version": {
			body:    `{"metadata":{"resourceVersion":"0"},"data":{"n":"2"}}`,
			prepare: func(c *cluster) { c.on("patch", answerLost(nil), failed(forbidden("x"))) },
			check:   unknown, sent: "patch patch", stored: "2",
		},
		"JSON patch, carried out, overwritten since": {
			kind: json, body: tested,
			prepare: func(c *cluster) { c.on("patch", answerLost(other(c, set("n", "7")))) },
			check:   success, sent: "patch patch get watch", stored: "7",
		},
		"JSON patch, not carried out": {
			kind: json, body: tested,
			prepare: func(c *cluster) { c.on("patch", requestLost(other(c, set("m", "1")))) },
			check:   conflict, sent: "patch patch get watch", stored: "1",
		},
		"JSON patch that tests something else": {
			kind: json, body: `[{"op":"test","path":"/data/n","value":"1"},{"op":"replace","path":"/data/n","value":"2"}]`,
			prepare: func(c *cluster) { c.on("patch", answerLost(nil)) },
			check:   unknown, sent: "patch patch", stored: "2",
		},
		"JSON patch that moves": {
			kind: json, body: `[{"op":"test","path":"/metadata/resourceVersion","value":"$V"},{"op":"copy","from":"/data/n","path":"/data/m"}]`,
			prepare: func(c *cluster) { c.on("patch", answerLost(nil)) },
			check:   unknown, sent: "patch patch", stored: "1",
		},
		"strategic merge patch, carried out, overwritten since": {
			kind:    strategic,
			prepare: func(c *cluster) { c.on("patch", answerLost(other(c, set("n", "7")))) },
			check:   success, sent: "patch patch get watch", stored: "7",
		},
		"strategic merge patch with a list": {
			kind: strategic, body: appends,
			prepare: func(c *cluster) { c.on("patch", answerLost(nil)) },
			check:   unknown, sent: "patch patch", stored: "1",
		},
		"merge patch with a list": {
			body:    appends,
			prepare: func(c *cluster) { c.on("patch", answerLost(nil)) },
			check:   success, sent: "patch patch get watch", stored: "1",
		},
		"a scale is an object of another type": {
			client: func(c *cluster) k8sretry.Patcher[*corev1.ConfigMap] {
				return k8sretry.PatchSubresource[*corev1.ConfigMap](c, "scale")
			},
			prepare: func(c *cluster) { c.on("patch", answerLost(nil)) },
			check:   unknown, sent: "patch patch", stored: "2",
		},
	}
	for situation, tt := range tests {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				obj := c.put(configMap("x", "n", "1"))
				tt.prepare(c)
				var client k8sretry.Patcher[*corev1.ConfigMap] = c
				if tt.client != nil {
					client = tt.client(c)
				}
				body := strings.ReplaceAll(cmp.Or(tt.body, counts), "$V", obj.ResourceVersion)
				patched, err := k8sretry.Patch(t.Context(), client, "x", cmp.Or(tt.kind, merge), []byte(body),
					metav1.PatchOptions{FieldManager: cmp.Or(tt.manager, "me")}, tt.options...)
				tt.check(t, err)
				if err == nil {
					assert.Equal(t, "x", patched.Name)
				} else {
					assert.Nil(t, patched)
				}
				c.expectRequests(t, strings.Fields(tt.sent)...)
				if tt.stored != "" {
					assert.Equal(t, tt.stored, c.get("x").Data["n"])
				}
			})
		})
	}
}

// The assumption was that managed fields which went through JSON stay the same bytes. The server
// orders the keys of a list by their values, encoding/json by their text.
func TestPatchKnowsTheManagersOfAnObjectWithPorts(t *testing.T) {
	const owned = `{"f:data":{"k:{\"port\":80}":{},"k:{\"port\":443}":{},"f:<":{}}}`
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.put(configMap("x", "n", "1"))
		c.objects["x"].ManagedFields[0].FieldsV1 = &metav1.FieldsV1{Raw: []byte(owned)}
		c.change("x", func(o *corev1.ConfigMap) { o.Data["m"] = "1" })
		c.on("patch", &fault{before: gatewayTimeout(), then: func() {
			testkit.Sleep(time.Second)
			c.change("x", func(o *corev1.ConfigMap) { o.Data["n"] = "2" })
		}})
		body := `{"metadata":{"resourceVersion":"` + c.get("x").ResourceVersion + `"},"data":{"n":"2"}}`
		_, err := k8sretry.Patch(t.Context(), c, "x", types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: "me"})
		requireUnchanged(t, err)
		assert.True(t, apierrors.IsConflict(err), "another manager has sent the same")
	})
}

// The server stores the status of most kinds without the rest of a patch, and that of pods together
// with the labels and annotations.
func TestPatchOfAStatusThatNamesAVersion(t *testing.T) {
	const counts = `{"metadata":{"resourceVersion":"$V"},"status":{"n":"2"}}`
	const annotates = `{"metadata":{"resourceVersion":"$V","annotations":{"a":"b"}}}`
	touch := func(c *cluster, key, value string) func() {
		return func() { c.change("x", func(o *corev1.ConfigMap) { o.Data[key] = value }) }
	}
	for situation, tt := range map[string]struct {
		body    string
		keeps   bool   // the annotations
		manager string // "me"
		prepare func(*cluster)
		want    string
	}{
		"carried out": {body: counts, want: "success", prepare: func(c *cluster) {
			c.on("patch", &fault{after: lostReply(), then: touch(c, "status.n", "7")})
		}},
		"not carried out, the spec was changed": {body: counts, want: "conflict", prepare: func(c *cluster) {
			c.on("patch", &fault{before: lostReply(), then: touch(c, "n", "2")})
		}},
		"not carried out, another status was set": {body: counts, want: "conflict", prepare: func(c *cluster) {
			c.on("patch", &fault{before: lostReply(), then: touch(c, "status.n", "7")})
		}},
		"annotations, carried out": {body: annotates, keeps: true, want: "success", prepare: func(c *cluster) {
			c.on("patch", &fault{after: lostReply()})
		}},
		"annotations, not carried out, the caller's manager has set a status": {body: annotates, keeps: true, want: "conflict", manager: "other", prepare: func(c *cluster) {
			c.on("patch", &fault{before: lostReply(), then: touch(c, "status.n", "7")})
		}},
		"annotations, not carried out, an unknown manager has changed the spec": {body: annotates, keeps: true, want: "conflict", manager: "unknown", prepare: func(c *cluster) {
			c.on("patch", &fault{before: lostReply(), then: touch(c, "n", "2")})
		}},
		"annotations that are not stored": {body: annotates, want: "success", prepare: func(c *cluster) {
			c.on("patch", &fault{after: lostReply()})
		}},
		"annotations, not carried out": {body: annotates, keeps: true, want: "conflict", prepare: func(c *cluster) {
			c.on("patch", &fault{before: lostReply(), then: touch(c, "n", "2")})
		}},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.keeps = tt.keeps
				obj := c.put(configMap("x", "n", "1", "status.n", "1"))
				tt.prepare(c)
				client := k8sretry.PatchSubresource[*unstructured.Unstructured](widgets{c}, "status")
				manager := cmp.Or(tt.manager, "me")
				if manager == "unknown" {
					manager = ""
				}
				_, err := k8sretry.Patch(t.Context(), client, "x", types.MergePatchType, []byte(strings.ReplaceAll(tt.body, "$V", obj.ResourceVersion)), metav1.PatchOptions{FieldManager: manager})
				switch tt.want {
				case "success":
					require.NoError(t, err)
				case "conflict":
					requireUnchanged(t, err)
					assert.True(t, apierrors.IsConflict(err))
				default:
					requireUnknown(t, err)
				}
				if tt.keeps || tt.body == counts {
					c.expectRequests(t, "patch", "patch", "get", "watch")
				}
			})
		})
	}
}
