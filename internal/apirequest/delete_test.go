// SPDX-License-Identifier: Apache-2.0

package apirequest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

func deletion(t *testing.T, query, body string) *http.Request {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequest(http.MethodDelete, "https://server/api/v1/namespaces/web/pods/a"+query, reader)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer x")
	return req
}

func eviction(t *testing.T, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "https://server/api/v1/namespaces/web/pods/a/eviction", strings.NewReader(body))
	require.NoError(t, err)
	return req
}

func read(req *http.Request) *Request {
	r := Read(req)
	return &r
}

func inCBOR(t *testing.T, object runtime.Object) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, cbor.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(object, &b))
	return b.String()
}

func TestDeletesByName(t *testing.T) {
	uid, version, empty := types.UID("u"), "7", types.UID("")
	byUID := &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
	for _, c := range []struct {
		situation, query, body string
		byName                 bool
	}{
		{"no options", "", "", true},
		{"none that say which object", "", `{"kind":"DeleteOptions","gracePeriodSeconds":0}`, true},
		{"a UID", "", encoded(t, "application/json", byUID), false},
		{"a UID in protobuf", "", encoded(t, protobuf, byUID), false},
		{"a UID in CBOR", "", inCBOR(t, byUID), false},
		{"a UID in the query", "?uid=u", "", false},
		{"a UID in the query, beside a body", "?uid=u", `{"kind":"DeleteOptions"}`, true},
		{"a version", "", encoded(t, protobuf, &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &version}}), false},
		{"an empty UID", "", encoded(t, protobuf, &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &empty}}), true},
		{"preconditions that are written wrong", "", `{"Preconditions":{"uid":"u"}}`, true},
		{"no preconditions in them", "", `{"preconditions":{}}`, true},
	} {
		req := deletion(t, c.query, c.body)
		options, ok := read(req).DeleteOptions(req)
		require.True(t, ok, c.situation)
		assert.Equal(t, c.byName, DeletesByName(&options), c.situation)
	}
	for _, body := range []string{"k8s\x00?", "kind: DeleteOptions", "\xd9\xd9\xf7\xff", `{"preconditions":[]}`} {
		req := deletion(t, "", body)
		_, ok := read(req).DeleteOptions(req)
		assert.False(t, ok, "%q", body)
		_, ok = read(req).WithUID(req, "u")
		assert.False(t, ok, "%q", body)
	}
	for _, body := range []string{"", "k8s\x00?", "[]", `{"deleteOptions":{"preconditions":[]}}`} {
		req := eviction(t, body)
		_, ok := read(req).DeleteOptions(req)
		assert.False(t, ok, "%q", body)
		_, ok = read(req).WithUID(req, "u")
		assert.False(t, ok, "%q", body)
	}
	req := deletion(t, "", "null")
	_, ok := read(req).WithUID(req, "u")
	assert.False(t, ok)
	req = deletion(t, "?gracePeriodSeconds=x", "")
	_, ok = read(req).WithUID(req, "u")
	assert.False(t, ok)
	req = deletion(t, "", "{}")
	req.GetBody = nil
	_, ok = read(req).WithUID(req, "u")
	assert.False(t, ok)
}

func TestWithUIDKeepsTheOptions(t *testing.T) {
	zero, policy, uid, version := int64(0), metav1.DeletePropagationForeground, types.UID("u"), "7"
	given := metav1.DeleteOptions{
		TypeMeta:           metav1.TypeMeta{Kind: "DeleteOptions", APIVersion: "v1"},
		GracePeriodSeconds: &zero, PropagationPolicy: &policy, DryRun: []string{"All"},
		Preconditions: &metav1.Preconditions{ResourceVersion: &version},
	}
	want := given
	want.Preconditions = &metav1.Preconditions{UID: &uid, ResourceVersion: &version}
	for situation, c := range map[string]struct{ query, media, body, sent string }{
		"JSON":      {"", "application/json", encoded(t, "application/json", &given), "application/json"},
		"protobuf":  {"", protobuf, encoded(t, protobuf, &given), protobuf},
		"CBOR":      {"", "application/cbor", inCBOR(t, &given), "application/json"},
		"the query": {"?gracePeriodSeconds=0&propagationPolicy=Foreground&dryRun=All&resourceVersion=7", "", "", "application/json"},
	} {
		t.Run(situation, func(t *testing.T) {
			req := deletion(t, c.query, c.body)
			req.Header.Set("Content-Type", c.media)
			again, ok := read(req).WithUID(req, "u")
			require.True(t, ok)
			got, ok := read(req).DeleteOptions(again)
			require.True(t, ok)
			got.TypeMeta = want.TypeMeta
			assert.Equal(t, want, got)
			assert.Equal(t, c.sent, again.Header.Get("Content-Type"))
			assert.Equal(t, "Bearer x", again.Header.Get("Authorization"))
			body, err := io.ReadAll(again.Body)
			require.NoError(t, err)
			assert.EqualValues(t, len(body), again.ContentLength)
			assert.Equal(t, c.media, req.Header.Get("Content-Type"), "the request is not changed")
		})
	}
	t.Run("a field that this version does not know", func(t *testing.T) {
		req := deletion(t, "", `{"kind":"DeleteOptions","apiVersion":"v1","new":{"a":1}}`)
		again, ok := read(req).WithUID(req, "u")
		require.True(t, ok)
		body, err := io.ReadAll(again.Body)
		require.NoError(t, err)
		assert.JSONEq(t, `{"kind":"DeleteOptions","apiVersion":"v1","new":{"a":1},"preconditions":{"uid":"u"}}`, string(body))
	})
}

// An eviction has its options inside.
func TestWithUIDKeepsAnEviction(t *testing.T) {
	zero, uid, version := int64(0), types.UID("u"), "7"
	for situation, given := range map[string]*metav1.DeleteOptions{
		"no options": nil,
		"options":    {GracePeriodSeconds: &zero, DryRun: []string{"All"}, Preconditions: &metav1.Preconditions{ResourceVersion: &version}},
	} {
		e := &policyv1.Eviction{
			TypeMeta:   metav1.TypeMeta{Kind: "Eviction", APIVersion: "policy/v1"},
			ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "web", Labels: map[string]string{"x": "y"}}, DeleteOptions: given,
		}
		want := e.DeepCopy()
		if want.DeleteOptions == nil {
			want.DeleteOptions = &metav1.DeleteOptions{}
		}
		if want.DeleteOptions.Preconditions == nil {
			want.DeleteOptions.Preconditions = &metav1.Preconditions{}
		}
		want.DeleteOptions.Preconditions.UID = &uid
		for media, body := range map[string]string{"application/json": encoded(t, "application/json", e, policyv1.SchemeGroupVersion), protobuf: encoded(t, protobuf, e, policyv1.SchemeGroupVersion), "application/cbor": inCBOR(t, e)} {
			req := eviction(t, body)
			options, ok := read(req).DeleteOptions(req)
			require.True(t, ok)
			assert.Equal(t, given == nil, DeletesByName(&options), "%s, %s", situation, media)
			again, ok := read(req).WithUID(req, "u")
			require.True(t, ok)
			sent, err := io.ReadAll(again.Body)
			require.NoError(t, err)
			got, _, err := scheme.Codecs.UniversalDeserializer().Decode(sent, nil, nil)
			require.NoError(t, err)
			got.GetObjectKind().SetGroupVersionKind(want.GroupVersionKind())
			got.(*policyv1.Eviction).DeleteOptions.TypeMeta = metav1.TypeMeta{}
			assert.Equal(t, want, got, "%s, %s", situation, media)
		}
	}
}

func TestSatisfied(t *testing.T) {
	seconds := func(n int64) *int64 { return &n }
	yes := true
	policy := func(p metav1.DeletionPropagation) *metav1.DeletionPropagation { return &p }
	foreground, orphan := []string{metav1.FinalizerDeleteDependents, "x"}, []string{"x", metav1.FinalizerOrphanDependents}
	for _, c := range []struct {
		situation  string
		asked      metav1.DeleteOptions
		given      *int64
		finalizers []string
		want       bool
	}{
		{"nothing asked", metav1.DeleteOptions{}, seconds(30), foreground, true},
		{"less time asked", metav1.DeleteOptions{GracePeriodSeconds: seconds(0)}, seconds(30), nil, false},
		{"more time asked", metav1.DeleteOptions{GracePeriodSeconds: seconds(60)}, seconds(30), nil, true},
		{"a time asked, none known", metav1.DeleteOptions{GracePeriodSeconds: seconds(0)}, nil, nil, false},
		{"foreground", metav1.DeleteOptions{PropagationPolicy: policy("Foreground")}, nil, foreground, true},
		{"foreground asked only", metav1.DeleteOptions{PropagationPolicy: policy("Foreground")}, nil, nil, false},
		{"background", metav1.DeleteOptions{PropagationPolicy: policy("Background")}, nil, []string{"x"}, true},
		{"background asked only", metav1.DeleteOptions{PropagationPolicy: policy("Background")}, nil, foreground, false},
		{"orphans", metav1.DeleteOptions{PropagationPolicy: policy("Orphan")}, nil, orphan, true},
		{"orphans asked only", metav1.DeleteOptions{PropagationPolicy: policy("Orphan")}, nil, nil, false},
		{"orphans not asked", metav1.DeleteOptions{PropagationPolicy: policy("Background")}, nil, orphan, false},
		//lint:ignore SA1019 a client may still send it
		{"orphans, in the old field", metav1.DeleteOptions{OrphanDependents: &yes}, nil, orphan, false},
	} {
		object := &metav1.ObjectMeta{DeletionGracePeriodSeconds: c.given, Finalizers: c.finalizers}
		assert.Equal(t, c.want, Satisfied(&c.asked, object), c.situation)
	}
}
