// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"bytes"
	"context"
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

func (c *retryClient) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.PatchOptions{}).ApplyOptions(opts)
	as := asOption(o.FieldManager)
	opts = with(opts, client.PatchOption(&as))
	return c.patch(ctx, "patch "+c.resourceOf(obj), obj, obj, patch, o, &as, "", func(ctx context.Context, copied copier) error {
		return c.inner.Patch(ctx, copied(obj), patch, opts...)
	})
}

// patch sends a patch of obj as k8sretry.Patch does. stored is the
// object that the server patches, or nil if it is another one.
func (c *retryClient) patch(
	ctx context.Context, name string, obj, stored client.Object, patch client.Patch, o *client.PatchOptions, as *owner, subresource string,
	send func(context.Context, copier) error,
) error {
	if isNil(patch) {
		return errNilPatch
	}
	dryRun := len(o.DryRun) > 0 || o.Raw != nil && len(o.Raw.DryRun) > 0
	data, err := patch.Data(obj)
	if err != nil {
		return err
	}
	sent := guarded(patch.Type(), data)
	if dryRun || sent == nil || stored == nil {
		opts := metav1.PatchOptions{}
		if dryRun {
			opts.DryRun = []string{metav1.DryRunAll}
		}
		policy, to := c.writes, k8sretry.Patcher[client.Object](patcher{obj, send})
		if stored != nil && !dryRun && mayNameVersion(data) {
			policy, to = c.checked, provenPatcher{patcher{obj, send}, reader{c, stored}, as}
		}
		if subresource != "" {
			to = k8sretry.PatchSubresource(to, subresource)
		}
		patched, err := k8sretry.Patch(ctx, to, obj.GetName(), patch.Type(), data, opts, k8sretry.WithName(name), policy)
		if err == nil && patched != obj {
			keepKind(patched, obj)
			assign(obj, patched)
		}
		return err
	}
	// The resource version prevents a second patch, as that of an update does. After a Conflict
	// the object shows whether the first one was carried out.
	return c.writeProven(ctx, k8sretry.VerbUpdate, name, send, func(ctx context.Context, _ error) (fate, error) {
		found, err := c.look(ctx, stored)
		if err != nil {
			return unproven, err
		}
		manager, _ := as.FieldManager()
		isDone := isApplied(found, sent, manager, subresource)
		if isDone {
			assign(stored, found)
		}
		return doneIf(isDone), nil
	})
}

// patcher implements k8sretry.Patcher. It sets obj to the response.
type patcher struct {
	obj  client.Object
	send func(context.Context, copier) error
}

func (p patcher) Patch(ctx context.Context, _ string, _ types.PatchType, _ []byte, _ metav1.PatchOptions, _ ...string) (client.Object, error) {
	return p.obj, attempt(ctx, p.send)
}

// provenPatcher can also determine the outcome of a patch. It does not change obj, because a
// success without an object is none.
type provenPatcher struct {
	patcher
	reader
	*owner
}

func (p provenPatcher) Patch(ctx context.Context, _ string, _ types.PatchType, _ []byte, _ metav1.PatchOptions, _ ...string) (client.Object, error) {
	var patched client.Object
	err := p.send(ctx, func(obj client.Object) client.Object {
		patched = copyOf(obj)
		return patched
	})
	return patched, err
}

func (p provenPatcher) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	return p.client.watch(ctx, p.reader.obj, opts)
}

// mayNameVersion reports whether a patch may name the resource version of the object.
func mayNameVersion(data []byte) bool { return bytes.Contains(data, []byte("resourceVersion")) }

// guarded returns the content of an apply patch that has a resource version, or nil for any
// other patch.
func guarded(kind types.PatchType, data []byte) *unstructured.Unstructured {
	if kind != types.ApplyPatchType && kind != types.ApplyCBORPatchType {
		return nil
	}
	sent := &unstructured.Unstructured{}
	if json.Unmarshal(data, &sent.Object) != nil || sent.GetResourceVersion() == "" {
		return nil
	}
	return sent
}

// Apply is retried whatever its outcome, because a second apply by the same field owner has
// no further effect. A conflict about field ownership is not retried. For a configuration
// with a resource version, see apply.
func (c *retryClient) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.ApplyOptions{}).ApplyOptions(opts)
	as := asOption(o.FieldManager)
	opts = with(opts, client.ApplyOption(&as))
	return c.apply(ctx, "apply "+c.resourceOf(obj), obj, o, &as, "", func(ctx context.Context) error {
		return c.inner.Apply(ctx, obj, opts...)
	})
}

// apply sends an apply configuration. With a resource version, the apply cannot be repeated
// after a success: the server answers with a Conflict, as for an update. Then the object shows
// whether the apply was carried out.
func (c *retryClient) apply(
	ctx context.Context, name string, obj runtime.ApplyConfiguration, o *client.ApplyOptions, as *owner, subresource string,
	send func(context.Context) error,
) error {
	dryRun := len(o.DryRun) > 0
	applied := appliedOf(obj)
	if applied.GetAPIVersion() == "" || applied.GetKind() == "" {
		return send(ctx) // inner refuses it, without a request
	}
	if dryRun || applied.GetResourceVersion() == "" {
		return c.run(ctx, c.writes, verbOf(verbAt(subresource, k8sretry.VerbApply), dryRun), name, send)
	}
	return c.prove(ctx, verbAt(subresource, k8sretry.VerbUpdate), name, send, func(ctx context.Context, _ error) (fate, error) {
		found, err := c.look(ctx, applied)
		manager, _ := as.FieldManager()
		if err != nil || !isApplied(found, applied, manager, subresource) {
			return unproven, err
		}
		// As after a success, the configuration has the content of the response.
		text, err := json.Marshal(found)
		return doneIf(err == nil && json.Unmarshal(text, obj) == nil), nil
	})
}

// appliedOf returns the content of an apply configuration.
func appliedOf(obj runtime.ApplyConfiguration) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	if text, err := json.Marshal(obj); err != nil || json.Unmarshal(text, &u.Object) != nil {
		u.Object = nil
	}
	return u
}

// isApplied reports whether found has all that a field manager has applied, and the field manager
// owns just that: an apply also removes the fields that its manager has applied before, and takes
// part in the ownership of fields that have the value already.
func isApplied(found, applied client.Object, manager, subresource string) bool {
	f, a := contentOf(found), contentOf(applied)
	if !isSameUID(applied, found) || f == nil || a == nil || !includes(f, a) {
		return false
	}
	owns := len(found.GetManagedFields()) == 0 // of a fake
	for _, e := range found.GetManagedFields() {
		if e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == subresource && (manager == "" || e.Manager == manager) {
			if !ownsJust(e.FieldsV1, f, a, subresource) {
				return false
			}
			owns = true
		}
	}
	return owns
}
