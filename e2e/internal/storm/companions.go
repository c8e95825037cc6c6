// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"

	"github.com/k8sretry/k8sretry"
)

// companions are the other controllers of a cluster. They see the objects of a run with an
// informer, as controllers do, and write them as soon as they can:
//
//   - the labeler adds a label and a finalizer to each new object with k8sretry.Modify, and
//     removes the finalizer from objects that are being deleted
//   - the replacer replaces all annotations by its own, with an ordinary Update
//   - the recreator creates what is deleted again, under the same name
//
// The caller's second replica is for read-modify-writes only: see replica.
type companions struct {
	stopInformer func()
	cancel       context.CancelFunc
	wait         sync.WaitGroup
	ctx          context.Context
}

const (
	companionLabel     = "example.com/labeled"
	companionFinalizer = "example.com/cleanup"
	companionOwner     = "example.com/owner"
)

// ownAnnotations are the annotations that the replacer leaves.
var ownAnnotations = map[string]string{companionOwner: "replacer"}

// store is a client of one kind of objects.
type store[T k8sretry.Object] interface {
	k8sretry.Creator[T]
	k8sretry.Updater[T]
	k8sretry.Watcher
}

// population is a kind of objects with its clients.
type population[T k8sretry.Object] struct {
	labeler, other store[T]
	informer       func(informers.SharedInformerFactory) cache.SharedIndexInformer
	again          func(name string) T // what the recreator creates
}

// accompany starts the companions of a namespace.
func accompany[T k8sretry.Object](ctx context.Context, client kubernetes.Interface, namespace string, p population[T]) (*companions, error) {
	c := new(companions)
	c.ctx, c.cancel = context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	informer := p.informer(factory)
	changed := func(object any) {
		obj, ok := object.(T)
		if !ok || obj.GetName() == lastObject {
			return
		}
		if !labeled(obj) {
			c.wait.Go(func() { p.label(c.ctx, obj) })
		}
		if obj.GetDeletionTimestamp() == nil && !maps.Equal(obj.GetAnnotations(), ownAnnotations) {
			c.wait.Go(func() { p.replaceAnnotations(c.ctx, obj) })
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    changed,
		UpdateFunc: func(_, obj any) { changed(obj) },
		DeleteFunc: func(object any) {
			if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = unknown.Obj
			}
			if obj, ok := object.(T); ok && obj.GetName() != lastObject {
				c.wait.Go(func() { _, _ = p.other.Create(c.ctx, p.again(obj.GetName()), metav1.CreateOptions{}) })
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if err := informer.SetWatchErrorHandler(func(*cache.Reflector, error) {}); err != nil { // the server may be killed
		return nil, err
	}
	stop := make(chan struct{})
	factory.Start(stop)
	c.stopInformer = sync.OnceFunc(func() { close(stop); factory.Shutdown() })
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		c.stop()
		return nil, context.Cause(ctx)
	}
	return c, nil
}

// stop ends the companions. What they have begun is finished.
func (c *companions) stop() {
	c.stopInformer()
	c.wait.Wait()
	c.cancel()
}

// settled reports whether the companions have nothing to do with an object.
func settled(obj metav1.Object) bool {
	return obj.GetDeletionTimestamp() == nil && labeled(obj) && maps.Equal(obj.GetAnnotations(), ownAnnotations)
}

// labeled reports whether the labeler has nothing to do with an object.
func labeled(obj metav1.Object) bool {
	if obj.GetDeletionTimestamp() != nil {
		return len(obj.GetFinalizers()) == 0
	}
	return obj.GetLabels()[companionLabel] != ""
}

var companionPolicy = k8sretry.NewPolicy(k8sretry.WithMaxRetries(60), k8sretry.WithInitialDelay(5*time.Millisecond),
	k8sretry.WithMaxDelay(250*time.Millisecond), k8sretry.WithLogger(nil))

var errOtherObject = errors.New("another object has the name")

// label labels an object or removes its finalizer. Its errors are conflicts of no
// importance: a later event repeats what is still to be done.
func (p population[T]) label(ctx context.Context, seen T) {
	_, _ = k8sretry.Modify(ctx, k8sretry.Updater[T](p.labeler), seen.GetName(), func(obj T) error {
		switch {
		case obj.GetUID() != seen.GetUID():
			return errOtherObject
		case obj.GetDeletionTimestamp() != nil:
			obj.SetFinalizers(nil)
		case !labeled(obj):
			labels := maps.Clone(obj.GetLabels())
			if labels == nil {
				labels = map[string]string{}
			}
			labels[companionLabel] = "true"
			obj.SetLabels(labels)
			obj.SetFinalizers([]string{companionFinalizer})
		}
		return nil
	}, companionPolicy)
}

// replaceAnnotations updates an object as it was seen. After a conflict there is a later
// event.
func (p population[T]) replaceAnnotations(ctx context.Context, seen T) {
	obj, ok := seen.DeepCopyObject().(T)
	if !ok {
		return
	}
	obj.SetAnnotations(maps.Clone(ownAnnotations))
	_, _ = p.other.Update(ctx, obj, metav1.UpdateOptions{})
}

// replica is a second replica of the caller. It has the same field manager, increments
// the same counters, and knows nothing of the caller. Every other increment is made with
// k8sretry.Modify, the others are ordinary updates.
type replica struct {
	maps   Maps
	cancel context.CancelFunc
	wait   sync.WaitGroup
	err    error
	done   []atomic.Int64 // increments of each counter
}

// replicaDelay is the time between two increments.
const replicaDelay = 5 * time.Millisecond

// startReplica increments the counters in turn until it is stopped. increment must send
// the same bytes as the caller.
func startReplica(ctx context.Context, client Maps, counters int, increment func(counter int, m *corev1.ConfigMap)) *replica {
	r := &replica{maps: client, done: make([]atomic.Int64, counters)}
	stopped, cancel := context.WithCancel(ctx)
	r.cancel = cancel
	r.wait.Go(func() {
		ticker := time.NewTicker(replicaDelay)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-ticker.C:
			case <-stopped.Done():
				return
			}
			if err := r.increment(ctx, i%counters, i/counters%2 == 0, increment); err != nil {
				r.err = errors.Join(errors.New("replica of the caller"), err)
				return
			}
			r.done[i%counters].Add(1)
		}
	})
	return r
}

func (r *replica) increment(ctx context.Context, i int, safely bool, increment func(int, *corev1.ConfigMap)) error {
	counter := name("counter", i)
	if safely {
		_, err := k8sretry.Modify(ctx, r.maps, counter, func(m *corev1.ConfigMap) error { increment(i, m); return nil }, companionPolicy)
		return err
	}
	return retry.OnError(conflicts, apierrors.IsConflict, func() error {
		m, err := r.maps.Get(ctx, counter, metav1.GetOptions{})
		if err != nil {
			return err
		}
		increment(i, m)
		_, err = r.maps.Update(ctx, m, metav1.UpdateOptions{})
		return err
	})
}

func (r *replica) stop() error {
	r.cancel()
	r.wait.Wait()
	return r.err
}

// plusOne increments a decimal number.
func plusOne(text string) string {
	n, _ := strconv.Atoi(text)
	return strconv.Itoa(n + 1)
}
