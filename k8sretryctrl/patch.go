package k8sretryctrl

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

func (c *retrying) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.PatchOptions{}).ApplyOptions(opts)
	return c.patch(ctx, "patch "+kindOf(obj), patch, o, func(ctx context.Context, own owner) error {
		return c.inner.Patch(ctx, own(obj), patch, opts...)
	})
}

// patch sends a patch by the rules of its type.
func (c *retrying) patch(ctx context.Context, name string, patch client.Patch, o *client.PatchOptions, send func(context.Context, owner) error) error {
	if missing(patch) {
		return errNilPatch
	}
	dryRun := len(o.DryRun) > 0 || o.Raw != nil && len(o.Raw.DryRun) > 0
	verb := k8sretry.VerbPatch
	switch patch.Type() {
	case types.ApplyYAMLPatchType, types.ApplyCBORPatchType:
		verb = k8sretry.VerbApply
	case types.JSONPatchType:
		if !dryRun {
			send = onceIfInDoubt(name, send)
		}
	}
	policy, verb := c.policy(verb, dryRun)
	return c.write(ctx, policy, verb, name, send)
}

// onceIfInDoubt keeps a JSON patch, which may append to a list, from being repeated when
// it may have been carried out. Where there is a wire, k8sretry sees the patch on it and
// knows more than an error tells; a fake has none.
func onceIfInDoubt(name string, send func(context.Context, owner) error) func(context.Context, owner) error {
	attempts := 0
	return func(ctx context.Context, own owner) error {
		attempts++
		var wire atomic.Bool
		err := send(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) { wire.Store(true) }}), own)
		v := k8sretry.Classify(err)
		if err == nil || wire.Load() || v.Outcome == k8sretry.OutcomeNotExecuted || !v.Retryable(k8sretry.VerbPatch) {
			return err
		}
		return &k8sretry.Error{
			Function: name, Verb: k8sretry.VerbPatch, Attempts: attempts, StopReason: k8sretry.StopOutcomeUnknown,
			RetryAfter: v.RetryAfter, Outcome: v.Outcome, Err: err,
		}
	}
}

// Apply is repeated whatever became of the request before: applying twice is applying
// once, for one field owner. A conflict about the ownership of fields is never repeated.
func (c *retrying) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.ApplyOptions{}).ApplyOptions(opts)
	policy, verb := c.policy(k8sretry.VerbApply, len(o.DryRun) > 0)
	return c.run(ctx, policy, verb, "apply "+kindOf(obj), func(ctx context.Context) error {
		return c.inner.Apply(ctx, obj, opts...)
	})
}
