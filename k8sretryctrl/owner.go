// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import "sigs.k8s.io/controller-runtime/pkg/client"

// owner is the field owner that a request is sent with. It is an option of the request, and keeps
// the options that it is applied to: so it sees the owner that the clients below add, before the
// options as client.WithFieldOwner does, or after them.
type owner struct {
	option string        // in the options of the call
	sent   func() string // in those of the last request; nil before it
}

// asOption returns what is known before the first request: the owner in the options of the call.
func asOption(name string) owner { return owner{option: name} }

func (o *owner) ApplyToUpdate(opts *client.UpdateOptions) {
	o.sent = func() string { return opts.FieldManager }
}

func (o *owner) ApplyToPatch(opts *client.PatchOptions) {
	o.sent = func() string {
		if opts.FieldManager == "" && opts.Raw != nil {
			return opts.Raw.FieldManager
		}
		return opts.FieldManager
	}
}

func (o *owner) ApplyToApply(opts *client.ApplyOptions) {
	o.sent = func() string { return opts.FieldManager }
}

func (o *owner) ApplyToSubResourceUpdate(opts *client.SubResourceUpdateOptions) {
	o.ApplyToUpdate(&opts.UpdateOptions)
}

func (o *owner) ApplyToSubResourcePatch(opts *client.SubResourcePatchOptions) {
	o.ApplyToPatch(&opts.PatchOptions)
}

func (o *owner) ApplyToSubResourceApply(opts *client.SubResourceApplyOptions) {
	o.ApplyToApply(&opts.ApplyOptions)
}

// FieldManager is what k8sretry.Updater asks for.
func (o *owner) FieldManager() (manager string, known bool) {
	if o.sent == nil {
		return o.option, o.option != ""
	}
	return o.sent(), true
}

// with returns options with one more.
func with[T any](opts []T, last T) []T { return append(opts[:len(opts):len(opts)], last) }
