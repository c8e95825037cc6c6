// SPDX-License-Identifier: Apache-2.0

package objectdiff

import (
	"cmp"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	require.NoError(t, utiljson.Unmarshal([]byte(text), &u.Object))
	return u
}

func content(t *testing.T, text string) Content {
	t.Helper()
	return Of(object(t, text), All, "ignored")
}

func TestEqual(t *testing.T) {
	for name, tt := range map[string]struct {
		a, b  string
		equal bool
	}{
		"fields of the server": {
			`{"apiVersion":"v1","kind":"A","metadata":{"name":"x","resourceVersion":"1","generation":1,"uid":"u","managedFields":[{"manager":"a"}]},"spec":{"a":1}}`,
			`{"metadata":{"name":"x","resourceVersion":"2","generation":2,"creationTimestamp":"2020-01-01T00:00:00Z"},"spec":{"a":1}}`, true,
		},
		"a label":                             {`{"metadata":{"labels":{"a":"b"}}}`, `{"metadata":{}}`, false},
		"a finalizer":                         {`{"metadata":{"finalizers":["a"]}}`, `{"metadata":{}}`, false},
		"empty metadata":                      {`{"metadata":{"labels":{},"annotations":{},"finalizers":[],"ownerReferences":null}}`, `{}`, true},
		"an ignored annotation":               {`{"metadata":{"annotations":{"ignored":"1"}}}`, `{}`, true},
		"an ignored annotation and another":   {`{"metadata":{"annotations":{"ignored":"1","a":"b"}}}`, `{"metadata":{"annotations":{"a":"b"}}}`, true},
		"null and missing":                    {`{"spec":{"a":null,"b":[{"c":null}]}}`, `{"spec":{"b":[{}]}}`, true},
		"an empty list that allows nothing":   {`{"spec":{"ingress":[{}]}}`, `{"spec":{}}`, false},
		"an empty text is not a missing one":  {`{"data":{"a":""}}`, `{"data":{}}`, false},
		"large numbers":                       {`{"spec":{"a":9007199254740993}}`, `{"spec":{"a":9007199254740992}}`, false},
		"the stringData of a Secret":          {`{"data":{"b":"Yg=="},"stringData":{"a":"x"}}`, `{"data":{"a":"eA==","b":"Yg=="}}`, true},
		"a stringData that replaces the data": {`{"data":{"a":"Yg=="},"stringData":{"a":"x"}}`, `{"data":{"a":"eA=="}}`, true},
		"stringData that is no text":          {`{"stringData":{"a":1}}`, `{"data":{"a":"MQ=="}}`, false},
	} {
		assert.Equal(t, tt.equal, Equal(content(t, tt.a), content(t, tt.b)), name)
	}
	numbers := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"a": 3, "b": 1.5}}}
	assert.True(t, Equal(Of(numbers, All, ""), content(t, `{"spec":{"a":3,"b":1.5}}`)), "an int, which DeepCopy does not accept")
	broken := &unstructured.Unstructured{Object: map[string]any{"spec": func() {}}}
	assert.False(t, Equal(Of(broken, All, ""), Of(broken, All, "")), "not JSON")
}

func TestParts(t *testing.T) {
	obj := object(t, `{"metadata":{"labels":{"a":"b"}},"spec":{"a":1},"status":{"b":2}}`)
	assert.Equal(t, Content{"status": map[string]any{"b": json.Number("2")}}, Of(obj, Status, ""))
	assert.NotContains(t, Of(obj, NoStatus, ""), "status")
	assert.Contains(t, Of(obj, NoStatus, ""), "metadata")
	assert.Len(t, Of(obj, All, ""), 3)
}

func TestContains(t *testing.T) {
	sent := `{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a"},{"name":"b"}],"none":{},"empty":[]}}`
	for found, contains := range map[string]bool{
		sent: true,
		`{"metadata":{"labels":{"a":"b","c":"d"},"finalizers":["x"]},"spec":{"containers":[{"name":"a","image":"i"},{"name":"sidecar"},{"name":"b"}]}}`: true,
		`{"metadata":{"labels":{"a":"c"}},"spec":{"containers":[{"name":"a"},{"name":"b"}]}}`:                                                           false,
		`{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a"}]}}`:                                                                        false,
		`{"metadata":{"labels":{"a":"b"}},"spec":{"containers":"ab"}}`:                                                                                  false,
		`{"metadata":{"labels":{"a":"b"}},"spec":1}`:                                                                                                    false,
		`{}`: false,
	} {
		assert.Equal(t, contains, Contains(content(t, found), content(t, sent)), found)
	}
}

// Each row has the object before a write, the object that was sent, and the one that was
// found.
func TestEffectOf(t *testing.T) {
	for name, tt := range map[string]struct {
		base, sent, got string
		want            Effect
	}{
		"all of it":                 {`{"a":1}`, `{"a":2}`, `{"a":2}`, Complete},
		"all of it, and a default":  {`{"a":1}`, `{"a":2}`, `{"a":2,"b":1}`, Complete},
		"an addition and a removal": {`{"a":1}`, `{"b":2}`, `{"b":2,"c":3}`, Complete},
		"none of it":                {`{"a":1}`, `{"a":2}`, `{"a":1,"touched":1}`, None},
		"a removal that is not there, another field is removed": {`{"a":1,"b":1}`, `{"b":1}`, `{"a":1}`, None},
		"another value":       {`{"a":1}`, `{"a":2}`, `{"a":3}`, Unclear},
		"part of it":          {`{"a":1,"b":1}`, `{"a":2,"b":2}`, `{"a":2,"b":1}`, Unclear},
		"nothing was changed": {`{"a":1}`, `{"a":1}`, `{"a":2}`, Unclear},
		"the first label":     {`{}`, `{"l":{"a":1}}`, `{"l":{"b":1}}`, None},
		"an empty object in place of a missing one":     {`{}`, `{"l":{}}`, `{"l":{"b":1}}`, Unclear},
		"a finalizer, others add another":               {`{"f":["a"]}`, `{"f":["a","b"]}`, `{"f":["a","c"]}`, None},
		"a finalizer that is there, and another":        {`{"f":["a"]}`, `{"f":["a","b"]}`, `{"f":["a","c","b"]}`, Complete},
		"a condition, others add another":               {`{"c":[{"type":"A","s":0}]}`, `{"c":[{"type":"A","s":1}]}`, `{"c":[{"type":"A","s":0},{"type":"B"}]}`, None},
		"an image, a sidecar is added":                  {`{"c":[{"name":"A","i":0}]}`, `{"c":[{"name":"A","i":1}]}`, `{"c":[{"name":"A","i":1},{"name":"B"}]}`, Complete},
		"another order":                                 {`{"c":[{"name":"A"},{"name":"B"}]}`, `{"c":[{"name":"B"},{"name":"A"}]}`, `{"c":[{"name":"A"},{"name":"B"}],"x":1}`, Unclear},
		"elements that cannot be told apart, added":     {`{"c":[[1]]}`, `{"c":[[1],[2]]}`, `{"c":[[1],[2]]}`, Complete},
		"elements that cannot be told apart, as before": {`{"c":[[1]]}`, `{"c":[[1],[2]]}`, `{"c":[[1]],"x":1}`, None},
		"elements that cannot be told apart, others":    {`{"c":[[1]]}`, `{"c":[[1],[2]]}`, `{"c":[[1],[3]]}`, Unclear},
		"part of it, and another value":                 {`{"a":1,"b":1}`, `{"a":2,"b":2}`, `{"a":2,"b":3}`, Unclear},
		"the same element twice, as before":             {`{"c":["a"]}`, `{"c":["a","a"]}`, `{"c":["a"],"x":1}`, None},
		"the same element twice":                        {`{"c":["a"]}`, `{"c":["a","a"]}`, `{"c":["a","b"]}`, Unclear},
		"an object in place of a text":                  {`{"a":"x"}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`, Complete},
	} {
		assert.Equal(t, tt.want, EffectOf(content(t, tt.base), content(t, tt.sent), content(t, tt.got)), name)
	}
	assert.Equal(t, Unclear, EffectOf(nil, Content{}, Content{}))
}

func TestByAnother(t *testing.T) {
	at := func(second int) *metav1.Time {
		return &metav1.Time{Time: time.Date(2020, 1, 1, 0, 0, second, 0, time.UTC)}
	}
	entry := func(manager, subresource string, second int, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{
			Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: subresource,
			Time: at(second), FieldsV1: &metav1.FieldsV1{Raw: []byte(cmp.Or(fields, "{}"))},
		}
	}
	applied := entry("me", "", 2, "")
	applied.Operation = metav1.ManagedFieldsOperationApply
	type entries = []metav1.ManagedFieldsEntry
	const added = `{"data":{"a":"1","b":"2"}}`
	for name, tt := range map[string]struct {
		before, after entries
		next          string
		manager       string
		another       bool
	}{
		"mine is renewed":                          {entries{entry("me", "", 1, "")}, entries{entry("me", "", 2, "")}, added, "me", false},
		"mine is new":                              {entries{entry("other", "", 1, "")}, entries{entry("other", "", 1, ""), entry("me", "", 2, "")}, added, "me", false},
		"another is renewed":                       {entries{entry("me", "", 1, ""), entry("other", "", 1, "")}, entries{entry("me", "", 1, ""), entry("other", "", 2, "")}, added, "me", true},
		"another is new":                           {entries{entry("me", "", 1, "")}, entries{entry("me", "", 1, ""), entry("other", "", 1, "")}, added, "me", true},
		"another has more fields":                  {entries{entry("me", "", 1, ""), entry("other", "", 1, "{}")}, entries{entry("me", "", 1, ""), entry("other", "", 1, `{"f:data":{}}`)}, added, "me", true},
		"mine applied, which is no update":         {entries{entry("me", "", 1, "")}, entries{entry("me", "", 1, ""), applied}, added, "me", true},
		"my status, not the object":                {entries{entry("me", "", 1, "")}, entries{entry("me", "", 1, ""), entry("me", "status", 2, "")}, added, "me", true},
		"within a second":                          {entries{entry("me", "", 1, ""), entry("other", "", 1, "")}, entries{entry("me", "", 1, ""), entry("other", "", 1, "")}, added, "me", false},
		"mine is not there, a value is new":        {entries{entry("other", "", 1, "")}, entries{entry("other", "", 1, "")}, added, "me", true},
		"mine is not there, nothing but a removal": {entries{entry("other", "", 1, "")}, entries{entry("other", "", 1, "")}, `{}`, "me", false},
		"older entries are merged by the server":   {entries{entry("me", "", 1, ""), entry("a", "", 1, "")}, entries{entry("me", "", 1, ""), entry("ancient-changes", "", 2, "")}, added, "me", false},
		"my manager is not known":                  {entries{entry("a", "", 1, "")}, entries{entry("b", "", 2, "")}, added, "", false},
		"managed fields are not stored":            {nil, nil, added, "me", false},
	} {
		base, next := object(t, `{"data":{"a":"1"}}`), object(t, tt.next)
		base.SetManagedFields(tt.before)
		next.SetManagedFields(tt.after)
		assert.Equal(t, tt.another, ByAnother(base, next, Writer{Manager: tt.manager}), name)
	}
}
