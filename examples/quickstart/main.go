// Quickstart shows k8sretry at work, without a cluster:
//
//	go run ./examples/quickstart
//
// It starts a small Kubernetes API server in memory that fails on schedule, calls
// it through a real clientset and the dynamic client, writes the JSON log of the
// calls to app.log, and ends with a summary. With -kubeconfig the same calls go to
// a real cluster, where the failures are made on this side of the network; there
// it changes nothing but a ConfigMap of its own, which it removes.
//
// It exits with 0 when every call went as planned.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/examples/internal/tinykube"
)

type options struct{ kubeconfig, namespace, log string }

func main() {
	var o options
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "call the cluster of this `file` instead of the server in memory")
	flag.StringVar(&o.namespace, "namespace", "default", "`namespace` of the ConfigMap")
	flag.StringVar(&o.log, "log", "app.log", "write the log to this `file`, in place of what it holds")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, o options) error {
	config, failures, stop, err := connect(o.kubeconfig)
	if err != nil {
		return err
	}
	defer stop()
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	logger, closeLog, err := openLog(o.log, out)
	if err != nil {
		return err
	}
	defer closeLog()
	story := newStory(out)

	// What all calls share. A policy is an option itself, and the later option
	// wins: the delays of the presets, 1 s and 2 s to begin with, are shortened
	// here so that the show ends in a few seconds.
	common := k8sretry.NewPolicy(
		k8sretry.WithLogger(logger),
		k8sretry.WithObserver(story),
		k8sretry.WithInitialDelay(shortDelay),
		k8sretry.WithMaxDelay(time.Second),
	)

	// The whole of k8sretry for most programs: wrap a method of a client once, and
	// call the result as you would have called the method. The verb says what may be
	// repeated when nobody knows what became of an attempt.
	configMaps := clients.CoreV1().ConfigMaps(o.namespace)
	get := k8sretry.Wrap2(configMaps.Get, k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbGet), common)
	list := k8sretry.Wrap1(configMaps.List, k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbList), common)
	create := k8sretry.Wrap2(configMaps.Create, k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbCreate), common)
	remove := k8sretry.WrapRun2(configMaps.Delete, k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbDelete), common)

	name := "k8sretry-quickstart-" + rand.String(5)
	defer cleanUp(configMaps.Delete, failures, name)

	story.begin("create a ConfigMap", "the server is overloaded for a moment")
	failures.Script(tinykube.Match{Verb: "create"}, tinykube.Fail(429))
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"colour": "blue"}}
	_, err = create(ctx, object, metav1.CreateOptions{})
	story.end(err, "k8s_api_call_succeeded_after_retry", 2)

	story.begin("get it", "the server restarts behind its load balancer")
	failures.Script(tinykube.Match{Verb: "get"}, tinykube.Fail(503), tinykube.Fail(502))
	_, err = get(ctx, name, metav1.GetOptions{})
	story.end(err, "k8s_api_call_succeeded_after_retry", 3)

	story.begin("get another", "there is none: no retry can help")
	_, err = get(ctx, name+"-missing", metav1.GetOptions{})
	story.end(err, "k8s_api_call_failed_non_retryable", 1)
	story.check(apierrors.IsNotFound(err), "apierrors.IsNotFound(err) is true: the error is the server's own")

	story.begin("list ConfigMaps", "the server fails for longer than ForRead has patience")
	failures.Script(tinykube.Match{Verb: "list"}, tinykube.Fail(503), tinykube.Fail(503), tinykube.Fail(504), tinykube.Fail(500))
	_, err = list(ctx, metav1.ListOptions{Limit: 1})
	story.end(err, "k8s_api_call_failed_max_retries", 4)
	story.check(errors.Is(err, k8sretry.ErrMaxRetries) && apierrors.IsInternalError(err),
		"errors.Is(err, k8sretry.ErrMaxRetries) is true, and apierrors.IsInternalError(err) of the last answer, too")

	// The dynamic client's methods have their own shapes; Do takes any call.
	story.begin("patch it, dynamic client", "the answer is lost, though the server did the work: this patch may be repeated")
	failures.Script(tinykube.Match{Verb: "patch"}, tinykube.Drop.AfterCommit())
	_, err = k8sretry.Do(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return dynamicClient.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(o.namespace).
			Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"colour":"green"}}`), metav1.PatchOptions{})
	}, k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbPatch), common, k8sretry.WithName("paintConfigMap"))
	story.end(err, "k8s_api_call_succeeded_after_retry", 2)

	story.begin("delete it", "the server stumbles")
	failures.Script(tinykube.Match{Verb: "delete"}, tinykube.Fail(500))
	err = remove(ctx, name, metav1.DeleteOptions{})
	story.end(err, "k8s_api_call_succeeded_after_retry", 2)

	if ctx.Err() != nil {
		return fmt.Errorf("stopped before the end: %w", context.Cause(ctx))
	}
	story.summary(o.log)
	return story.verdict()
}
