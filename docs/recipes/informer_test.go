package recipes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

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
		var faults k8sretrytest.Faults
		faults.FailNext(2, "list", "pods", k8sretrytest.Status(503))
		faults.FailNext(1, "watch", "pods", k8sretrytest.TooManyRequests(0)) // the watch of a streaming list
		clientset, err := informerClientset(inMemory(&faults, servePods))
		require.NoError(t, err)
		var out strings.Builder
		require.NoError(t, printPods(t.Context(), clientset, &out))
		assert.Equal(t, "web-0\nweb-1\n", out.String())
	})
}

func servePods(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	query := r.URL.Query()
	switch {
	case query.Get("sendInitialEvents") == "true":
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":"no streaming lists"}`)
	case query.Get("watch") != "":
		w.Header().Set("Watch", "open")
	default:
		_, _ = io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[`+
			`{"metadata":{"name":"web-0","namespace":"default","uid":"1","resourceVersion":"3"}},`+
			`{"metadata":{"name":"web-1","namespace":"default","uid":"2","resourceVersion":"4"}}]}`)
	}
}
