// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"
)

// Install adds the faults to a fake clientset, before all of its reactors. Every fake
// of client-go has a testing.Fake: pass &clientset.Fake of a typed, dynamic or metadata
// clientset. The fake records calls that fail in its Actions, like all others. An error of this
// package that names the pod web-0 is about the object of the call instead, as by [Named].
//
// Call Install before the clientset is used. Several Faults can be installed in one
// clientset.
func (f *Faults) Install(fake *clienttesting.Fake) {
	fake.Lock()
	defer fake.Unlock()
	fake.ReactionChain = slices.Insert(slices.Clone(fake.ReactionChain), 0, clienttesting.Reactor(&reactor{f, fake}))
	fake.WatchReactionChain = slices.Insert(slices.Clone(fake.WatchReactionChain), 0, clienttesting.WatchReactor(&watchReactor{f}))
}

// callOfAction returns the verb and resource of an action, as RBAC names them.
func callOfAction(action clienttesting.Action) call {
	c := call{action.GetVerb(), action.GetResource().Resource}
	if sub := action.GetSubresource(); sub != "" {
		c.resource += "/" + sub
	}
	switch c.verb {
	case "delete-collection":
		c.verb = "deletecollection"
	case "patch":
		if p, ok := action.(clienttesting.PatchAction); ok && isApply(p.GetPatchType()) {
			c.verb = "apply"
		}
	}
	return c
}

// named is an error about the object of an action.
func named(err error, action clienttesting.Action) error {
	name := ""
	switch a := action.(type) {
	case clienttesting.CreateActionImpl:
		name = a.Name // of a subresource
	case interface{ GetName() string }:
		name = a.GetName()
	}
	if a, ok := action.(interface{ GetObject() runtime.Object }); ok && name == "" {
		if obj, err := meta.Accessor(a.GetObject()); err == nil {
			name = obj.GetName()
		}
	}
	return Named(err, action.GetResource().GroupResource(), name)
}

// applyCBORPatchType is types.ApplyCBORPatchType, which apimachinery v0.31 lacks.
const applyCBORPatchType types.PatchType = "application/apply-patch+cbor"

func isApply(t types.PatchType) bool {
	return t == types.ApplyPatchType || t == applyCBORPatchType
}

// reactor is a Faults in the reaction chain of one fake. The fake holds its lock while
// a reactor runs, so the chain does not change.
type reactor struct {
	faults *Faults
	fake   *clienttesting.Fake
}

func (r *reactor) Handles(clienttesting.Action) bool { return true }

func (r *reactor) React(action clienttesting.Action) (handled bool, obj runtime.Object, err error) {
	fault := r.faults.next(callOfAction(action), false)
	switch {
	case fault.react != nil:
		handled, obj, err = reactAfter(r.fake, r, action)
		r.letOthersWrite(fault.react)
		if fault.err == nil {
			return handled, obj, err
		}
	case fault.err == nil:
		return false, nil, nil
	case fault.execute:
		_, _, _ = reactAfter(r.fake, r, action)
	}
	return true, nil, named(fault.err, action)
}

// letOthersWrite calls react without the lock of the fake, which is held while a reactor
// runs.
func (r *reactor) letOthersWrite(react func()) {
	r.fake.Unlock()
	defer r.fake.Lock()
	react()
}

// reactAfter passes an action to the reactors that follow self in the chain of fake.
func reactAfter(fake *clienttesting.Fake, self clienttesting.Reactor, action clienttesting.Action) (handled bool, obj runtime.Object, err error) {
	chain := fake.ReactionChain
	for _, next := range chain[slices.Index(chain, self)+1:] {
		if !next.Handles(action) {
			continue
		}
		if handled, obj, err := next.React(action); handled {
			return true, obj, err
		}
	}
	return false, nil, nil
}

// watchReactor is a Faults in the watch reaction chain of a fake.
type watchReactor struct{ faults *Faults }

func (r *watchReactor) Handles(clienttesting.Action) bool { return true }

// React does not start a watch whose response is lost: no caller could stop it.
func (r *watchReactor) React(action clienttesting.Action) (handled bool, w watch.Interface, err error) {
	fault := r.faults.next(callOfAction(action), false)
	return fault.err != nil, nil, named(fault.err, action)
}
