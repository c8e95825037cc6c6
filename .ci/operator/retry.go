// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

func init() {
	prepares = append(prepares, func(c *rest.Config) {
		c.Wrap(k8sretry.Transport(k8sretry.WithAttemptTimeout(30 * time.Second)))
	})
}

// scaleUp adds a replica.
func scaleUp(ctx context.Context, clientset kubernetes.Interface, namespace, name string) error {
	_, err := k8sretry.Modify(ctx, clientset.AppsV1().Deployments(namespace), name, func(d *appsv1.Deployment) error {
		*d.Spec.Replicas++
		return nil
	}, k8sretry.ForWrite())
	return err
}

var _ = scaleUp
