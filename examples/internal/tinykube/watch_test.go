// SPDX-License-Identifier: Apache-2.0

package tinykube_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// next returns the next event. It fails if none arrives within 10 s.
func next(t *testing.T, w watch.Interface) watch.Event {
	t.Helper()
	select {
	case e, open := <-w.ResultChan():
		require.True(t, open, "the watch ended")
		return e
	case <-time.After(10 * time.Second):
		require.FailNow(t, "no event arrived")
		return watch.Event{}
	}
}

func describe(e watch.Event) string {
	return string(e.Type) + " " + e.Object.(*corev1.ConfigMap).Name
}

func TestWatchStartsAfterItsRevision(t *testing.T) {
	ctx, server := context.Background(), start(t)
	maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
	_, err := maps.Create(ctx, configMap("before"), metav1.CreateOptions{})
	require.NoError(t, err)
	list, err := maps.List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	_, err = maps.Create(ctx, configMap("between"), metav1.CreateOptions{})
	require.NoError(t, err)

	w, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	require.NoError(t, err)
	defer w.Stop()
	assert.Equal(t, "ADDED between", describe(next(t, w)), "a change between the list and the watch")

	created, err := maps.Create(ctx, configMap("after"), metav1.CreateOptions{})
	require.NoError(t, err)
	created.Data["a"] = "2"
	_, err = maps.Update(ctx, created, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.NoError(t, maps.Delete(ctx, "after", metav1.DeleteOptions{}))
	assert.Equal(t, "ADDED after", describe(next(t, w)))
	assert.Equal(t, "MODIFIED after", describe(next(t, w)))
	assert.Equal(t, "DELETED after", describe(next(t, w)))

	server.Down()
	_, open := <-w.ResultChan()
	assert.False(t, open, "Down ends watches")
}

func TestWatchWithSelectorReportsObjectsThatStartOrStopToMatch(t *testing.T) {
	ctx, server := context.Background(), start(t)
	maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
	w, err := maps.Watch(ctx, metav1.ListOptions{LabelSelector: "team=a"})
	require.NoError(t, err)
	defer w.Stop()
	object := configMap("moves")
	for _, team := range []string{"b", "a", "b"} {
		object.Labels = map[string]string{"team": team}
		if object.ResourceVersion == "" {
			object, err = maps.Create(ctx, object, metav1.CreateOptions{})
		} else {
			object, err = maps.Update(ctx, object, metav1.UpdateOptions{})
		}
		require.NoError(t, err)
	}
	assert.Equal(t, "ADDED moves", describe(next(t, w)))
	assert.Equal(t, "DELETED moves", describe(next(t, w)))
}

func TestWatchEndsAtItsTimeout(t *testing.T) {
	server := start(t)
	seconds := int64(1)
	w, err := clientset(t, server.Config()).CoreV1().ConfigMaps("default").Watch(context.Background(), metav1.ListOptions{TimeoutSeconds: &seconds})
	require.NoError(t, err)
	defer w.Stop()
	_, open := <-w.ResultChan()
	assert.False(t, open)
}

func TestWatchFromACompactedRevisionIsExpired(t *testing.T) {
	ctx, server := context.Background(), start(t)
	maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
	object, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = maps.Watch(ctx, metav1.ListOptions{ResourceVersion: "not-a-number"})
	assert.True(t, apierrors.IsBadRequest(err), "%v", err)
	server.Compact()
	_, err = maps.Watch(ctx, metav1.ListOptions{ResourceVersion: object.ResourceVersion})
	require.NoError(t, err, "the newest revision needs no history")
	_, err = maps.Watch(ctx, metav1.ListOptions{ResourceVersion: "1"})
	assert.True(t, apierrors.IsResourceExpired(err) || apierrors.IsGone(err), "%v", err) // client-go v0.31 reads the code only
}

func TestInformerSyncsAndFollows(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	server := start(t)
	cs := clientset(t, server.Config())
	_, err := cs.CoreV1().ConfigMaps("default").Create(ctx, configMap("before"), metav1.CreateOptions{})
	require.NoError(t, err)

	factory := informers.NewSharedInformerFactory(cs, 0)
	added := make(chan string, 10)
	informer := factory.Core().V1().ConfigMaps().Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(o any) { added <- o.(*corev1.ConfigMap).Name }})
	require.NoError(t, err)
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer cancel()
	assert.Equal(t, "before", <-added)
	_, err = cs.CoreV1().ConfigMaps("default").Create(ctx, configMap("after"), metav1.CreateOptions{})
	require.NoError(t, err)
	assert.Equal(t, "after", <-added)
}
