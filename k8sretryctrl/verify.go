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

// reader reads obj from the server to verify the outcome of a write.
type reader struct {
	client *retryClient
	obj    client.Object
}

func (r reader) Get(ctx context.Context, name string, _ metav1.GetOptions) (client.Object, error) {
	found := newOf(r.obj)
	found.SetNamespace(r.obj.GetNamespace())
	found.SetName(name)
	if err := r.client.getLive(ctx, found); err != nil {
		return nil, err
	}
	return found, nil
}

// getLive reads obj from the server. The Get of a manager's client reads from a cache, which
// may be stale or contain only some of the objects. Subresources are not cached, and the
// subresource with an empty name is the object itself.
//
// getLive uses Get if the client does not support that subresource, as the fake.
func (c *retryClient) getLive(ctx context.Context, obj client.Object) error {
	key := client.ObjectKeyFromObject(obj)
	into := obj
	partial, isPartial := obj.(*metav1.PartialObjectMetadata)
	if isPartial { // does not support subresources
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

// localAnnotation is the annotation in which k8sretry.Update passes its token to updater,
// which removes it before it sends the object.
const localAnnotation = "k8sretryctrl.k8sretry.dev/local"

// updater implements k8sretry.Updater with the client.
//
// It does not send the token. A new token in each update would change the object even if
// the update changes nothing else, and a controller that watches the object would update
// it forever. Instead, Get adds the token to an object with the content that was sent. The
// content may also be that of an identical write by another client, which has the same
// effect.
type updater struct {
	reader
	send  func(context.Context, client.Object) error
	same  func(sent, found client.Object) bool
	sent  client.Object // the object passed by k8sretry.Update
	token string
}

func (u *updater) Update(ctx context.Context, obj client.Object, _ metav1.UpdateOptions) (client.Object, error) {
	stored := copyOf(obj)
	u.sent, u.token = obj, takeToken(stored)
	return stored, u.send(ctx, stored)
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
	annotations[localAnnotation] = u.token
	found.SetAnnotations(annotations)
	return found, nil
}

// takeToken removes the token from an object and returns it.
func takeToken(obj client.Object) (token string) {
	annotations := obj.GetAnnotations()
	token, ok := annotations[localAnnotation]
	if !ok {
		return ""
	}
	delete(annotations, localAnnotation)
	if len(annotations) == 0 {
		annotations = nil
	}
	obj.SetAnnotations(annotations)
	return token
}

// sameObject reports whether found has the content of sent. It reports false if a webhook
// or a default has changed the object.
func sameObject(sent, found client.Object) bool {
	s, f := contentOf(sent), contentOf(found)
	return s != nil && f != nil && ignoreUnsent(s, f) && reflect.DeepEqual(s, f)
}

// sameStatus reports whether found has the status of sent. An update of the status stores
// nothing else.
func sameStatus(sent, found client.Object) bool {
	s, f := contentOf(sent), contentOf(found)
	return s != nil && f != nil && (sent.GetUID() == "" || sent.GetUID() == found.GetUID()) && reflect.DeepEqual(s["status"], f["status"])
}

// contentOf returns the fields of an object without those that change with each version.
func contentOf(obj client.Object) map[string]any {
	var content map[string]any
	text, err := json.Marshal(obj)
	if err != nil || json.Unmarshal(text, &content) != nil {
		return nil
	}
	delete(content, "apiVersion") // empty in typed objects, like kind
	delete(content, "kind")
	meta, _ := content["metadata"].(map[string]any)
	for _, key := range []string{"resourceVersion", "generation", "managedFields", "selfLink"} {
		delete(meta, key)
	}
	if annotations, ok := meta["annotations"].(map[string]any); ok {
		if delete(annotations, localAnnotation); len(annotations) == 0 {
			delete(meta, "annotations")
		}
	}
	return content
}

// ignoreUnsent removes the UID and creation time from found if sent does not have them. It
// reports whether both have metadata.
func ignoreUnsent(sent, found map[string]any) bool {
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
