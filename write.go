package k8sretry

import (
	"context"
	"crypto/rand"
	"errors"
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

// TokenAnnotation is the key of the annotation in which a safe write leaves the token
// of the call. See [WithTokenAnnotation] to rename it or to do without.
//
// Admission that strips the annotation from an object makes the object a foreign
// one. The status of most kinds is stored without the annotations of the write; see
// [StatusSubresource].
const TokenAnnotation = "k8sretry.dev/call"

// Object is what a safe write handles: a pointer to an API object, such as
// *corev1.Pod or *unstructured.Unstructured.
type Object interface {
	metav1.Object
	runtime.Object
}

// Getter is a client that reads one object. The clients of client-go, such as
// PodInterface, have this shape, and so have the fakes.
type Getter[T Object] interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error)
}

// Creator is what [Create] needs of a client.
type Creator[T Object] interface {
	Getter[T]
	Create(ctx context.Context, obj T, opts metav1.CreateOptions) (T, error)
}

// Updater is what [Update] and [Modify] need of a client. If it is also a [Watcher],
// as the clients of client-go are, more can be proven.
type Updater[T Object] interface {
	Getter[T]
	Update(ctx context.Context, obj T, opts metav1.UpdateOptions) (T, error)
}

// Deleter is what [Delete] needs of a client.
type Deleter[T Object] interface {
	Getter[T]
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
}

// evictor is what [Evict] needs of a client: PodInterface of client-go has this shape.
type evictor[T Object] interface {
	Getter[T]
	EvictV1(ctx context.Context, eviction *policyv1.Eviction) error
}

// Watcher is a client that watches objects.
type Watcher interface {
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
}

var (
	errNilClient = errors.New("k8sretry: the client is nil")
	errNilObject = errors.New("k8sretry: the object is nil")
	// errDiverted is a redirected write that a Transport has seen: of 301, 302 and 303
	// net/http makes a GET, whose success says nothing about the write.
	errDiverted = errors.New("k8sretry: the write was redirected, and net/http has followed with a GET")
	// errNoObject is a success that is none: net/http follows a redirected POST with
	// a GET, whose answer, a list say, decodes into an empty object.
	errNoObject = errors.New("k8sretry: the server reported a success without an object")
)

// missing reports whether v is nil or holds a nil pointer.
func missing(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// empty reports whether an object came out of nothing. Fakes give no UID, so that it
// takes both.
func empty[T Object](obj T) bool {
	return missing(obj) || obj.GetName() == "" && obj.GetUID() == ""
}

func copyOf[T Object](obj T) T { return obj.DeepCopyObject().(T) }

// sendable is a copy of obj whose name and annotations may be set. DeepCopy panics on an
// unstructured object with an int in it, which the dynamic client takes.
func sendable[T Object](obj T) T {
	u, ok := any(obj).(*unstructured.Unstructured)
	if !ok {
		return copyOf(obj)
	}
	own := &unstructured.Unstructured{Object: maps.Clone(u.Object)}
	if meta, ok := own.Object["metadata"].(map[string]any); ok {
		own.Object["metadata"] = maps.Clone(meta)
	}
	return any(own).(T)
}

// stamp marks what one write stores.
type stamp struct{ key, token string }

// newStamp draws a token. Nobody can guess it and no other call has it.
func newStamp(key string) stamp { return stamp{key, rand.Text()} }

// put marks an object, which must be the call's own.
func (s stamp) put(obj metav1.Object) {
	if s.key == "" {
		return
	}
	annotations := obj.GetAnnotations()
	if annotations == nil {
		if u, ok := obj.(*unstructured.Unstructured); ok {
			// Annotations that are no strings read as none. The server shall refuse them.
			if there, _, err := unstructured.NestedFieldNoCopy(u.Object, "metadata", "annotations"); there != nil || err != nil {
				return
			}
		}
		annotations = make(map[string]string, 1)
	}
	annotations[s.key] = s.token
	obj.SetAnnotations(annotations)
}

// on reports whether an object carries the mark.
func (s stamp) on(obj metav1.Object) bool {
	return s.key != "" && obj.GetAnnotations()[s.key] == s.token
}

// isAbsent reports whether err says that the object of this name is not there. A 404
// about something else, a namespace or a path that is not served, says no such thing.
func isAbsent(err error, name string) bool {
	if Classify(err).StatusCode == 0 || !apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return false
	}
	details := statusIn(err).Details
	return details != nil && details.Name == name
}

// statusIn is the API status in err, empty if there is none.
func statusIn(err error) metav1.Status {
	var s apierrors.APIStatus
	if errors.As(err, &s) {
		return s.Status()
	}
	return metav1.Status{}
}

// tokenKey is the key that the options ask for.
func tokenKey(opts []Option) string {
	c := resolve(opts)
	if c.given&hasToken == 0 {
		return TokenAnnotation
	}
	return strings.Clone(c.token)
}
