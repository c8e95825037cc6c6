// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// TokenAnnotation is the default key of the annotation in which [Modify] stores the token of
// the call. A [Create] that needs a mark stores it under the key with "-create" appended.
// [WithTokenAnnotation] changes or disables both.
//
// If an admission plugin or another client removes the annotation, it proves nothing: where
// only the token could tell, the error matches [ErrOutcomeUnknown].
const TokenAnnotation = "k8sretry.dev/call"

// tokenKey returns the annotation key that the options select.
func tokenKey(opts []Option) string {
	c := resolve(opts)
	if c.given&hasToken == 0 {
		return TokenAnnotation
	}
	return strings.Clone(c.token)
}

// Object is the type constraint of the safe writes: a pointer to an API object, such as
// *corev1.Pod or *unstructured.Unstructured.
type Object interface {
	metav1.Object
	runtime.Object
}

// Getter is a client that reads one object by name. The typed clients of client-go, such
// as PodInterface, and their fakes implement it.
type Getter[T Object] interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error)
}

// Creator is the client that [Create] needs.
type Creator[T Object] interface {
	Getter[T]
	Create(ctx context.Context, obj T, opts metav1.CreateOptions) (T, error)
}

// Updater is the client that [Update] and [Modify] need. If it also implements
// [Watcher], as the clients of client-go do, they can determine the outcome of a request
// even if another client has overwritten the object since.
//
// An Updater or a [Patcher] that adds a field manager to the options of its requests should have a
// method FieldManager() (manager string, known bool), which returns the one of its last request,
// "" if that had none. They call it to verify the outcome of a request, never during one, and
// only if the request itself does not show its field manager, as over HTTP/1.1 without a
// Transport.
type Updater[T Object] interface {
	Getter[T]
	Update(ctx context.Context, obj T, opts metav1.UpdateOptions) (T, error)
}

// Deleter is the client that [Delete] needs.
type Deleter[T Object] interface {
	Getter[T]
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
}

// evictor is the client that [Evict] needs. PodInterface of client-go implements it.
type evictor[T Object] interface {
	Getter[T]
	EvictV1(ctx context.Context, eviction *policyv1.Eviction) error
}

// Watcher is a client that watches objects.
type Watcher interface {
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
}

// fieldManagerOf returns the field manager that a client says it has sent. The adapters of this
// package return that of the client they adapt.
func fieldManagerOf(client any) (manager string, known bool) {
	switch client := client.(type) {
	case interface{ fieldManager() (string, bool) }:
		return client.fieldManager()
	case interface{ FieldManager() (string, bool) }:
		return client.FieldManager()
	}
	return "", false
}

var (
	errNilClient = errors.New("k8sretry: the client is nil")
	errNilObject = errors.New("k8sretry: the object is nil")
	// errNoObject is a successful response without an object. It happens when net/http
	// follows a redirected POST with a GET and the answer, such as a list, decodes into
	// an empty object.
	errNoObject = errors.New("k8sretry: the server reported success without an object")
)

// isNilValue reports whether v is nil or holds a nil pointer.
func isNilValue(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// isEmpty reports whether a response contained no object. Fake clients return objects
// without a UID, so the name is checked as well.
func isEmpty[T Object](obj T) bool {
	return isNilValue(obj) || obj.GetName() == "" && obj.GetUID() == ""
}

// deepCopy returns a copy of obj. It fails for a type that takes DeepCopyObject from an
// embedded type, because the copy is then of the embedded type.
func deepCopy[T Object](obj T) (T, error) {
	c, ok := obj.DeepCopyObject().(T)
	if !ok {
		return c, fmt.Errorf("k8sretry: DeepCopyObject of %T returns another type", obj)
	}
	return c, nil
}

// copyToSend returns a copy of obj whose name and annotations may be changed. Of an
// unstructured object it copies only the metadata, because DeepCopy panics on values such
// as an int, which the dynamic client accepts.
func copyToSend[T Object](obj T) (T, error) {
	u, ok := any(obj).(*unstructured.Unstructured)
	if !ok {
		return deepCopy(obj)
	}
	c := &unstructured.Unstructured{Object: maps.Clone(u.Object)}
	if metadata, ok := c.Object["metadata"].(map[string]any); ok {
		c.Object["metadata"] = maps.Clone(metadata)
	}
	return any(c).(T), nil
}

// writeToken is a random value in an annotation that identifies the write of one call.
type writeToken struct{ key, value string }

func newToken(key string) writeToken { return writeToken{key, rand.Text()} }

// addTo stores the token in an object, which must not be the caller's.
func (t writeToken) addTo(obj metav1.Object) {
	if t.key == "" {
		return
	}
	annotations := obj.GetAnnotations()
	if annotations == nil {
		if u, ok := obj.(*unstructured.Unstructured); ok {
			// GetAnnotations returns nil if the annotations have the wrong type. They are
			// left alone, so that the server rejects the object.
			if value, _, err := unstructured.NestedFieldNoCopy(u.Object, "metadata", "annotations"); value != nil || err != nil {
				return
			}
		}
		annotations = make(map[string]string, 1)
	}
	annotations[t.key] = t.value
	obj.SetAnnotations(annotations)
}

// on returns the token that an object carries under the same key, "" if there is none.
func (t writeToken) on(obj metav1.Object) string {
	if t.key == "" {
		return ""
	}
	return obj.GetAnnotations()[t.key]
}

// minToken is the length of the shortest token.
const minToken = 26

// isToken reports whether text may be a token. Other values of the annotation are those of an
// admission plugin, for example.
func isToken(text string) bool {
	return len(text) >= minToken && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// isOn reports whether an object carries the token.
func (t writeToken) isOn(obj metav1.Object) bool { return t.value != "" && t.on(obj) == t.value }

// isAbsent reports whether err says that the object of this name does not exist. A 404
// for something else, such as a namespace or a path that is not served, does not count.
func isAbsent(err error, name string) bool {
	if Classify(err).StatusCode == 0 || !apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return false
	}
	details := statusIn(err).Details
	return details != nil && details.Name == name
}

// statusIn returns the API status in err, or an empty one.
func statusIn(err error) metav1.Status {
	var s apierrors.APIStatus
	if errors.As(err, &s) {
		return s.Status()
	}
	return metav1.Status{}
}
