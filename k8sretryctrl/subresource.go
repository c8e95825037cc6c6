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

func (c *retrying) Status() client.SubResourceWriter { return c.SubResource("status") }

func (c *retrying) SubResource(name string) client.SubResourceClient { return &subresource{c, name} }

type subresource struct {
	client *retrying
	name   string
}

// inner is looked up at each call, so that a nil client can be reported.
func (s *subresource) inner() client.SubResourceClient { return s.client.inner.SubResource(s.name) }

func (s *subresource) call(verb string, obj any) string {
	return verb + " " + kindOf(obj) + "/" + s.name
}

func (s *subresource) Get(ctx context.Context, obj, sub client.Object, opts ...client.SubResourceGetOption) error {
	if err := s.client.check(obj, sub); err != nil {
		return err
	}
	return readInto(ctx, s.client, k8sretry.VerbGet, s.call("get", obj), sub, func(ctx context.Context, sub client.Object) error {
		return s.inner().Get(ctx, obj, sub, opts...)
	})
}

// Create is not repeated when it may have been carried out, with two exceptions. A token
// is issued and not stored. And an eviction that names the UID of its pod is repeated like
// the deletion that it is: of a pod on its way out it takes no second disruption from the
// budget, and that the pod is gone is what was asked for. A binding is not: whose the node
// is that the pod has by then, no answer tells.
func (s *subresource) Create(ctx context.Context, obj, sub client.Object, opts ...client.SubResourceCreateOption) error {
	if err := s.client.check(obj, sub); err != nil {
		return err
	}
	o := (&client.SubResourceCreateOptions{}).ApplyOptions(opts)
	verb, evicts := k8sretry.VerbCreate, s.name == "eviction" && namesUID(sub)
	if evicts {
		verb = k8sretry.VerbDelete
	}
	policy, verb := s.client.policy(verb, len(o.DryRun) > 0 || s.name == "token")
	err := s.client.write(ctx, policy, verb, s.call("create", obj), func(ctx context.Context, own owner) error {
		return s.inner().Create(ctx, own(obj), own(sub), opts...)
	})
	if evicts && errors.Is(err, k8sretry.ErrOutcomeUnknown) && isGone(err, obj.GetName()) {
		return nil
	}
	return err
}

// namesUID reports whether an eviction is of one pod, and not of whatever has its name.
func namesUID(eviction client.Object) bool {
	var o *metav1.DeleteOptions
	switch e := eviction.(type) {
	case *policyv1.Eviction:
		o = e.DeleteOptions
	case *policyv1beta1.Eviction:
		o = e.DeleteOptions
	}
	return o != nil && o.Preconditions != nil && o.Preconditions.UID != nil
}

// isGone reports whether err says that the pod is no longer there, or that another one has
// its name (k8s.io/apiserver/pkg/storage/interfaces.go).
func isGone(err error, name string) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return apierrors.IsNotFound(err) && details != nil && details.Name == name ||
		apierrors.IsConflict(err) && strings.Contains(status.Status().Message, "UID in precondition")
}

// Update of a status is k8sretry.Update, proven by what the status holds. Others are
// repeated like any update: the resource version guards them, and a conflict after a
// request of unknown outcome comes with ErrOutcomeUnknown.
func (s *subresource) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	if err := s.client.check(obj); err != nil {
		return err
	}
	o := (&client.SubResourceUpdateOptions{}).ApplyOptions(opts)
	name := s.call("update", obj)
	if s.name == "status" && missing(o.SubResourceBody) {
		return s.client.replace(ctx, name, obj, o.DryRun, &updater{
			reader: reader{s.client, obj}, same: sameStatus,
			send: func(ctx context.Context, obj client.Object) error { return s.inner().Update(ctx, obj, opts...) },
		})
	}
	policy, verb := s.client.policy(k8sretry.VerbUpdate, len(o.DryRun) > 0)
	return s.client.write(ctx, policy, verb, name, func(ctx context.Context, own owner) error {
		opts := opts
		if !missing(o.SubResourceBody) {
			opts = append(opts[:len(opts):len(opts)], client.WithSubResourceBody(own(o.SubResourceBody)))
		}
		return s.inner().Update(ctx, own(obj), opts...)
	})
}

func (s *subresource) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	if err := s.client.check(obj); err != nil {
		return err
	}
	o := (&client.SubResourcePatchOptions{}).ApplyOptions(opts)
	return s.client.patch(ctx, s.call("patch", obj), patch, &o.PatchOptions, func(ctx context.Context, own owner) error {
		opts := opts
		if !missing(o.SubResourceBody) {
			opts = append(opts[:len(opts):len(opts)], client.WithSubResourceBody(own(o.SubResourceBody)))
		}
		return s.inner().Patch(ctx, own(obj), patch, opts...)
	})
}

func (s *subresource) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
	if err := s.client.check(obj); err != nil {
		return err
	}
	o := (&client.SubResourceApplyOptions{}).ApplyOpts(opts)
	policy, verb := s.client.policy(k8sretry.VerbApply, len(o.DryRun) > 0)
	return s.client.run(ctx, policy, verb, s.call("apply", obj), func(ctx context.Context) error {
		return s.inner().Apply(ctx, obj, opts...)
	})
}
