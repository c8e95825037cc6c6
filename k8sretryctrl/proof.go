package k8sretryctrl

import (
	"context"
	"encoding/json"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

// reader looks what became of a write of obj.
type reader struct {
	client *retrying
	obj    client.Object
}

func (r reader) Get(ctx context.Context, name string, _ metav1.GetOptions) (client.Object, error) {
	found := fresh(r.obj)
	found.SetNamespace(r.obj.GetNamespace())
	found.SetName(name)
	if err := r.client.live(ctx, found); err != nil {
		return nil, err
	}
	return found, nil
}

// live reads obj from the server. The Get of a manager's client reads from a cache, which
// may lag behind or hold a part of the objects only: that something is not in it proves
// nothing. Subresources are never cached, and the one without a name is the object.
//
// Clients that know no such subresource, as the fake, are asked by Get.
func (c *retrying) live(ctx context.Context, obj client.Object) error {
	key := client.ObjectKeyFromObject(obj)
	into := obj
	partial, isPartial := obj.(*metav1.PartialObjectMetadata)
	if isPartial { // has no subresources
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(partial.GroupVersionKind())
		u.SetNamespace(key.Namespace)
		u.SetName(key.Name)
		into = u
	}
	object := c.inner.SubResource("")
	if object == nil { // a mock
		return c.inner.Get(ctx, key, obj)
	}
	err := object.Get(ctx, into, into)
	switch v := k8sretry.Classify(err); {
	case err != nil && v.Class == k8sretry.ClassPermanent && v.StatusCode == 0:
		return c.inner.Get(ctx, key, obj)
	case err != nil || !isPartial:
		return err
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(into.(*unstructured.Unstructured).Object, partial)
}

// unsent is the annotation in which k8sretry.Update hands its token over. It is never sent.
const unsent = "k8sretryctrl.k8sretry.dev/unsent"

// updater gives the client the shape that k8sretry.Update asks for.
//
// An annotation that is another one in each update would make a change of an update that
// changes nothing, and the controller that watches the object would write without end. So
// the token stays here. It is found on an object that holds what was sent: that this
// write, and not one just like it, has put it there makes no difference to anybody.
type updater struct {
	reader
	send  func(context.Context, client.Object) error
	same  func(sent, found client.Object) bool
	sent  client.Object // as k8sretry.Update gave it
	token string
}

func (u *updater) Update(ctx context.Context, obj client.Object, _ metav1.UpdateOptions) (client.Object, error) {
	own := copyOf(obj)
	u.sent, u.token = obj, takeToken(own)
	return own, u.send(ctx, own)
}

func (u *updater) Get(ctx context.Context, name string, opts metav1.GetOptions) (client.Object, error) {
	found, err := u.reader.Get(ctx, name, opts)
	if err != nil || u.token == "" || !u.same(u.sent, found) {
		return found, err
	}
	annotations := found.GetAnnotations()
	if annotations == nil {
		annotations = make(map[string]string, 1)
	}
	annotations[unsent] = u.token
	found.SetAnnotations(annotations)
	return found, nil
}

// takeToken takes the token off an object.
func takeToken(obj client.Object) (token string) {
	annotations := obj.GetAnnotations()
	token, ok := annotations[unsent]
	if !ok {
		return ""
	}
	delete(annotations, unsent)
	if len(annotations) == 0 {
		annotations = nil
	}
	obj.SetAnnotations(annotations)
	return token
}

// sameObject reports whether found holds what was sent. It may say no of an object that a
// webhook or a default has changed on the way.
func sameObject(sent, found client.Object) bool {
	s, f := contentOf(sent), contentOf(found)
	return s != nil && f != nil && sameMeta(s, f) && reflect.DeepEqual(s, f)
}

// sameStatus is sameObject for a status, beside which nothing is stored.
func sameStatus(sent, found client.Object) bool {
	s, f := contentOf(sent), contentOf(found)
	return s != nil && f != nil && (sent.GetUID() == "" || sent.GetUID() == found.GetUID()) && reflect.DeepEqual(s["status"], f["status"])
}

// contentOf is an object without what the server keeps in it about its versions.
func contentOf(obj client.Object) map[string]any {
	var content map[string]any
	text, err := json.Marshal(obj)
	if err != nil || json.Unmarshal(text, &content) != nil {
		return nil
	}
	delete(content, "apiVersion") // typed objects lack both
	delete(content, "kind")
	meta, _ := content["metadata"].(map[string]any)
	for _, key := range []string{"resourceVersion", "generation", "managedFields", "selfLink"} {
		delete(meta, key)
	}
	if annotations, ok := meta["annotations"].(map[string]any); ok {
		if delete(annotations, unsent); len(annotations) == 0 {
			delete(meta, "annotations")
		}
	}
	return content
}

// sameMeta takes from found what the server alone can give and sent did not name.
func sameMeta(sent, found map[string]any) bool {
	s, _ := sent["metadata"].(map[string]any)
	f, _ := found["metadata"].(map[string]any)
	for _, key := range []string{"uid", "creationTimestamp"} {
		if s[key] == nil {
			delete(s, key)
			delete(f, key)
		}
	}
	return s != nil && f != nil
}
