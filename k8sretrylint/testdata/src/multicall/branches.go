package multicall

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

func branches(ctx context.Context, c kubernetes.Interface, obj any, kind string) {
	pods, configMaps := c.CoreV1().Pods("a"), c.CoreV1().ConfigMaps("a")
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		switch kind {
		case "pod":
			_, err := pods.Get(ctx, "b", metav1.GetOptions{})
			return err
		case "all":
			_, err := pods.List(ctx, metav1.ListOptions{})
			return err
		}
		_, err := configMaps.Get(ctx, "b", metav1.GetOptions{})
		return err
	})
	_ = k8sretry.Run(ctx, func(ctx context.Context) (err error) {
		switch o := obj.(type) {
		case *corev1.Pod:
			_, err = pods.Create(ctx, o, metav1.CreateOptions{})
		case *corev1.ConfigMap:
			_, err = configMaps.Create(ctx, o, metav1.CreateOptions{})
		default:
			err = k8sretry.Permanent(errors.New("unknown"))
		}
		return err
	}, k8sretry.WithVerb(k8sretry.VerbCreate))
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		if kind == "pod" {
			_, err := pods.Get(ctx, "b", metav1.GetOptions{})
			return err
		} else if kind == "all" {
			_, err := pods.List(ctx, metav1.ListOptions{})
			return err
		}
		_, err := configMaps.Get(ctx, "b", metav1.GetOptions{})
		return err
	})
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		if kind != "" {
			if kind == "pod" {
				_, err := pods.Get(ctx, "b", metav1.GetOptions{})
				return err
			}
			panic("kind")
		}
		_, err := configMaps.Get(ctx, "b", metav1.GetOptions{})
		return err
	})
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		switch kind {
		case "pod":
			if _, err := pods.Get(ctx, "b", metav1.GetOptions{}); err != nil {
				return err
			}
		default:
			return nil
		}
		_, err := configMaps.Get(ctx, "b", metav1.GetOptions{}) // want `makes more than one API call`
		return err
	})
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		default:
			_, err := pods.Get(ctx, "b", metav1.GetOptions{})
			return err
		}
	})
}
