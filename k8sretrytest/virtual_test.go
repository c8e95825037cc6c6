// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// TestTheGuideIsTested checks that the Go code of docs/testing.md is part of this file.

// Scaler is the code under test.
type Scaler struct {
	Clientset kubernetes.Interface
	Retry     []k8sretry.Option // for tests and for callers who know better
}

func (s Scaler) Scale(ctx context.Context, name string, replicas int32) error {
	opts := append([]k8sretry.Option{k8sretry.ForWrite()}, s.Retry...)
	_, err := k8sretry.Modify(ctx, s.Clientset.AppsV1().Deployments("default"), name, func(d *appsv1.Deployment) error {
		d.Spec.Replicas = &replicas
		return nil
	}, opts...)
	return err
}

func web() *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}}
}

func TestScaleOutlastsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset := fake.NewClientset(web())
		var faults k8sretrytest.Faults
		faults.Install(&clientset.Fake)
		faults.FailNext(5, "update", "deployments", k8sretrytest.Status(503))

		var recorder k8sretrytest.Recorder
		scaler := Scaler{clientset, []k8sretry.Option{k8sretry.WithObserver(&recorder), k8sretry.WithJitter(k8sretry.JitterNone)}}
		start := time.Now()
		if err := scaler.Scale(t.Context(), "web", 3); err != nil {
			t.Fatal(err)
		}
		recorder.AssertRetried(t, 5)
		if got := time.Since(start); got != 60*time.Second { // 2+4+8+16+30, in virtual time
			t.Errorf("the waits took %v", got)
		}
	})
}

func TestScaleGivesUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset := fake.NewClientset(web())
		var faults k8sretrytest.Faults
		faults.Install(&clientset.Fake)
		faults.FailNext(100, "update", "deployments", k8sretrytest.TooManyRequests(8*time.Second))

		var recorder k8sretrytest.Recorder
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start := time.Now()
		err := Scaler{clientset, []k8sretry.Option{k8sretry.WithObserver(&recorder)}}.Scale(ctx, "web", 3)
		if !apierrors.IsTooManyRequests(err) {
			t.Errorf("got %v", err)
		}
		recorder.AssertStopped(t, k8sretry.StopDeadline)
		if time.Since(start) > 30*time.Second {
			t.Error("it slept past its deadline")
		}
	})
}

func TestScaleTwiceIsScaleOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset := fake.NewClientset(web())
		k8sretrytest.EmulateServer(&clientset.Fake)
		var faults k8sretrytest.Faults
		faults.Install(&clientset.Fake)
		faults.LoseResponses(1, "update", "deployments", k8sretrytest.ConnectionClosed())

		if err := (Scaler{Clientset: clientset}).Scale(t.Context(), "web", 3); err != nil {
			t.Fatal(err)
		}
		if n := faults.Calls("update", "deployments"); n != 2 {
			t.Errorf("%d updates", n)
		}
	})
}

func TestARealClientWithoutANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := fake.NewClientset(web())
		k8sretrytest.EmulateServer(&stored.Fake)
		server := k8sretrytest.NewServer(&stored.Fake, scheme.Scheme)
		defer server.Close()
		var faults k8sretrytest.Faults
		cfg := server.Config()
		cfg.Wrap(faults.Transport)
		clientset, err := kubernetes.NewForConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		faults.FailNext(2, "update", "deployments", k8sretrytest.ConnectionReset())
		if err := (Scaler{Clientset: clientset}).Scale(t.Context(), "web", 3); err != nil {
			t.Error(err)
		}
	})
}

// The following tests hold statements of the guide that its code does not show.

func TestNoRealTimePasses(t *testing.T) {
	start := time.Now()
	TestScaleOutlastsAnOutage(t)
	assert.Less(t, time.Since(start), 20*time.Second, "the test waits for a minute of virtual time")
}

func TestAFakeMadeOutsideTheBubbleWorksInIt(t *testing.T) {
	clientset, faults := emulated("a")
	faults.FailNext(3, "get", "configmaps", k8sretrytest.Status(503))
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		require.NoError(t, k8sretry.Run(t.Context(), func(context.Context) error { return get(clientset) }, exact))
		assert.Equal(t, 7*time.Second, time.Since(start))
	})
	assert.Equal(t, 4, faults.Calls("get", "configmaps"))
}

func TestAFakeIgnoresTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	clientset, _ := emulated("a")
	_, err := maps(clientset).Get(ctx, "a", metav1.GetOptions{})
	assert.NoError(t, err)
}

func TestTheGuideIsTested(t *testing.T) {
	guide, source := document(t, "../docs/testing.md"), document(t, "virtual_test.go")+document(t, "../internal/newest/fakes_test.go")
	blocks := strings.Split(guide, "```go\n")[1:]
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		code, _, ok := strings.Cut(block, "```")
		require.True(t, ok)
		assert.Contains(t, source, code, "no test is this code of docs/testing.md")
	}
}
