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
		`{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a"},{"name":"b"}],"empty":1}}`:                                                 false,
		`{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a"},{"name":"b"}],"none":1}}`:                                                  false,
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
		"an image, and a default beside it":             {`{"c":[{"name":"A","i":0}]}`, `{"c":[{"name":"A","i":1}]}`, `{"c":[{"name":"A","i":1,"d":5}]}`, Complete},
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

func TestAuthorOf(t *testing.T) {
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
	const (
		added = `{"data":{"a":"1","b":"2"}}`
		ownsA = `{"f:data":{".":{},"f:a":{}}}`
		ownsB = `{"f:data":{"f:b":{}}}`
		empty = `{"f:data":{}}` // others have taken all of it
	)
	for name, tt := range map[string]struct {
		before, after entries
		next          string
		manager       string
		want          Author
	}{
		"mine is renewed":                            {entries{entry("me", "", 1, "")}, entries{entry("me", "", 2, "")}, added, "me", Self},
		"mine is new":                                {entries{entry("other", "", 1, "")}, entries{entry("other", "", 1, ""), entry("me", "", 2, "")}, added, "me", Self},
		"another is renewed":                         {entries{entry("me", "", 1, ""), entry("other", "", 1, "")}, entries{entry("me", "", 1, ""), entry("other", "", 2, "")}, added, "me", Another},
		"another is new":                             {entries{entry("me", "", 1, "")}, entries{entry("me", "", 1, ""), entry("other", "", 1, "")}, added, "me", Another},
		"another has more fields":                    {entries{entry("me", "", 1, ""), entry("other", "", 1, "{}")}, entries{entry("me", "", 1, ""), entry("other", "", 1, `{"f:data":{}}`)}, added, "me", Another},
		"mine applied, which is no update":           {entries{entry("me", "", 1, "")}, entries{entry("me", "", 1, ""), applied}, added, "me", Another},
		"my status, not the object":                  {entries{entry("me", "", 1, "")}, entries{entry("me", "", 1, ""), entry("me", "status", 2, "")}, added, "me", Another},
		"within a second":                            {entries{entry("me", "", 1, ""), entry("other", "", 1, "")}, entries{entry("me", "", 1, ""), entry("other", "", 1, "")}, added, "me", SelfOrAnother},
		"mine is not there, a value is new":          {entries{entry("other", "", 1, ownsB)}, entries{entry("other", "", 1, ownsB)}, added, "me", Another},
		"mine is not there, a value of no manager":   {entries{entry("other", "", 1, ownsA)}, entries{entry("other", "", 1, ownsA)}, added, "me", Undecided}, // an admission plugin's, beside a removal
		"mine is not there, nothing but a removal":   {entries{entry("other", "", 1, "")}, entries{entry("other", "", 1, "")}, `{}`, "me", Undecided},
		"older entries are merged by the server":     {entries{entry("me", "", 1, ""), entry("a", "", 1, "")}, entries{entry("me", "", 1, ""), entry("ancient-changes", "", 2, "")}, added, "me", SelfOrAnother},
		"within a second, the value is mine":         {entries{entry("me", "", 1, ""), entry("other", "", 1, "")}, entries{entry("me", "", 1, ownsB), entry("other", "", 1, "")}, added, "me", Self},
		"within a second, and was mine before":       {entries{entry("me", "", 1, ownsB), entry("other", "", 1, "")}, entries{entry("me", "", 1, ownsB), entry("other", "", 1, "")}, added, "me", Self},
		"within a second, the value is another's":    {entries{entry("me", "", 1, ""), entry("other", "", 1, ownsB)}, entries{entry("me", "", 1, ""), entry("other", "", 1, ownsB)}, added, "me", Another},
		"within a second, the value is of both":      {entries{entry("me", "", 1, ownsB), entry("other", "", 1, ownsB)}, entries{entry("me", "", 1, ownsB), entry("other", "", 1, ownsB)}, added, "me", SelfOrAnother},
		"within a second, I have taken the value":    {entries{entry("me", "", 1, ownsB), entry("other", "", 1, empty)}, entries{entry("me", "", 1, ownsB), entry("other", "", 1, empty)}, added, "me", Self},
		"within a second, another has taken it":      {entries{entry("me", "", 1, empty), entry("other", "", 1, ownsB)}, entries{entry("me", "", 1, empty), entry("other", "", 1, ownsB)}, added, "me", Another},
		"within a second, a value of no manager":     {entries{entry("me", "", 1, ownsA), entry("other", "", 1, empty)}, entries{entry("me", "", 1, ownsA), entry("other", "", 1, empty)}, added, "me", SelfOrAnother},
		"within a second, fields that are no object": {entries{entry("me", "", 1, "[]"), entry("other", "", 1, "[]")}, entries{entry("me", "", 1, "[]"), entry("other", "", 1, "[]")}, added, "me", SelfOrAnother},
		"within a second, a new object that is mine": {entries{entry("me", "", 1, `{"f:more":{"f:b":{}}}`), entry("other", "", 1, `{"f:more":{}}`)}, entries{entry("me", "", 1, `{"f:more":{"f:b":{}}}`), entry("other", "", 1, `{"f:more":{}}`)}, `{"data":{"a":"1"},"more":{"b":"2"}}`, "me", Self},
		"within a second, a removal":                 {entries{entry("me", "", 1, ""), entry("other", "", 1, "")}, entries{entry("me", "", 1, ""), entry("other", "", 1, "")}, `{}`, "me", Undecided},
		"within a second, the base is not known":     {entries{entry("me", "", 1, ownsB), entry("other", "", 1, "")}, entries{entry("me", "", 1, ownsB), entry("other", "", 1, "")}, `{"data":{"a":"1"}}`, "me", SelfOrAnother},
		"another wrote earlier":                      {entries{entry("me", "", 2, ""), entry("other", "", 1, "")}, entries{entry("me", "", 2, ""), entry("other", "", 1, "")}, added, "me", Undecided},
		"no fields are recorded, one manager":        {entries{entry("me", "", 1, "")}, entries{entry("me", "", 1, "")}, added, "me", Undecided},
		"my manager is not known":                    {entries{entry("a", "", 1, "")}, entries{entry("b", "", 2, "")}, added, "", Undecided},
		"the server did not know the manager":        {entries{entry("me", "", 1, "")}, entries{entry("me", "", 1, ""), entry("unknown", "", 2, "")}, added, "me", Self},
		"not recorded before":                        {nil, entries{entry("other", "", 2, "")}, added, "me", Undecided},
		"managed fields are not stored":              {nil, nil, added, "me", Undecided},
	} {
		base, next := object(t, `{"data":{"a":"1"}}`), object(t, tt.next)
		base.SetManagedFields(tt.before)
		next.SetManagedFields(tt.after)
		assert.Equal(t, tt.want, AuthorOf(base, next, Writer{Manager: tt.manager}, All), name)
	}
}

// Two managers have written within one second, so that only the owner of what has changed shows
// which of them it was.
func TestAuthorOfAChangeInAList(t *testing.T) {
	const (
		containers = `{"spec":{"containers":[{"name":"x","image":"1"},{"name":"y","image":"1"}]}}`
		finalizers = `{"metadata":{"finalizers":["a/b"]}}`
		twoOfThem  = `{"metadata":{"finalizers":["a/b","c/d"]}}`
		args       = `{"spec":{"args":["1"]}}`
		ports      = `{"spec":{"ports":[{"port":53,"protocol":"TCP","targetPort":1},{"port":53,"protocol":"UDP","targetPort":1}]}}`
		numbers    = `{"spec":{"numbers":[1]}}`
		items      = `{"spec":{"items":[{"name":"x"}]}}`
		ownsX      = `{"f:spec":{"f:containers":{"k:{\"name\":\"x\"}":{".":{},"f:image":{}}}}}`
		ownsY      = `{"f:spec":{"f:containers":{"k:{\"name\":\"y\"}":{".":{},"f:image":{}}}}}`
		ownsTCP    = `{"f:spec":{"f:ports":{".":{},"k:{\"port\":53,\"protocol\":\"TCP\"}":{".":{},"f:port":{},"f:protocol":{},"f:targetPort":{}}}}}`
		ownsUDP    = `{"f:spec":{"f:ports":{".":{},"k:{\"port\":53,\"protocol\":\"UDP\"}":{".":{},"f:port":{},"f:protocol":{},"f:targetPort":{}}}}}`
	)
	at := metav1.Time{Time: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}
	for name, tt := range map[string]struct {
		base, next, own string
		before, after   string // what the other manager owns; after is the same if it is empty
		want            Author
	}{
		"a field of a container of mine":    {containers, `{"spec":{"containers":[{"name":"x","image":"2"},{"name":"y","image":"1"}]}}`, ownsX, ownsY, "", Self},
		"a field of a container of another": {containers, `{"spec":{"containers":[{"name":"x","image":"1"},{"name":"y","image":"2"}]}}`, ownsX, ownsY, "", Another},
		"a container of mine that is new":   {`{"spec":{"containers":[{"name":"y","image":"1"}]}}`, containers, ownsX, ownsY, "", Self},
		"a finalizer of mine":               {finalizers, twoOfThem, `{"f:metadata":{"f:finalizers":{"v:\"c/d\"":{}}}}`, `{"f:metadata":{"f:finalizers":{".":{},"v:\"a/b\"":{}}}}`, "", Self},
		"a map of mine as a whole":          {finalizers, `{"metadata":{"finalizers":["a/b"],"labels":{"a":"b"}}}`, `{"f:metadata":{"f:labels":{}}}`, `{"f:spec":{"f:args":{}}}`, "", Self},
		"a map of mine that is empty":       {args, `{"spec":{"args":["1"],"map":{}}}`, `{"f:spec":{"f:map":{}}}`, `{"f:spec":{"f:args":{}}}`, "", Self},
		"a list of another as a whole":      {args, `{"spec":{"args":["1","2"]}}`, `{"f:spec":{"f:other":{}}}`, `{"f:spec":{"f:args":{}}}`, "", Another},
		"a list of mine that is shorter":    {`{"spec":{"args":["1","2"]}}`, args, `{"f:spec":{"f:args":{}}}`, `{"f:spec":{"f:other":{}}}`, "", Self},
		"a port of mine":                    {ports, `{"spec":{"ports":[{"port":53,"protocol":"TCP","targetPort":2},{"port":53,"protocol":"UDP","targetPort":1}]}}`, ownsTCP, ownsUDP, "", Self},
		"a port of another":                 {ports, `{"spec":{"ports":[{"port":53,"protocol":"TCP","targetPort":1},{"port":53,"protocol":"UDP","targetPort":2}]}}`, ownsTCP, ownsUDP, "", Another},
		"a number of mine":                  {numbers, `{"spec":{"numbers":[1,2]}}`, `{"f:spec":{"f:numbers":{"v:2":{}}}}`, `{"f:spec":{"f:numbers":{".":{},"v:1":{}}}}`, "", Self},
		"an element of another is removed, the list is empty": {
			items, `{"spec":{"items":[]}}`, `{"f:spec":{"f:mine":{}}}`, `{"f:spec":{"f:items":{".":{},"k:{\"name\":\"x\"}":{".":{},"f:name":{}}}}}`, `{"f:spec":{"f:items":{}}}`, Undecided,
		},
		"a finalizer of another is removed, one without an owner is left": {
			twoOfThem, finalizers, `{"f:spec":{"f:mine":{}}}`, `{"f:metadata":{"f:finalizers":{".":{},"v:\"c/d\"":{}}}}`, `{"f:metadata":{"f:finalizers":{}}}`, Undecided,
		},
	} {
		entry := func(manager, fields string) metav1.ManagedFieldsEntry {
			return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Time: &at, FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)}}
		}
		from, to := object(t, tt.base), object(t, tt.next)
		from.SetManagedFields([]metav1.ManagedFieldsEntry{entry("me", tt.own), entry("other", tt.before)})
		to.SetManagedFields([]metav1.ManagedFieldsEntry{entry("me", tt.own), entry("other", cmp.Or(tt.after, tt.before))})
		assert.Equal(t, tt.want, AuthorOf(from, to, Writer{Manager: "me"}, All), name)
	}
}

func TestSameManagedFields(t *testing.T) {
	managed := func(manager, fields string) metav1.Object {
		return &metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: manager, FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)}}}}
	}
	for name, tt := range map[string]struct {
		a, b metav1.Object
		same bool
	}{
		"the same":            {managed("me", `{"f:a":{}}`), managed("me", `{"f:a":{}}`), true},
		"another order":       {managed("me", `{"f:b":{},"f:a":{}}`), managed("me", `{"f:a": {},"f:b":{}}`), true},
		"other fields":        {managed("me", `{"f:b":{}}`), managed("me", `{"f:a":{}}`), false},
		"another manager":     {managed("me", `{"f:a":{}}`), managed("other", `{"f:a":{}}`), false},
		"none":                {&metav1.ObjectMeta{}, &metav1.ObjectMeta{}, true},
		"none in one of them": {managed("me", `{"f:a":{}}`), &metav1.ObjectMeta{}, false},
		"no JSON":             {managed("me", `{`), managed("me", `{`), false},
	} {
		assert.Equal(t, tt.same, SameManagedFields(tt.a, tt.b), name)
	}
}

func TestPatches(t *testing.T) {
	const merge, strategic, jsonPatch = "merge", "strategic", "json"
	const base = `{"metadata":{"name":"x","labels":{"a":"b"},"finalizers":["f"]},"data":{"n":1},"list":[{"k":1},2]}`
	for situation, tt := range map[string]struct {
		kind, patch  string
		version, uid string
		want         string // "" if the patch is not understood, "fails" if it cannot be applied
	}{
		"merge: a value and a removal": {merge, `{"metadata":{"resourceVersion":"7","uid":"u"},"data":{"n":null,"m":{"o":null,"p":9007199254740993}}}`, "7", "u", `{"metadata":{"name":"x","labels":{"a":"b"},"finalizers":["f"],"resourceVersion":"7","uid":"u"},"data":{"m":{"p":9007199254740993}},"list":[{"k":1},2]}`},
		"merge: a list":                {merge, `{"list":[3]}`, "", "", `{"metadata":{"name":"x","labels":{"a":"b"},"finalizers":["f"]},"data":{"n":1},"list":[3]}`},
		"merge: an object for a list":  {merge, `{"list":{"a":1}}`, "", "", `{"metadata":{"name":"x","labels":{"a":"b"},"finalizers":["f"]},"data":{"n":1},"list":{"a":1}}`},
		"merge: not an object":         {merge, `[]`, "", "", ""},
		"merge: null":                  {merge, `null`, "", "", ""},
		"merge: a version of a number": {merge, `{"metadata":{"resourceVersion":7,"finalizers":null,"labels":null},"list":null,"data":null}`, "", "", `{"metadata":{"name":"x","resourceVersion":7}}`},
		"strategic: a value":           {strategic, `{"metadata":{"resourceVersion":"7","labels":null,"finalizers":null},"list":null,"data":{"n":2}}`, "7", "", `{"metadata":{"name":"x","resourceVersion":"7"},"data":{"n":2}}`},
		"strategic: a list":            {strategic, `{"metadata":{"resourceVersion":"7","finalizers":["g"]}}`, "", "", ""},
		"strategic: a directive":       {strategic, `{"metadata":{"resourceVersion":"7"},"data":{"$patch":"replace"}}`, "", "", ""},
		"json: add, replace, remove": {jsonPatch, `[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"add","path":"/data/m","value":2},
			{"op":"replace","path":"/data/n","value":3},{"op":"remove","path":"/metadata/labels/a"},{"op":"remove","path":"/list/0"},{"op":"add","path":"/list/0","value":1},
			{"op":"add","path":"/list/-","value":{}},{"op":"add","path":"/list/2/k","value":5},{"op":"replace","path":"/list/0","value":0},{"op":"test","path":"/list/0","value":0}]`,
			"7", "", `{"metadata":{"name":"x","resourceVersion":"7","labels":{},"finalizers":["f"]},"data":{"n":3,"m":2},"list":[0,2,{"k":5}]}`},
		"json: a key with a slash and a tilde":       {jsonPatch, `[{"op":"remove","path":"/list"},{"op":"replace","path":"/metadata","value":{}},{"op":"add","path":"/data/~1~01","value":1}]`, "", "", `{"metadata":{},"data":{"n":1,"/~1":1}}`},
		"json: the version is tested after a change": {jsonPatch, `[{"op":"add","path":"/metadata/resourceVersion","value":"7"},{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"remove","path":"/metadata"},{"op":"remove","path":"/list"}]`, "", "", `{"data":{"n":1}}`},
		"json: a version of a number":                {jsonPatch, `[{"op":"test","path":"/metadata/resourceVersion","value":7}]`, "", "", "fails"},
		"json: a failed test":                        {jsonPatch, `[{"op":"test","path":"/data/n","value":2}]`, "", "", "fails"},
		"json: a failed test of an element":          {jsonPatch, `[{"op":"test","path":"/list/1","value":3}]`, "", "", "fails"},
		"json: a missing field":                      {jsonPatch, `[{"op":"remove","path":"/data/m"}]`, "", "", "fails"},
		"json: a missing parent":                     {jsonPatch, `[{"op":"add","path":"/spec/a","value":1}]`, "", "", "fails"},
		"json: behind the end of a list":             {jsonPatch, `[{"op":"replace","path":"/list/2","value":1}]`, "", "", "fails"},
		"json: far behind the end of a list":         {jsonPatch, `[{"op":"add","path":"/list/3","value":1}]`, "", "", "fails"},
		"json: no element":                           {jsonPatch, `[{"op":"remove","path":"/list/a"}]`, "", "", "fails"},
		"json: the whole object":                     {jsonPatch, `[{"op":"replace","path":"","value":{}}]`, "", "", "fails"},
		"json: a move":                               {jsonPatch, `[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"move","from":"/data/n","path":"/data/m"}]`, "", "", ""},
	} {
		t.Run(situation, func(t *testing.T) {
			var patch Patch
			var version, uid string
			switch tt.kind {
			case merge:
				patch, version, uid = MergePatch([]byte(tt.patch))
			case strategic:
				patch, version, uid = StrategicMergePatch([]byte(tt.patch))
			case jsonPatch:
				patch, version = JSONPatch([]byte(tt.patch))
			}
			assert.Equal(t, tt.want == "", patch == nil)
			assert.Equal(t, []string{tt.version, tt.uid}, []string{version, uid})
			if patch == nil {
				return
			}
			for range 2 { // no application changes the patch
				object := decode[map[string]any]([]byte(base))
				if tt.version != "" {
					object["metadata"].(map[string]any)["resourceVersion"] = tt.version
				}
				assert.Equal(t, tt.want != "fails", patch(object))
				if tt.want != "fails" {
					assert.Equal(t, decode[map[string]any]([]byte(tt.want)), object)
				}
			}
		})
	}
}
