// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
)

// Informer runs an informer, with or without a Transport, whose watches are aborted and
// whose lists fail, while Ops changes are made over the given time. It returns how long
// after the last fault the cache was in sync, and the number of requests with a fault.
func Informer(ctx context.Context, s Setup, transport bool, during time.Duration) (delay time.Duration, faults int, err error) {
	r, err := newRun(ctx, s, wrapped{transport}, true)
	if err != nil {
		return 0, 0, err
	}
	defer r.close()
	ctx, cancel := context.WithTimeout(ctx, during+time.Minute)
	defer cancel()

	watch := faultproxy.Verbs("watch")
	r.proxy.SetRule(faultproxy.First(
		faultproxy.When(watch, share(1, s.Seed, r.proxy.Isolated([]faultproxy.Fault{
			faultproxy.CutStream(0, 150*time.Millisecond), faultproxy.CutStream(0, 150*time.Millisecond).Clean(),
			faultproxy.CutStream(1000, 0), faultproxy.Close(), faultproxy.Reset(), faultproxy.Answer(http.StatusServiceUnavailable),
		}))),
		faultproxy.When(faultproxy.Verbs("list"), share(0.5, s.Seed, r.proxy.Isolated([]faultproxy.Fault{
			faultproxy.Close(), faultproxy.Reset(), faultproxy.Truncate(), faultproxy.Answer(http.StatusServiceUnavailable),
		})))))
	client, err := kubernetes.NewForConfig(r.config)
	if err != nil {
		return 0, 0, err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(r.namespace))
	informer := factory.Core().V1().ConfigMaps().Informer()
	if err := informer.SetWatchErrorHandler(func(*cache.Reflector, error) {}); err != nil { // the errors are expected
		return 0, 0, err
	}
	stop := make(chan struct{})
	defer factory.Shutdown()
	defer close(stop)
	factory.Start(stop)

	ticker := time.NewTicker(max(during/time.Duration(s.Ops), time.Millisecond))
	defer ticker.Stop()
	for i := range s.Ops {
		if err := r.change(ctx, i); err != nil {
			return 0, 0, err
		}
		<-ticker.C
	}
	r.proxy.SetRule(nil)
	none := faultproxy.Fault{}.String()
	faults = r.proxy.Count(func(s faultproxy.Send) bool { return s.Fault != none })
	stored, err := r.list(ctx)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		if same(informer.GetStore().List(), stored) {
			return time.Since(start), faults, nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return 0, faults, errors.Join(fmt.Errorf("the cache has %d objects, the server has %d", len(informer.GetStore().List()), len(stored)), context.Cause(ctx))
		}
	}
}

// change creates, updates and deletes 20 objects in turn.
func (r *run) change(ctx context.Context, i int) error {
	m := object(name("object", i%20), "change", fmt.Sprint(i))
	var err error
	switch i / 20 % 3 {
	case 0:
		_, err = r.direct.Create(ctx, m, metav1.CreateOptions{})
	case 1:
		_, err = r.direct.Update(ctx, m, metav1.UpdateOptions{})
	default:
		if i%2 == 0 {
			_, err = r.direct.Update(ctx, m, metav1.UpdateOptions{})
		}
		err = errors.Join(err, r.direct.Delete(ctx, m.Name, metav1.DeleteOptions{}))
	}
	return err
}

func same(cached []any, stored map[string]corev1.ConfigMap) bool {
	if len(cached) != len(stored) {
		return false
	}
	for _, c := range cached {
		m := c.(*corev1.ConfigMap)
		if s := stored[m.Name]; s.ResourceVersion != m.ResourceVersion || !apiequality.Semantic.DeepEqual(s.Data, m.Data) {
			return false
		}
	}
	return true
}
