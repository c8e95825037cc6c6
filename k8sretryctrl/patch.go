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

func (c *retryClient) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.PatchOptions{}).ApplyOptions(opts)
	return c.patch(ctx, "patch "+kindOf(obj), patch, o, func(ctx context.Context, copied copier) error {
		return c.inner.Patch(ctx, copied(obj), patch, opts...)
	})
}

// patch sends a patch with the verb of its type.
func (c *retryClient) patch(ctx context.Context, name string, patch client.Patch, o *client.PatchOptions, send func(context.Context, copier) error) error {
	if isNil(patch) {
		return errNilPatch
	}
	dryRun := len(o.DryRun) > 0 || o.Raw != nil && len(o.Raw.DryRun) > 0
	verb := k8sretry.VerbPatch
	switch patch.Type() {
	case types.ApplyYAMLPatchType, types.ApplyCBORPatchType:
		verb = k8sretry.VerbApply
	case types.JSONPatchType:
		if !dryRun {
			send = stopOnUnknownOutcome(name, send)
		}
	}
	verb = verbOf(verb, dryRun)
	return c.write(ctx, verb, name, send)
}

// stopOnUnknownOutcome stops the retries of a JSON patch, which may append to a list, after
// an attempt with an unknown outcome. k8sretry does so itself if it observes the HTTP
// request of the patch. A fake client makes no HTTP request.
func stopOnUnknownOutcome(name string, send func(context.Context, copier) error) func(context.Context, copier) error {
	attempts := 0
	return func(ctx context.Context, copied copier) error {
		attempts++
		var sent atomic.Bool
		err := send(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) { sent.Store(true) }}), copied)
		v := k8sretry.Classify(err)
		if err == nil || sent.Load() || v.Outcome == k8sretry.OutcomeNotExecuted || !v.Retryable(k8sretry.VerbPatch) {
			return err
		}
		return &k8sretry.Error{
			Function: name, Verb: k8sretry.VerbPatch, Attempts: attempts, StopReason: k8sretry.StopOutcomeUnknown,
			RetryAfter: v.RetryAfter, Outcome: v.Outcome, Err: err,
		}
	}
}

// Apply is retried whatever its outcome, because a second apply by the same field owner has
// no further effect. A conflict about field ownership is not retried.
func (c *retryClient) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.ApplyOptions{}).ApplyOptions(opts)
	verb := verbOf(k8sretry.VerbApply, len(o.DryRun) > 0)
	return c.run(ctx, c.writes, verb, "apply "+kindOf(obj), func(ctx context.Context) error {
		return c.inner.Apply(ctx, obj, opts...)
	})
}
