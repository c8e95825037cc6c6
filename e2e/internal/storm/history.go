// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// change is one change of an object, as the server's history has it.
type change struct {
	watch.EventType
	metav1.Object
	data    map[string]string // of a ConfigMap
	version uint64
}

func (c change) deleting() bool {
	return c.EventType == watch.Deleted || c.GetDeletionTimestamp() != nil
}

// history is all that happened to the objects of a run, in order. It is complete, because
// it is watched without faults from before the first object.
type history []change

// since returns the changes after a resource version.
func (h history) since(version uint64) history {
	for i, c := range h {
		if c.version > version {
			return h[i:]
		}
	}
	return nil
}

// created returns the number of matching objects that were created.
func (h history) created(match func(change) bool) int {
	uids := map[types.UID]bool{}
	for _, c := range h {
		if c.EventType == watch.Added && match(c) {
			uids[c.GetUID()] = true
		}
	}
	return len(uids)
}

// deleted returns the objects of the name that were deleted or began to be deleted.
func (h history) deleted(name string) map[types.UID]bool {
	uids := map[types.UID]bool{}
	for _, c := range h {
		if c.GetName() == name && c.deleting() {
			uids[c.GetUID()] = true
		}
	}
	return uids
}

// written returns how often the key "by" of the object got the value, however often others
// have written the object before and after.
func (h history) written(name, value string) int {
	n, was := 0, map[types.UID]string{}
	for _, c := range h {
		if c.GetName() != name || c.EventType == watch.Deleted {
			continue
		}
		is := c.data["by"]
		if c.EventType == watch.Modified && is == value && was[c.GetUID()] != value {
			n++
		}
		was[c.GetUID()] = is
	}
	return n
}

// last returns the data of the last version of an object.
func (h history) last(name string) map[string]string {
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].GetName() == name {
			return h[i].data
		}
	}
	return nil
}

// observer watches all objects of a kind without faults. It can react to every change, like
// another client.
type observer struct {
	react  func(context.Context, change) // may be nil
	cancel context.CancelFunc
	wait   sync.WaitGroup
	newest chan struct{} // has a value after a change or the end of the watch

	mu      sync.Mutex
	changes history
	err     error
}

// lastObject marks the end of a history.
const lastObject = "the-end"

// starter starts a watch.
type starter func(context.Context, metav1.ListOptions) (watch.Interface, error)

// observe starts to watch all changes after a resource version.
func observe(ctx context.Context, start starter, from string, react func(context.Context, change)) *observer {
	o := &observer{react: react, newest: make(chan struct{}, 1)}
	ctx, o.cancel = context.WithCancel(ctx)
	o.wait.Go(func() {
		for ctx.Err() == nil {
			if err := o.follow(ctx, start, &from); err != nil {
				o.add(change{}, err)
				return
			}
		}
	})
	return o
}

// follow watches until the connection ends, and leaves in from where the next watch must
// begin. The server has the history in between.
func (o *observer) follow(ctx context.Context, start starter, from *string) error {
	w, err := start(ctx, metav1.ListOptions{ResourceVersion: *from})
	if err != nil {
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return err
		}
		select { // the server may be busy
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
		return nil
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, open := <-w.ResultChan():
			if !open {
				return nil
			}
			if event.Type == watch.Error {
				return fmt.Errorf("watch: %w", apierrors.FromObject(event.Object))
			}
			c, err := changeOf(event)
			if err != nil {
				return err
			}
			*from = c.GetResourceVersion()
			o.add(c, nil)
			if o.react != nil {
				o.wait.Go(func() { o.react(ctx, c) })
			}
		}
	}
}

func changeOf(event watch.Event) (change, error) {
	object, ok := event.Object.(metav1.Object)
	if !ok {
		return change{}, fmt.Errorf("the watch has sent %T", event.Object)
	}
	c := change{EventType: event.Type, Object: object}
	if m, ok := object.(*corev1.ConfigMap); ok {
		c.data = m.Data
	}
	var err error
	c.version, err = strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	return c, err
}

func (o *observer) add(c change, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.changes = append(o.changes, c)
	} else if o.err == nil {
		o.err = err
	}
	select {
	case o.newest <- struct{}{}:
	default:
	}
}

// upTo returns all changes up to a resource version, which must be that of a change.
func (o *observer) upTo(ctx context.Context, version string) (history, error) {
	end, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return nil, err
	}
	for {
		o.mu.Lock()
		changes, err := o.changes, o.err
		o.mu.Unlock()
		switch n := len(changes); {
		case err != nil:
			return nil, err
		case n > 0 && changes[n-1].version >= end:
			return changes, nil
		}
		select {
		case <-o.newest:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// stop ends the watch and waits for all reactions.
func (o *observer) stop() {
	o.cancel()
	o.wait.Wait()
}
