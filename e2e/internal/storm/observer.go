package storm

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// observer watches all objects without faults and can react to every change, like another
// client.
type observer struct {
	maps   Maps
	react  func(context.Context, watch.Event, *corev1.ConfigMap) // may be nil
	cancel context.CancelFunc
	wait   sync.WaitGroup
	end    chan struct{} // closed after the last object
	done   sync.Once

	mu     sync.Mutex
	events []watch.Event
	err    error
}

const lastObject = "the-end"

// observe starts to watch all future changes.
func observe(ctx context.Context, maps Maps, react func(context.Context, watch.Event, *corev1.ConfigMap)) (*observer, error) {
	list, err := maps.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	w, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return nil, err
	}
	o := &observer{maps: maps, react: react, end: make(chan struct{})}
	ctx, o.cancel = context.WithCancel(ctx)
	o.wait.Go(func() {
		defer w.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case event, open := <-w.ResultChan():
				if !open || event.Type == watch.Error {
					o.fail(fmt.Errorf("the watch has ended: %v", event.Object))
					return
				}
				o.handle(ctx, event)
			}
		}
	})
	return o, nil
}

func (o *observer) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.done.Do(func() { close(o.end) })
}

func (o *observer) handle(ctx context.Context, event watch.Event) {
	m, ok := event.Object.(*corev1.ConfigMap)
	if !ok {
		return
	}
	if m.Name == lastObject {
		o.done.Do(func() { close(o.end) })
		return
	}
	o.mu.Lock()
	o.events = append(o.events, event)
	o.mu.Unlock()
	if o.react != nil {
		o.wait.Go(func() { o.react(ctx, event, m) })
	}
}

// stop returns all changes so far. All reactions to them have ended, but may have caused
// further changes.
func (o *observer) stop(ctx context.Context) ([]watch.Event, error) {
	defer o.wait.Wait()
	defer o.cancel()
	if _, err := o.maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: lastObject}}, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	select {
	case <-o.end:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.events, o.err
}
