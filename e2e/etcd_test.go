// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/k8sretry/k8sretry"
)

// While etcd is stopped, reads and writes time out in the client or in the server. They
// are classified as timeouts and succeed when etcd continues.
func TestCallsSucceedAfterEtcdWasStopped(t *testing.T) {
	c := start(t)
	ns := namespace(t, c)
	maps := client(t, c.Config(app)).CoreV1().ConfigMaps(ns)
	_, err := maps.Create(t.Context(), configMap("seed", "before"), metav1.CreateOptions{})
	require.NoError(t, err)
	rest := client(t, c.Config(app)).CoreV1().RESTClient()

	calls := map[string]struct {
		verb k8sretry.Verb
		call func(context.Context) error
	}{
		"get": {k8sretry.VerbGet, func(ctx context.Context) error {
			_, err := maps.Get(ctx, "seed", metav1.GetOptions{})
			return err
		}},
		"patch": {k8sretry.VerbPatch, func(ctx context.Context) error {
			_, err := maps.Patch(ctx, "seed", types.MergePatchType, []byte(`{"data":{"patched":"yes"}}`), metav1.PatchOptions{})
			return err
		}},
		// Names are unique here, so an object that exists after an attempt of unknown
		// outcome was created by this call.
		"create": {k8sretry.VerbUnspecified, func(ctx context.Context) error {
			_, err := maps.Create(ctx, configMap("created"), metav1.CreateOptions{})
			return err
		}},
		// The server times out the next two before the client does.
		"get, timed out by the server": {k8sretry.VerbGet, func(ctx context.Context) error {
			return rest.Get().Namespace(ns).Resource("configmaps").Name("seed").Param("timeout", "500ms").Do(ctx).Error()
		}},
		"update, timed out by the server": {k8sretry.VerbUpdate, func(ctx context.Context) error {
			m := configMap("seed-2", "after")
			return rest.Put().Namespace(ns).Resource("configmaps").Name("seed-2").Param("timeout", "500ms").Body(m).Do(ctx).Error()
		}},
	}
	_, err = maps.Create(t.Context(), configMap("seed-2", "before"), metav1.CreateOptions{})
	require.NoError(t, err)

	c.StopEtcd()
	resumed := time.AfterFunc(2500*time.Millisecond, c.ContinueEtcd)
	defer resumed.Stop()
	events := map[string]*recorder{}
	errs := map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, test := range calls {
		observed := &recorder{}
		events[name] = observed
		wg.Go(func() {
			err := k8sretry.Run(within(t, 30*time.Second), test.call, k8sretry.WithVerb(test.verb), k8sretry.WithObserver(observed),
				k8sretry.WithAttemptTimeout(time.Second), k8sretry.WithMaxRetries(30),
				k8sretry.WithInitialDelay(100*time.Millisecond), k8sretry.WithMaxDelay(300*time.Millisecond))
			if apierrors.IsAlreadyExists(err) && errors.Is(err, k8sretry.ErrOutcomeUnknown) {
				err = nil
			}
			mu.Lock()
			defer mu.Unlock()
			errs[name] = err
		})
	}
	wg.Wait()

	for name := range calls {
		assert.NoError(t, errs[name], name)
		retries := events[name].all(k8sretry.EventRetry)
		assert.NotEmpty(t, retries, name)
		for _, e := range retries {
			t.Logf("%s: %v %v %v: %.150v", name, e.Class, e.StatusCode, e.Outcome, e.Err)
			assert.True(t, e.Class == k8sretry.ClassTimeout || truncated(e), "%s: %v: %v", name, e.Class, e.Err)
		}
	}
	seed, err := maps.Get(t.Context(), "seed", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, "yes", seed.Data["patched"])
	second, err := maps.Get(t.Context(), "seed-2", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, "after", second.Data["key0"])
}

// truncated reports whether the server timed out after it had started to answer. It then
// aborts the stream.
func truncated(e k8sretry.Event) bool {
	return e.Class == k8sretry.ClassConnection && e.StatusCode == 0
}
