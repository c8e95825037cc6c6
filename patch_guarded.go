// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/k8sretry/k8sretry/internal/objectdiff"
)

// guard returns a Patch whose outcome can be checked, nil if it is not one: its body has to name
// the resource version, and the client has to read what it patches.
func guard[T Object](client Patcher[T], name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresource string) *guardedPatch[T] {
	if len(opts.DryRun) > 0 || subresource != "" && subresource != "status" {
		return nil // a scale, for example, is an object of another type
	}
	for {
		outer, ok := client.(subresourcePatcher[T])
		if !ok {
			break
		}
		client = outer.client
	}
	getter, readable := client.(Getter[T])
	patch, required := guardOf(name, pt, data)
	if !readable || patch == nil || required.number == "" {
		return nil
	}
	return &guardedPatch[T]{
		safeWrite:  safeWrite{verb: VerbPatch, code: codeOfType[T]()},
		sentObject: sentObject[T]{subresource: subresource, fieldManager: opts.FieldManager, manager: requestManager{client: client}},
		getter:     getter, patch: patch, required: required,
	}
}

// guardOf returns a patch, and the version of the object that it requires. The number is empty
// if it requires none. The patch is nil if its effect on an object is not known.
func guardOf(name string, pt types.PatchType, data []byte) (patch objectdiff.Patch, after version) {
	var number, uid string
	switch pt {
	case types.MergePatchType:
		patch, number, uid = objectdiff.MergePatch(data)
	case types.StrategicMergePatchType:
		patch, number, uid = objectdiff.StrategicMergePatch(data)
	case types.JSONPatchType:
		patch, number = objectdiff.JSONPatch(data)
	}
	return patch, version{name, required(number), types.UID(uid)}
}

// guardedPatch is the state of one Patch that names the resource version of the object. Like
// an Update it was carried out if and only if it was the first change after that version. So
// the outcome is that of an update to what the patch makes of that version.
type guardedPatch[T Object] struct {
	safeWrite
	sentObject[T] // base is nil before a check
	sends         func(context.Context) (T, error)
	getter        Getter[T]
	patch         objectdiff.Patch
	required      version
}

// step sends the patch, see write.
func (p *guardedPatch[T]) step(ctx context.Context) (T, error) {
	return p.write(ctx, &p.safeWrite, p.sends, p.check)
}

// check finds out whether the patch has been stored. The content of the object as it is
// now proves nothing, because a patch has only a part of it.
func (p *guardedPatch[T]) check(ctx context.Context) (T, checkResult, error) {
	var none T
	ctx = p.manager.observeRead(ctx)
	found, result, err := readObject(ctx, p.getter, p.required.name)
	switch {
	case err != nil || result == undetermined:
		return none, undetermined, err
	case result == applied && found.GetResourceVersion() == p.required.number:
		return found, notAppliedYet, nil
	}
	first, err := firstChange[T](ctx, p.getter, p.required)
	if err != nil || !first.known || isNilValue(first.base) {
		return none, undetermined, err
	}
	sent, ok := patched(first.base, p.patch)
	if !ok {
		return none, undetermined, nil
	}
	p.base, p.obj = first.base, sent
	return first.obj, p.judge(first), nil
}

// patched returns what a patch makes of an object. It fails for a patch with a field that the
// type does not have: neither a change of that field nor its absence would be noticed.
func patched[T Object](obj T, patch objectdiff.Patch) (sent T, ok bool) {
	content := objectdiff.JSONOf(obj)
	if content == nil || !patch(content) {
		return sent, false
	}
	if _, ok := any(obj).(*unstructured.Unstructured); ok {
		return any(&unstructured.Unstructured{Object: content}).(T), true
	}
	text, err := json.Marshal(content)
	sent = reflect.New(reflect.TypeOf(obj).Elem()).Interface().(T)
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return sent, err == nil && decoder.Decode(sent) == nil
}
