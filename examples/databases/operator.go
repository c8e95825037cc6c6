// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/examples/databases/service"
)

// startOperator starts a fake operator for the server in memory. It creates an
// OpsRequest for every new database and marks both as done. stop waits until the
// operator has ended.
func startOperator(client dynamic.Interface, logger *zap.Logger, namespace string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	o := operator{
		databases:   client.Resource(service.DatabaseResource).Namespace(namespace),
		opsRequests: client.Resource(service.OpsRequestResource).Namespace(namespace),
		namespace:   namespace,
		retry:       k8sretry.NewPolicy(k8sretry.ForBackground(), k8sretry.WithLogger(logger)),
	}
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := o.follow(ctx); err != nil && ctx.Err() == nil {
				logger.Error("operator_failed", zap.Error(err))
				return
			}
		}
	}()
	return func() { cancel(); <-ended }
}

type operator struct {
	databases, opsRequests dynamic.ResourceInterface
	namespace              string
	retry                  *k8sretry.Policy
}

// follow provisions new databases until the watch or the context ends.
func (o operator) follow(ctx context.Context) error {
	w, err := k8sretry.Do(ctx, func(ctx context.Context) (watch.Interface, error) {
		return o.databases.Watch(ctx, metav1.ListOptions{})
	}, o.retry, k8sretry.WithName("watch_databases"), k8sretry.WithVerb(k8sretry.VerbWatch))
	if err != nil {
		return err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		database, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type != watch.Added {
			continue
		}
		if err := o.provision(ctx, database.GetName()); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// provision writes the objects that a real operator would have written at the end.
// It is idempotent.
func (o operator) provision(ctx context.Context, name string) error {
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": service.OpsRequestResource.GroupVersion().String(), "kind": "OpsRequest",
		"metadata": map[string]any{"name": name + "-provision"},
		"spec":     map[string]any{"type": "Provision", "database": name},
	}}
	apply := metav1.ApplyOptions{FieldManager: "operator", Force: true}
	err := k8sretry.Run(ctx, func(ctx context.Context) error {
		_, err := o.opsRequests.Apply(ctx, request.GetName(), request, apply)
		return err
	}, o.retry, k8sretry.WithName("apply_ops_request"), k8sretry.WithVerb(k8sretry.VerbApply))
	if err != nil {
		return err
	}
	if err := o.setStatus(ctx, o.opsRequests, request.GetName(), `{"status":{"phase":"Succeeded"}}`); err != nil {
		return err
	}
	return o.setStatus(ctx, o.databases, name, fmt.Sprintf(`{"status":{"phase":"Ready","endpoint":"%s.%s.svc"}}`, name, o.namespace))
}

func (o operator) setStatus(ctx context.Context, resource dynamic.ResourceInterface, name, status string) error {
	return k8sretry.Run(ctx, func(ctx context.Context) error {
		_, err := resource.Patch(ctx, name, types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status")
		return err
	}, o.retry, k8sretry.WithName("patch_status"), k8sretry.WithVerb(k8sretry.VerbPatch))
}
