package k8sretryctrl

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
	keepKind(found, r.obj)
	return found, nil
}

// getLive reads obj from the server. The Get of a manager's client reads from a cache, which
// may be stale or contain only some of the objects. Subresources are not cached, and the
// subresource with an empty name is the object itself.
//
// getLive uses Get if the client is a fake or a mock without that subresource.
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
	if isNil(object) {
		return c.inner.Get(ctx, key, obj)
	}
	err := object.Get(ctx, into, into)
	switch {
	case isUnsupported(err):
		return c.inner.Get(ctx, key, obj)
	case err != nil || !isPartial:
		return err
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(into.(*unstructured.Unstructured).Object, partial)
}

// isUnsupported reports whether err is that of the fake of controller-runtime, which reads
// no subresources but scale. Any other error may be one of a client with a cache.
func isUnsupported(err error) bool {
	return err != nil && strings.Contains(err.Error(), "fakeSubResourceClient does not support get")
}

// localAnnotation is the annotation in which k8sretry.Create and k8sretry.Update pass their
// token to creator and updater, which remove it before they send the object.
const localAnnotation = "k8sretryctrl.k8sretry.dev/local"

// updater implements k8sretry.Updater with the client.
//
// It does not send the token. A new token in each update would change the object even if
// the update changes nothing else, and a controller that watches the object would update
// it forever. Instead, Get and Watch add the token to an object with the content that was
// sent, by the same field manager. The content may also be that of an identical write by
// another process with that field manager, which has the same effect.
type updater struct {
	reader
	send        func(context.Context, client.Object) error
	same        func(sent, found client.Object) bool
	manager     string // "" if unknown
	subresource string
	sent        client.Object // the object passed by k8sretry.Update
	token       string
}

func (u *updater) Update(ctx context.Context, obj client.Object, _ metav1.UpdateOptions) (client.Object, error) {
	stored := copyOf(obj)
	u.sent, u.token = obj, takeToken(stored)
	if err := u.send(ctx, stored); err != nil {
		return nil, err
	}
	return stored, nil
}

func (u *updater) Get(ctx context.Context, name string, opts metav1.GetOptions) (client.Object, error) {
	found, err := u.reader.Get(ctx, name, opts)
	if err == nil && u.isSent(found) {
		setAnnotation(found, localAnnotation, u.token)
	}
	return found, err
}

// isSent reports whether an object is as this call has sent it.
func (u *updater) isSent(found client.Object) bool {
	return u.token != "" && u.same(u.sent, found) && u.isByManager(found)
}

// isByManager reports whether the field manager of this call has written found. Servers and
// fakes without managed fields do not say who has.
func (u *updater) isByManager(found client.Object) bool {
	fields := found.GetManagedFields()
	if u.manager == "" || len(fields) == 0 {
		return true
	}
	for _, f := range fields {
		if u.isManager(f) {
			return true
		}
	}
	return false
}

func (u *updater) isManager(f metav1.ManagedFieldsEntry) bool {
	return f.Operation == metav1.ManagedFieldsOperationUpdate && f.Subresource == u.subresource && (u.manager == "" || f.Manager == u.manager)
}

// isForeign reports whether another writer has made a change of the object that was sent.
// The server sets the time in the managed fields of the writer, so it was another writer if
// only such times are new.
func (u *updater) isForeign(changed client.Object) bool {
	before := u.sent.GetManagedFields()
	foreign := false
	for _, f := range changed.GetManagedFields() {
		isNew := true
		for _, b := range before {
			if b.Manager == f.Manager && b.Operation == f.Operation && b.Subresource == f.Subresource && b.APIVersion == f.APIVersion {
				isNew = f.Time != nil && (b.Time == nil || f.Time.After(b.Time.Time))
			}
		}
		if isNew && u.isManager(f) {
			return false
		}
		foreign = foreign || isNew
	}
	return foreign && len(before) > 0
}

// Watch reports the first change after a version to k8sretry.Update, with the token if this
// call has made it. It reports nothing if that cannot be determined. An inner client without
// Watch, such as that of a manager, cannot determine it.
func (u *updater) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	if u.token == "" {
		return u.client.watch(ctx, u.obj, opts)
	}
	event, err := u.client.firstChange(ctx, u.obj, opts)
	if event == nil || err != nil {
		return nil, err
	}
	changed, ok := event.Object.(client.Object)
	switch {
	case !ok:
		return nil, nil
	case event.Type == watch.Deleted:
	case u.isSent(changed):
		setAnnotation(changed, localAnnotation, u.token)
	case u.isForeign(changed):
		setAnnotation(changed, localAnnotation, "of another writer")
	default:
		return nil, nil
	}
	return single(*event), nil
}

// single returns a watch of one event.
func single(event watch.Event) watch.Interface {
	w := watch.NewFakeWithChanSize(1, false)
	w.Action(event.Type, event.Object)
	return w
}

// firstChange returns the first change of an object after a version, or nil if it cannot be
// determined.
func (c *retryClient) firstChange(ctx context.Context, obj client.Object, opts metav1.ListOptions) (*watch.Event, error) {
	w, err := c.watch(ctx, obj, opts)
	if err != nil || w == nil {
		return nil, err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case event, open := <-w.ResultChan():
			switch {
			case !open:
				return nil, fmt.Errorf("k8sretryctrl: the watch ended before it reported a change: %w", io.ErrUnexpectedEOF)
			case event.Type == watch.Error:
				return nil, apierrors.FromObject(event.Object)
			case event.Type == watch.Bookmark:
				continue
			}
			changed, ok := event.Object.(client.Object)
			if !ok || changed.GetName() != obj.GetName() {
				continue
			}
			if event.Type == watch.Added || !isAfter(changed.GetResourceVersion(), opts.ResourceVersion) {
				// The server has no history: it begins with the objects as they are now.
				return nil, nil
			}
			keepKind(changed, obj)
			return &event, nil
		}
	}
}

// watch watches the kind and the namespace of an object. It returns nil if the inner client has
// no Watch.
func (c *retryClient) watch(ctx context.Context, obj client.Object, opts metav1.ListOptions) (watch.Interface, error) {
	inner, list := c.Unwrap(), c.listOf(obj)
	if inner == nil || list == nil {
		return nil, nil
	}
	return inner.Watch(ctx, list, client.InNamespace(obj.GetNamespace()), &client.ListOptions{Raw: &opts})
}

// isAfter reports whether a resource version is higher than another. Versions that are not
// numbers cannot be compared, and count as higher if they differ.
func isAfter(version, than string) bool {
	v, err := strconv.ParseUint(version, 10, 64)
	t, errThan := strconv.ParseUint(than, 10, 64)
	if err != nil || errThan != nil {
		return version != than
	}
	return v > t
}

// setAnnotation adds an annotation to an object.
func setAnnotation(obj client.Object, key, value string) {
	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = make(map[string]string, 1)
	}
	annotations[key] = value
	obj.SetAnnotations(annotations)
}

// takeToken removes the local token from an object and returns it.
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
