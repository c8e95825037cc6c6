// SPDX-License-Identifier: Apache-2.0

// Quickstart shows k8sretry at work, without a cluster:
//
//	go run ./examples/quickstart
//
// It starts a small Kubernetes API server in memory that fails on schedule, calls
// it through a real clientset and the dynamic client, writes the JSON log of the
// calls to app.log, and prints a summary. With -kubeconfig the same calls go to a
// real cluster, and the failures are injected in the client. The program only
// changes a ConfigMap that it creates and deletes itself.
//
// The exit status is 0 if every call ended as planned.
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
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "use the cluster of this kubeconfig `file` instead of the server in memory")
	flag.StringVar(&o.namespace, "namespace", "default", "`namespace` of the ConfigMap")
	flag.StringVar(&o.log, "log", "app.log", "write the log to this `file`; an existing file is overwritten")
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
	report := newReport(out)

	// The options that all calls share. A Policy is an option itself, and a later
	// option overrides an earlier one. The initial delays of the presets, 1 s and
	// 2 s, are shortened so that the program ends in a few seconds.
	common := k8sretry.NewPolicy(
		k8sretry.WithLogger(logger),
		k8sretry.WithObserver(report),
		k8sretry.WithInitialDelay(initialDelay),
		k8sretry.WithMaxDelay(time.Second),
	)

	// This is all that most programs need: wrap a client method once, and call the
	// result instead of the method. The verb determines whether an attempt whose
	// outcome is unknown may be repeated.
	configMaps := clients.CoreV1().ConfigMaps(o.namespace)
	get := k8sretry.Wrap2(configMaps.Get, k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbGet), common)
	list := k8sretry.Wrap1(configMaps.List, k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbList), common)
	create := k8sretry.Wrap2(configMaps.Create, k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbCreate), common)
	remove := k8sretry.WrapRun2(configMaps.Delete, k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbDelete), common)

	name := "k8sretry-quickstart-" + rand.String(5)
	defer cleanUp(configMaps.Delete, failures, name)

	report.begin("create a ConfigMap", "the server is overloaded for a short time")
	failures.Script(tinykube.Match{Verb: "create"}, tinykube.Fail(429))
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"colour": "blue"}}
	_, err = create(ctx, object, metav1.CreateOptions{})
	report.end(err, "k8s_api_call_succeeded_after_retry", 2)

	report.begin("get it", "the server restarts behind a load balancer")
	failures.Script(tinykube.Match{Verb: "get"}, tinykube.Fail(503), tinykube.Fail(502))
	_, err = get(ctx, name, metav1.GetOptions{})
	report.end(err, "k8s_api_call_succeeded_after_retry", 3)

	report.begin("get another", "it does not exist, and the error is not retryable")
	_, err = get(ctx, name+"-missing", metav1.GetOptions{})
	report.end(err, "k8s_api_call_failed_non_retryable", 1)
	report.check(apierrors.IsNotFound(err), "apierrors.IsNotFound(err) is true: the server's error is returned unchanged")

	report.begin("list ConfigMaps", "the server fails more often than ForRead retries")
	failures.Script(tinykube.Match{Verb: "list"}, tinykube.Fail(503), tinykube.Fail(503), tinykube.Fail(504), tinykube.Fail(500))
	_, err = list(ctx, metav1.ListOptions{Limit: 1})
	report.end(err, "k8s_api_call_failed_max_retries", 4)
	report.check(errors.Is(err, k8sretry.ErrMaxRetries) && apierrors.IsInternalError(err),
		"errors.Is(err, k8sretry.ErrMaxRetries) and, for the last answer, apierrors.IsInternalError(err) are true")

	// The signature of this method does not fit Wrap2; Do accepts any call.
	report.begin("patch it, dynamic client", "the server applies the patch, but its answer is lost; a merge patch may be repeated")
	failures.Script(tinykube.Match{Verb: "patch"}, tinykube.Drop.AfterCommit())
	_, err = k8sretry.Do(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return dynamicClient.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(o.namespace).
			Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"colour":"green"}}`), metav1.PatchOptions{})
	}, k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbPatch), common, k8sretry.WithName("set_colour"))
	report.end(err, "k8s_api_call_succeeded_after_retry", 2)

	report.begin("delete it", "the server fails once")
	failures.Script(tinykube.Match{Verb: "delete"}, tinykube.Fail(500))
	err = remove(ctx, name, metav1.DeleteOptions{})
	report.end(err, "k8s_api_call_succeeded_after_retry", 2)

	if ctx.Err() != nil {
		return fmt.Errorf("stopped before the end: %w", context.Cause(ctx))
	}
	report.summary(o.log)
	return report.err()
}
