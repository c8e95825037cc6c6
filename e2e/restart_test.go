// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/k8sretry/k8sretry"
)

// restartPolicies returns the presets with delays for a server that is back after a few
// seconds.
func restartPolicies(o k8sretry.Observer) (write, read *k8sretry.Policy) {
	fast := k8sretry.NewPolicy(
		k8sretry.WithInitialDelay(100*time.Millisecond), k8sretry.WithMaxDelay(time.Second), k8sretry.WithMaxRetries(60),
		k8sretry.WithAttemptTimeout(10*time.Second), k8sretry.WithMaxElapsed(0), k8sretry.WithObserver(o))
	return k8sretry.NewPolicy(k8sretry.ForWrite(), fast), k8sretry.NewPolicy(k8sretry.ForRead(), fast)
}

// A crash of the apiserver during 200 reads and writes, typed and dynamic, makes none of
// them fail.
func TestCallsSucceedWhileServerIsKilled(t *testing.T) {
	c := start(t)
	ns := namespace(t, c)
	config := c.Config(app)
	s := &service{maps: client(t, config).CoreV1().ConfigMaps(ns)}
	set, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	s.dynamic = set.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(ns)
	events := &recorder{}
	s.write, s.read = restartPolicies(events)

	const calls, workers = 200, 10
	var deleted [calls]*corev1.ConfigMap
	_, err = s.maps.Create(t.Context(), configMap("seed", "value"), metav1.CreateOptions{})
	require.NoError(t, err)
	for i := range deleted {
		if i%len(s.kinds()) == 5 {
			deleted[i], err = s.maps.Create(t.Context(), configMap(fmt.Sprint("deleted-", i)), metav1.CreateOptions{})
			require.NoError(t, err)
		}
	}

	errs := make([]error, calls)
	half, wait := startCalls(calls, workers, calls/2, func(i int) {
		kinds := s.kinds()
		errs[i] = kinds[i%len(kinds)](within(t, 90*time.Second), i, deleted[i])
	})
	<-half
	c.KillAPIServer()
	killed := time.Now()
	// The new process listens long before it serves, so connections are refused only
	// until it is started.
	<-within(t, 700*time.Millisecond).Done()
	require.NoError(t, c.StartAPIServer())
	wait()
	t.Logf("all calls done %v after the kill; retries: %v", time.Since(killed).Round(time.Millisecond), events.classes())

	failed := 0
	for i, err := range errs {
		if !assert.NoError(t, err, "call %d, kind %d", i, i%len(s.kinds())) {
			failed++
		}
	}
	require.Zero(t, failed)
	assert.NotZero(t, events.classes()[k8sretry.ClassConnection], "the crash affected no call in flight: the test is inconclusive")
	assert.NotZero(t, events.classes()[k8sretry.ClassRefused], "no call was refused")
	s.check(t, calls)
}

// service makes calls to the API. Its writes may be repeated.
type service struct {
	maps        typedcorev1.ConfigMapInterface
	dynamic     dynamic.ResourceInterface
	write, read *k8sretry.Policy
}

type callKind func(ctx context.Context, i int, deleted *corev1.ConfigMap) error

func (s *service) kinds() []callKind {
	return []callKind{s.get, s.list, s.create, s.apply, s.patch, s.remove}
}

func (s *service) get(ctx context.Context, _ int, _ *corev1.ConfigMap) error {
	get := k8sretry.Wrap2(s.maps.Get, s.read, k8sretry.WithVerb(k8sretry.VerbGet))
	m, err := get(ctx, "seed", metav1.GetOptions{})
	if err == nil && m.Data["key0"] != "value" {
		err = fmt.Errorf("read %v", m.Data)
	}
	return err
}

func (s *service) list(ctx context.Context, _ int, _ *corev1.ConfigMap) error {
	list := k8sretry.Wrap1(s.dynamic.List, s.read, k8sretry.WithVerb(k8sretry.VerbList))
	l, err := list(ctx, metav1.ListOptions{})
	if err == nil && len(l.Items) == 0 {
		err = errors.New("empty list")
	}
	return err
}

// create has no verb, so it is repeated: names are unique here, so an object that exists
// after an attempt of unknown outcome was created by this call.
func (s *service) create(ctx context.Context, i int, _ *corev1.ConfigMap) error {
	create := k8sretry.Wrap2(s.maps.Create, s.write)
	_, err := create(ctx, configMap(fmt.Sprint("created-", i), "created"), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) && errors.Is(err, k8sretry.ErrOutcomeUnknown) {
		return nil
	}
	return err
}

func (s *service) apply(ctx context.Context, i int, _ *corev1.ConfigMap) error {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": fmt.Sprint("applied-", i)},
		"data":     map[string]any{"key0": "applied"},
	}}
	_, err := k8sretry.Do(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return s.dynamic.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: "e2e"})
	}, s.write, k8sretry.WithVerb(k8sretry.VerbApply))
	return err
}

func (s *service) patch(ctx context.Context, i int, _ *corev1.ConfigMap) error {
	change := fmt.Appendf(nil, `{"data":{"patch-%d":"patched"}}`, i)
	return k8sretry.Run(ctx, func(ctx context.Context) error {
		_, err := s.maps.Patch(ctx, "seed", types.MergePatchType, change, metav1.PatchOptions{})
		return err
	}, s.write, k8sretry.WithVerb(k8sretry.VerbPatch))
}

func (s *service) remove(ctx context.Context, _ int, deleted *corev1.ConfigMap) error {
	remove := k8sretry.WrapRun2(s.maps.Delete, s.write, k8sretry.WithVerb(k8sretry.VerbDelete))
	err := remove(ctx, deleted.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(deleted.UID))})
	if apierrors.IsNotFound(err) && errors.Is(err, k8sretry.ErrOutcomeUnknown) {
		return nil
	}
	return err
}

// check checks that every write was carried out.
func (s *service) check(t *testing.T, calls int) {
	t.Helper()
	list, err := s.maps.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	found := map[string]corev1.ConfigMap{}
	for _, m := range list.Items {
		found[m.Name] = m
	}
	for i := range calls {
		switch i % len(s.kinds()) {
		case 2:
			assert.Contains(t, found, fmt.Sprint("created-", i))
		case 3:
			assert.Equal(t, "applied", found[fmt.Sprint("applied-", i)].Data["key0"])
		case 4:
			assert.Equal(t, "patched", found["seed"].Data[fmt.Sprint("patch-", i)])
		case 5:
			assert.NotContains(t, found, fmt.Sprint("deleted-", i))
		}
	}
}
