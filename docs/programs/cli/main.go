// SPDX-License-Identifier: Apache-2.0

// Command cli sets a key of a ConfigMap:
//
//	cli -n default settings color=blue
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/k8sretry/k8sretry"
)

func main() {
	namespace := flag.String("n", "default", "namespace")
	wait := flag.Duration("wait", time.Minute, "how long to retry")
	flag.Parse()
	if err := run(*namespace, *wait, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "cli:", err)
		if errors.Is(err, k8sretry.ErrOutcomeUnknown) {
			fmt.Fprintln(os.Stderr, "cli: the key may have been set")
			os.Exit(2)
		}
		os.Exit(1)
	}
}

func run(namespace string, wait time.Duration, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: cli [-n namespace] [-wait duration] configmap key=value")
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return err
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) // Ctrl-C also ends a wait
	defer stop()
	key, value, _ := strings.Cut(args[1], "=")
	return set(ctx, clientset, namespace, args[0], key, value, k8sretry.WithMaxElapsed(wait), k8sretry.WithObserver(progress{}))
}

// set sets one key and leaves the other keys as they are, also if another client changes them at the same time.
func set(ctx context.Context, clientset kubernetes.Interface, namespace, name, key, value string, opts ...k8sretry.Option) error {
	opts = append([]k8sretry.Option{k8sretry.ForWrite(), k8sretry.WithAttemptTimeout(15 * time.Second)}, opts...)
	_, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps(namespace), name, func(cm *corev1.ConfigMap) error {
		if cm.Data == nil {
			cm.Data = map[string]string{}
		}
		cm.Data[key] = value
		return nil
	}, opts...)
	return err
}

// progress prints why the command waits.
type progress struct{}

func (progress) Observe(_ context.Context, e k8sretry.Event) {
	if e.Kind == k8sretry.EventRetry {
		fmt.Fprintf(os.Stderr, "cli: %v, next attempt in %v\n", e.Err, e.Delay.Round(time.Second))
	}
}
