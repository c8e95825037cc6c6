// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

func (c *retryClient) Status() client.SubResourceWriter { return c.SubResource("status") }

func (c *retryClient) SubResource(name string) client.SubResourceClient { return &subresource{c, name} }

type subresource struct {
	client *retryClient
	name   string
}

// inner returns the inner client of the subresource. It must follow check, which reports a
// nil client.
func (s *subresource) inner() client.SubResourceClient { return s.client.inner.SubResource(s.name) }

func (s *subresource) callName(verb string, obj any) string {
	return verb + " " + s.client.resourceOf(obj) + "/" + s.name
}

// checkBody checks an object and the body of a subresource, whose type need not be in the
// scheme.
func (s *subresource) checkBody(obj, body client.Object) error {
	if err := s.client.check(obj); err != nil {
		return err
	}
	if isNil(body) {
		return errNilObject
	}
	return nil
}

func (s *subresource) Get(ctx context.Context, obj, sub client.Object, opts ...client.SubResourceGetOption) error {
	if err := s.checkBody(obj, sub); err != nil {
		return err
	}
	return readInto(ctx, s.client, k8sretry.VerbGet, s.callName("get", obj), sub, func(ctx context.Context, sub client.Object) error {
		return s.inner().Get(ctx, obj, sub, opts...)
	})
}

// Create is not retried after an unknown outcome, with three exceptions: a token, which is
// issued and not stored, and an eviction and a binding, see evict and bind.
//
// sub may be of a type that is not in the scheme, as for the inner client.
func (s *subresource) Create(ctx context.Context, obj, sub client.Object, opts ...client.SubResourceCreateOption) error {
	if err := s.checkBody(obj, sub); err != nil {
		return err
	}
	o := (&client.SubResourceCreateOptions{}).ApplyOptions(opts)
	dryRun := len(o.DryRun) > 0
	switch s.name {
	case "eviction":
		return s.evict(ctx, obj, sub, dryRun, opts)
	case "binding":
		return s.bind(ctx, obj, sub, dryRun, opts)
	}
	verb := verbOf(k8sretry.VerbCreate, dryRun || s.name == "token")
	return s.client.write(ctx, verb, s.callName("create", obj), func(ctx context.Context, copied copier) error {
		return s.inner().Create(ctx, copied(obj), copied(sub), opts...)
	})
}

// Update of a status calls k8sretry.Update and is verified by the content of the status.
// An update of another subresource that is known to replace state is retried like any update:
// the resource version prevents a second update. All others may be actions. A conflict after an unknown outcome is checked by what the
// subresource stores, see isUpdated.
func (s *subresource) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	if err := s.client.check(obj); err != nil {
		return err
	}
	o := (&client.SubResourceUpdateOptions{}).ApplyOptions(opts)
	name := s.callName("update", obj)
	if s.name == "status" && isNil(o.SubResourceBody) {
		u := &updater{reader: reader{s.client, obj}, owner: asOption(o.FieldManager), subresource: "status"}
		opts = with(opts, client.SubResourceUpdateOption(&u.owner))
		u.send = func(ctx context.Context, obj client.Object) error { return s.inner().Update(ctx, obj, opts...) }
		return s.client.replace(ctx, name, obj, o.DryRun, u)
	}
	verb := verbOf(verbAt(s.name, k8sretry.VerbUpdate), len(o.DryRun) > 0)
	return s.client.writeProven(ctx, verb, name, func(ctx context.Context, copied copier) error {
		opts := opts
		if !isNil(o.SubResourceBody) {
			opts = with(opts, client.SubResourceUpdateOption(client.WithSubResourceBody(copied(o.SubResourceBody))))
		}
		return s.inner().Update(ctx, copied(obj), opts...)
	}, func(ctx context.Context, _ error) (fate, error) { return s.isUpdated(ctx, obj, o.SubResourceBody) })
}

// verbAt returns the verb of a write to a subresource, "" for the object itself: that of a create
// if the write may be an action, such as the restart of a virtual machine. It is not retried
// while its outcome is unknown, as over a k8sretry.Transport.
func verbAt(subresource string, verb k8sretry.Verb) k8sretry.Verb {
	switch subresource {
	case "", "status", "scale", "finalize", "approval", "ephemeralcontainers", "resize":
		return verb
	}
	return k8sretry.VerbCreate
}

// isUpdated finds out whether the server has stored an update of a subresource, and sets the
// object that was sent to what it has stored:
//
//	approval           the conditions of the status, which are not changed again
//	scale              the spec of the body
//	others             unknown
func (s *subresource) isUpdated(ctx context.Context, obj, body client.Object) (fate, error) {
	switch {
	case s.name == "approval" && isNil(body):
		found, err := s.client.look(ctx, obj)
		if err != nil || !isSameUID(obj, found) || !includesField(found, obj, "status", "conditions") {
			return unproven, err
		}
		assign(obj, found)
		return done, nil
	case s.name == "scale" && !isNil(body):
		found := newOf(body)
		if err := s.inner().Get(ctx, copyOf(obj), found); err != nil {
			return unproven, err
		}
		keepKind(found, body)
		if !isSameUID(body, found) || replicasOf(found) != replicasOf(body) {
			return unproven, nil
		}
		assign(body, found)
		return done, nil
	}
	return unproven, nil
}

// replicasOf returns spec.replicas of a Scale, which is not sent if it is 0.
func replicasOf(scale client.Object) float64 {
	n, _, _ := unstructured.NestedFloat64(contentOf(scale), "spec", "replicas")
	return n
}

// isSameUID reports whether found has the UID of sent, if that has one.
func isSameUID(sent, found client.Object) bool {
	return sent.GetUID() == "" || sent.GetUID() == found.GetUID()
}

func (s *subresource) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	if err := s.client.check(obj); err != nil {
		return err
	}
	o := (&client.SubResourcePatchOptions{}).ApplyOptions(opts)
	patched := obj
	var stored client.Object
	if !isNil(o.SubResourceBody) {
		patched = o.SubResourceBody
	} else if s.name == "status" {
		stored = obj
	}
	as := asOption(o.FieldManager)
	opts = with(opts, client.SubResourcePatchOption(&as))
	return s.client.patch(ctx, s.callName("patch", obj), patched, stored, patch, &o.PatchOptions, &as, s.name, func(ctx context.Context, copied copier) error {
		opts := opts
		if !isNil(o.SubResourceBody) {
			opts = with(opts, client.SubResourcePatchOption(client.WithSubResourceBody(copied(o.SubResourceBody))))
		}
		return s.inner().Patch(ctx, copied(obj), patch, opts...)
	})
}

func (s *subresource) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
	if err := s.client.check(obj); err != nil {
		return err
	}
	o := (&client.SubResourceApplyOptions{}).ApplyOpts(opts)
	as := asOption(o.FieldManager)
	opts = with(opts, client.SubResourceApplyOption(&as))
	return s.client.apply(ctx, s.callName("apply", obj), obj, &o.ApplyOptions, &as, s.name, func(ctx context.Context) error {
		return s.inner().Apply(ctx, obj, opts...)
	})
}
