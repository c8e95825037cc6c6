package k8sretryctrl

import (
	"context"
	"errors"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	return verb + " " + kindOf(obj) + "/" + s.name
}

func (s *subresource) Get(ctx context.Context, obj, sub client.Object, opts ...client.SubResourceGetOption) error {
	if err := s.client.check(obj, sub); err != nil {
		return err
	}
	return readInto(ctx, s.client, k8sretry.VerbGet, s.callName("get", obj), sub, func(ctx context.Context, sub client.Object) error {
		return s.inner().Get(ctx, obj, sub, opts...)
	})
}

// Create is not retried after an unknown outcome, with two exceptions. A token is issued
// and not stored. An eviction with the UID of its pod is retried like a deletion: a second
// eviction of a terminating pod does not reduce the disruption budget again, and the
// eviction has succeeded if the pod no longer exists. A binding is not retried, because
// the response to the retry does not show which client has bound the pod.
func (s *subresource) Create(ctx context.Context, obj, sub client.Object, opts ...client.SubResourceCreateOption) error {
	if err := s.client.check(obj, sub); err != nil {
		return err
	}
	o := (&client.SubResourceCreateOptions{}).ApplyOptions(opts)
	verb, eviction := k8sretry.VerbCreate, s.name == "eviction" && hasUID(sub)
	if eviction {
		verb = k8sretry.VerbDelete
	}
	verb = verbOf(verb, len(o.DryRun) > 0 || s.name == "token")
	err := s.client.write(ctx, verb, s.callName("create", obj), func(ctx context.Context, copied copier) error {
		return s.inner().Create(ctx, copied(obj), copied(sub), opts...)
	})
	if eviction && errors.Is(err, k8sretry.ErrOutcomeUnknown) && isGone(err, obj.GetName()) {
		return nil
	}
	return err
}

// hasUID reports whether an eviction has the UID of its pod as a precondition.
func hasUID(eviction client.Object) bool {
	var o *metav1.DeleteOptions
	switch e := eviction.(type) {
	case *policyv1.Eviction:
		o = e.DeleteOptions
	case *policyv1beta1.Eviction:
		o = e.DeleteOptions
	}
	return o != nil && o.Preconditions != nil && o.Preconditions.UID != nil
}

// isGone reports whether err means that the pod does not exist, or that another pod has its
// name (k8s.io/apiserver/pkg/storage/interfaces.go).
func isGone(err error, name string) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return apierrors.IsNotFound(err) && details != nil && details.Name == name ||
		apierrors.IsConflict(err) && strings.Contains(status.Status().Message, "UID in precondition")
}

// Update of a status calls k8sretry.Update and is verified by the content of the status.
// An update of another subresource is retried like any update: the resource version
// prevents a second update, and a conflict after an unknown outcome wraps
// ErrOutcomeUnknown.
func (s *subresource) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	if err := s.client.check(obj); err != nil {
		return err
	}
	o := (&client.SubResourceUpdateOptions{}).ApplyOptions(opts)
	name := s.callName("update", obj)
	if s.name == "status" && isNil(o.SubResourceBody) {
		return s.client.replace(ctx, name, obj, o.DryRun, &updater{
			reader: reader{s.client, obj}, same: sameStatus,
			send: func(ctx context.Context, obj client.Object) error { return s.inner().Update(ctx, obj, opts...) },
		})
	}
	verb := verbOf(k8sretry.VerbUpdate, len(o.DryRun) > 0)
	return s.client.write(ctx, verb, name, func(ctx context.Context, copied copier) error {
		opts := opts
		if !isNil(o.SubResourceBody) {
			opts = append(opts[:len(opts):len(opts)], client.WithSubResourceBody(copied(o.SubResourceBody)))
		}
		return s.inner().Update(ctx, copied(obj), opts...)
	})
}

func (s *subresource) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	if err := s.client.check(obj); err != nil {
		return err
	}
	o := (&client.SubResourcePatchOptions{}).ApplyOptions(opts)
	return s.client.patch(ctx, s.callName("patch", obj), patch, &o.PatchOptions, func(ctx context.Context, copied copier) error {
		opts := opts
		if !isNil(o.SubResourceBody) {
			opts = append(opts[:len(opts):len(opts)], client.WithSubResourceBody(copied(o.SubResourceBody)))
		}
		return s.inner().Patch(ctx, copied(obj), patch, opts...)
	})
}

func (s *subresource) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
	if err := s.client.check(obj); err != nil {
		return err
	}
	o := (&client.SubResourceApplyOptions{}).ApplyOpts(opts)
	verb := verbOf(k8sretry.VerbApply, len(o.DryRun) > 0)
	return s.client.run(ctx, s.client.writes, verb, s.callName("apply", obj), func(ctx context.Context) error {
		return s.inner().Apply(ctx, obj, opts...)
	})
}
