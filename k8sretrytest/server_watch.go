// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"fmt"
	"math"
	"strconv"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"
)

// storedChange is one change of an object. A deletion has the resourceVersion of the write
// before it.
type storedChange struct {
	watch.EventType
	version int64
	obj     runtime.Object
}

// remember adds a change to the history.
func (s *serverRules) remember(a clienttesting.Action, version int64, obj runtime.Object) {
	change := storedChange{watch.Modified, version, obj.DeepCopyObject()}
	switch a.(type) {
	case clienttesting.CreateActionImpl:
		change.EventType = watch.Added
	case clienttesting.DeleteActionImpl:
		change.EventType = watch.Deleted
	}
	s.history[a.GetResource()] = append(s.history[a.GetResource()], change)
}

// maxReplayed is less than the 100 events that fit into the channel of a fake watch, which
// nothing reads while the watch begins.
const maxReplayed = 90

// watchRules makes watches begin with the changes since their resourceVersion.
type watchRules struct{ server *serverRules }

func (r *watchRules) Handles(clienttesting.Action) bool { return true }

func (r *watchRules) React(action clienttesting.Action) (handled bool, w watch.Interface, err error) {
	a, ok := action.(clienttesting.WatchActionImpl)
	if !ok || a.ListOptions.ResourceVersion == "" || a.ListOptions.ResourceVersion == "0" {
		return false, nil, nil // begins with all objects
	}
	from, err := strconv.ParseInt(a.ListOptions.ResourceVersion, 10, 64)
	if err != nil {
		return true, nil, apierrors.NewBadRequest(fmt.Sprintf("invalid resource version %q: %v", a.ListOptions.ResourceVersion, err))
	}
	var events []watch.Event
	if selects(r.server.withoutHistory, a) {
		a.ListOptions.ResourceVersion = "" // all that exists
	} else {
		a.ListOptions.ResourceVersion = strconv.FormatInt(math.MaxInt64, 10) // nothing that exists
		if events, err = r.server.eventsSince(a, from); err != nil {
			return true, nil, err
		}
	}
	w, err = r.startAfter(a)
	fake, ok := w.(*watch.RaceFreeFakeWatcher)
	if err != nil || !ok {
		return w != nil || err != nil, w, err
	}
	for range len(fake.ResultChan()) {
		e := <-fake.ResultChan()
		if m, err := meta.Accessor(e.Object); err == nil && watched(a, m) && setInitialMeta(a.GetResource(), e.Object) == nil {
			events = append(events, e)
		}
	}
	for _, e := range events {
		fake.Action(e.Type, e.Object)
	}
	return true, w, nil
}

// startAfter passes a watch to the reactors that follow.
func (r *watchRules) startAfter(a clienttesting.Action) (watch.Interface, error) {
	passed := false
	for _, next := range r.server.fake.WatchReactionChain {
		if !passed {
			passed = next == clienttesting.WatchReactor(r)
			continue
		}
		if !next.Handles(a) {
			continue
		}
		if handled, w, err := next.React(a); handled {
			return w, err
		}
	}
	return nil, nil
}

// eventsSince returns the changes since a resourceVersion, with which a watch begins.
func (s *serverRules) eventsSince(a clienttesting.WatchActionImpl, from int64) (events []watch.Event, err error) {
	for _, c := range s.history[a.GetResource()] {
		m, err := meta.Accessor(c.obj)
		switch {
		case err != nil:
			return nil, err
		case c.version < from, c.version == from && c.EventType != watch.Deleted, !watched(a, m):
			continue
		case len(events) == maxReplayed:
			return nil, apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d", from))
		}
		events = append(events, watch.Event{Type: c.EventType, Object: c.obj.DeepCopyObject()})
	}
	return events, nil
}

// watched reports whether a watch includes an object.
func watched(a clienttesting.WatchActionImpl, m metav1.Object) bool {
	byName, byLabel := a.WatchRestrictions.Fields, a.WatchRestrictions.Labels
	return (a.GetNamespace() == "" || a.GetNamespace() == m.GetNamespace()) &&
		(byLabel == nil || byLabel.Matches(labels.Set(m.GetLabels()))) &&
		(byName == nil || byName.Matches(fields.Set{"metadata.name": m.GetName(), "metadata.namespace": m.GetNamespace()}))
}

// evict deletes a pod for an eviction.
func (s *serverRules) evict(action clienttesting.Action) (handled bool, obj runtime.Object, err error) {
	a, ok := action.(clienttesting.CreateActionImpl)
	if !ok {
		return false, nil, nil
	}
	eviction, ok := a.GetObject().(*policyv1.Eviction)
	if !ok {
		return false, nil, nil
	}
	opts := eviction.DeleteOptions
	if opts == nil {
		opts = &metav1.DeleteOptions{}
	}
	return true, eviction, s.delete(clienttesting.NewDeleteActionWithOptions(a.GetResource(), a.GetNamespace(), eviction.Name, *opts))
}
