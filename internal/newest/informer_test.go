// SPDX-License-Identifier: Apache-2.0

package newest

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// The recipe of docs/recipes.md.

// informerClientset returns a clientset for informers and other calls. Its Transport
// retries lists. It sends a watch only once, because the informer knows where to resume
// and has its own backoff.
func informerClientset(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.Wrap(k8sretry.Transport(k8sretry.ForBackground()))
	return kubernetes.NewForConfig(config)
}

// printPods prints the names of the pods.
func printPods(ctx context.Context, clientset kubernetes.Interface, out io.Writer) error {
	factory := informers.NewSharedInformerFactory(clientset, 0)
	defer factory.Shutdown()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // runs before Shutdown, which waits for the informers
	handler, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { fmt.Fprintln(out, obj.(*corev1.Pod).Name) },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
		return ctx.Err()
	}
	return nil
}

func TestInformer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := func(name string) *corev1.Pod {
			return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}
		}
		stored := fake.NewClientset(pod("web-0"), pod("web-1"))
		k8sretrytest.EmulateServer(&stored.Fake)
		server := k8sretrytest.NewServer(&stored.Fake, scheme.Scheme)
		defer server.Close()
		var faults k8sretrytest.Faults
		faults.FailNext(2, "list", "pods", k8sretrytest.Status(503))
		faults.FailNext(1, "watch", "pods", k8sretrytest.TooManyRequests(0)) // the watch of a streaming list
		config := server.Config()
		config.Wrap(faults.Transport)
		clientset, err := informerClientset(config)
		require.NoError(t, err)
		var out strings.Builder
		require.NoError(t, printPods(t.Context(), clientset, &out))
		assert.Equal(t, "web-0\nweb-1\n", out.String())
		assert.Equal(t, 3, faults.Calls("list", "pods"))
	})
}
