// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import "sigs.k8s.io/controller-runtime/pkg/client"

// owner is the field owner that a request is sent with. It is an option of the request that comes
// after all others, so that it sees the owner that client.WithFieldOwner adds.
type owner struct {
	name string
	seen bool
}

// asOption returns what is known before the first request: the owner in the options of the call.
func asOption(name string) owner { return owner{name, name != ""} }

func (o *owner) see(name string) { o.name, o.seen = name, true }

func (o *owner) ApplyToUpdate(opts *client.UpdateOptions) { o.see(opts.FieldManager) }
func (o *owner) ApplyToPatch(opts *client.PatchOptions)   { o.see(opts.FieldManager) }
func (o *owner) ApplyToApply(opts *client.ApplyOptions)   { o.see(opts.FieldManager) }

func (o *owner) ApplyToSubResourceUpdate(opts *client.SubResourceUpdateOptions) {
	o.see(opts.FieldManager)
}

func (o *owner) ApplyToSubResourcePatch(opts *client.SubResourcePatchOptions) {
	o.see(opts.FieldManager)
}

func (o *owner) ApplyToSubResourceApply(opts *client.SubResourceApplyOptions) {
	o.see(opts.FieldManager)
}

// FieldManager is what k8sretry.Updater asks for.
func (o *owner) FieldManager() (manager string, known bool) { return o.name, o.seen }

// with returns options with one more.
func with[T any](opts []T, last T) []T { return append(opts[:len(opts):len(opts)], last) }
