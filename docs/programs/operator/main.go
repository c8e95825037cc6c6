// SPDX-License-Identifier: Apache-2.0

// Command operator creates a ConfigMap for each Deployment with the label "settings".
package main

import (
	"context"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

func main() {
	ctrl.SetLogger(zap.New())
	if err := run(ctrl.SetupSignalHandler()); err != nil {
		ctrl.Log.Error(err, "the operator has stopped")
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	// Below the client it sends once for each attempt; it retries the rest, such as the discovery.
	config.Wrap(k8sretry.Transport())
	mgr, err := ctrl.NewManager(config, ctrl.Options{LeaderElection: true, LeaderElectionID: "settings.example.com"})
	if err != nil {
		return err
	}
	// All reads and writes of the reconciler are retried; a write whose answer is lost is verified.
	r := &reconciler{client: k8sretryctrl.NewClient(mgr.GetClient())}
	if err := ctrl.NewControllerManagedBy(mgr).For(&appsv1.Deployment{}).Owns(&corev1.ConfigMap{}).Complete(r); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

type reconciler struct{ client client.Client }

// Reconcile leaves the choice between a requeue, the server's own delay and a permanent error to Result.
func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	return k8sretryctrl.Result(r.reconcile(ctx, req))
}

func (r *reconciler) reconcile(ctx context.Context, req ctrl.Request) error {
	var d appsv1.Deployment
	if err := r.client.Get(ctx, req.NamespacedName, &d); err != nil {
		return client.IgnoreNotFound(err)
	}
	name, ok := d.Labels["settings"]
	if !ok {
		return nil
	}
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: d.Namespace}}
	if err := ctrl.SetControllerReference(&d, settings, r.client.Scheme()); err != nil {
		return err
	}
	if err := r.client.Create(ctx, settings); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}
