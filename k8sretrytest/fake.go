package k8sretrytest

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"
)

// Install puts the faults into a fake clientset, before all of its reactors. Every
// fake of client-go has a testing.Fake: pass &clientset.Fake of the typed, dynamic
// or metadata one. Calls that fail are in its Actions, like all others.
//
// Install before the clientset is used; more than one Faults can be installed.
func (f *Faults) Install(fake *clienttesting.Fake) {
	fake.Lock()
	defer fake.Unlock()
	fake.ReactionChain = slices.Insert(slices.Clone(fake.ReactionChain), 0, clienttesting.Reactor(&reactor{f, fake}))
	fake.WatchReactionChain = slices.Insert(slices.Clone(fake.WatchReactionChain), 0, clienttesting.WatchReactor(&watchReactor{f, fake}))
}

// seen says what a fake is asked to do, in the words of RBAC.
func seen(action clienttesting.Action) call {
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

func isApply(t types.PatchType) bool {
	return t == types.ApplyYAMLPatchType || t == types.ApplyCBORPatchType
}

// reactor is a Faults in the chain of one fake. The fake holds its lock while it
// reacts, so that the chain does not move.
type reactor struct {
	faults *Faults
	fake   *clienttesting.Fake
}

func (r *reactor) Handles(clienttesting.Action) bool { return true }

func (r *reactor) React(action clienttesting.Action) (handled bool, obj runtime.Object, err error) {
	fault := r.faults.next(seen(action))
	if fault.err == nil {
		return false, nil, nil
	}
	if fault.after {
		_, _, _ = behind(r.fake, r, action)
	}
	return true, nil, fault.err
}

// behind hands an action to the reactors that come after one in its chain.
func behind(fake *clienttesting.Fake, self clienttesting.Reactor, action clienttesting.Action) (handled bool, obj runtime.Object, err error) {
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

// watchReactor is the twin of reactor in the other chain.
type watchReactor struct {
	faults *Faults
	fake   *clienttesting.Fake
}

func (r *watchReactor) Handles(clienttesting.Action) bool { return true }

// React starts no watch whose answer is lost: it would be one that nobody can stop.
func (r *watchReactor) React(action clienttesting.Action) (handled bool, w watch.Interface, err error) {
	fault := r.faults.next(seen(action))
	return fault.err != nil, nil, fault.err
}
