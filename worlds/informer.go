// SPDX-License-Identifier: Apache-2.0

package worlds

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/k8sretry/k8sretry/worlds/faults"
	"github.com/k8sretry/k8sretry/worlds/model"
	"github.com/k8sretry/k8sretry/worlds/trace"
	"github.com/k8sretry/k8sretry/worlds/ways"
)

// informerOp is the number under which the requests of the informer meet faults. It is no call
// that claims anything.
const informerOp = callers*callsEach + 1

// informer is an informer of config maps, on a Transport. Whatever happens to its lists and
// watches, it has to end with the state of the server.
type informer struct {
	store cache.Store
	stop  func()
}

func startInformer(clients *ways.Clients) *informer {
	ctx, cancel := context.WithCancel(faults.WithOp(context.Background(), informerOp))
	lists := &cache.ListWatch{
		ListWithContextFunc: func(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return clients.ConfigMaps.List(ctx, options)
		},
		WatchFuncWithContext: func(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return clients.ConfigMaps.Watch(ctx, options)
		},
	}
	i := cache.NewSharedIndexInformer(lists, &corev1.ConfigMap{}, 0, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		i.RunWithContext(ctx)
	}()
	return &informer{i.GetStore(), func() { cancel(); <-done }}
}

// compare records how the cache of the informer differs from the server.
func (i *informer) compare(s *model.Server, t *trace.Recorder) {
	var cached []string
	for _, obj := range i.store.List() {
		if cm, ok := obj.(*corev1.ConfigMap); ok {
			cached = append(cached, cm.Name+"@"+cm.ResourceVersion)
		}
	}
	slices.Sort(cached)
	stored := s.Versions("configmaps")
	if !slices.Equal(cached, stored) {
		t.Add(trace.Entry{Kind: trace.InformerDiffers, Error: fmt.Sprintf("the cache has %s, the server %s", strings.Join(cached, " "), strings.Join(stored, " "))})
	}
}
