// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
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
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
)

// patcher is a client whose patches end as the script says.
type patcher struct {
	*script
	subresources []string
}

func (p *patcher) Patch(ctx context.Context, _ string, _ types.PatchType, _ []byte, _ metav1.PatchOptions, subresources ...string) (string, error) {
	p.subresources = subresources
	return p.get(ctx)
}

var (
	staleVersion = apierrors.NewConflict(configMaps, "x", errors.New("the object has been modified"))
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
					assert.Equal(t, "value", v)
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
	_, err := k8sretry.Patch[string](t.Context(), nil, "x", types.MergePatchType, nil, metav1.PatchOptions{})
	assert.EqualError(t, err, "k8sretry: the client is nil")
	_, err = k8sretry.Patch(t.Context(), (*patcher)(nil), "x", types.MergePatchType, nil, metav1.PatchOptions{})
	assert.EqualError(t, err, "k8sretry: the client is nil")
	_, err = k8sretry.Patch(t.Context(), k8sretry.PatchSubresource[string]((*patcher)(nil), "status"), "x", types.MergePatchType, nil, metav1.PatchOptions{})
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
