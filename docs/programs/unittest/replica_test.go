// SPDX-License-Identifier: Apache-2.0

// Package unittest tests code that retries: without a cluster, and without waiting.
package unittest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// addReplica is the code under test.
func addReplica(ctx context.Context, clientset kubernetes.Interface, name string, opts ...k8sretry.Option) error {
	opts = append([]k8sretry.Option{k8sretry.ForWrite()}, opts...)
	_, err := k8sretry.Modify(ctx, clientset.AppsV1().Deployments("default"), name, func(d *appsv1.Deployment) error {
		*d.Spec.Replicas++
		return nil
	}, opts...)
	return err
}

// cluster returns a fake clientset that stores one deployment, checks versions as a server
// does, and fails as the test says.
func cluster() (*fake.Clientset, *k8sretrytest.Faults) {
	replicas := int32(1)
	clientset := fake.NewClientset(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}, Spec: appsv1.DeploymentSpec{Replicas: &replicas},
	})
	k8sretrytest.EmulateServer(&clientset.Fake)
	faults := &k8sretrytest.Faults{}
	faults.Install(&clientset.Fake)
	return clientset, faults
}

func TestAddReplicaOutlastsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // waits take no time in a bubble
		clientset, faults := cluster()
		faults.FailNext(3, "update", "deployments", k8sretrytest.Status(503))
		var recorder k8sretrytest.Recorder
		start := time.Now()
		if err := addReplica(t.Context(), clientset, "web", k8sretry.WithObserver(&recorder), k8sretry.WithJitter(k8sretry.JitterNone)); err != nil {
			t.Fatal(err)
		}
		recorder.AssertRetried(t, 3)
		if got := time.Since(start); got != 14*time.Second { // 2 + 4 + 8
			t.Errorf("the waits took %v", got)
		}
	})
}

func TestAddReplicaAddsOneIfTheAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset, faults := cluster()
		faults.LoseResponses(1, "update", "deployments", k8sretrytest.ConnectionReset())
		if err := addReplica(t.Context(), clientset, "web"); err != nil {
			t.Fatal(err)
		}
		web, err := clientset.AppsV1().Deployments("default").Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil || *web.Spec.Replicas != 2 {
			t.Errorf("%d replicas, %v", *web.Spec.Replicas, err)
		}
	})
}

func TestAddReplicaGivesUpAfterSixAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset, faults := cluster()
		faults.FailNext(100, "get", "deployments", k8sretrytest.Status(503))
		if err := addReplica(t.Context(), clientset, "web"); !errors.Is(err, k8sretry.ErrMaxRetries) {
			t.Errorf("got %v", err)
		}
		if n := faults.Calls("get", "deployments"); n != 6 {
			t.Errorf("%d attempts", n)
		}
	})
}
