// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

func plusOne(cm *corev1.ConfigMap) error {
	n, err := strconv.Atoi(cm.Data["n"])
	cm.Data["n"] = strconv.Itoa(n + 1)
	return err
}

func TestModifyStoresAChangeOnce(t *testing.T) {
	for situation, c := range map[string]struct {
		wrap func(client.WithWatch) client.Client
		opts []k8sretry.Option
	}{
		"a plain client":    {func(c client.WithWatch) client.Client { return c }, nil},
		"a retrying client": {func(c client.WithWatch) client.Client { return k8sretryctrl.NewClient(c) }, nil},
		// The assumption was that the client of Modify is the one of NewClient, or has no retries.
		"a retrying client with a field owner": {func(c client.WithWatch) client.Client {
			return client.WithFieldOwner(k8sretryctrl.NewClient(c), "me")
		}, nil},
		"a retrying client of one namespace": {func(c client.WithWatch) client.Client {
			return client.NewNamespacedClient(k8sretryctrl.NewClient(c), "default")
		}, nil},
	} {
		for _, lose := range []int{0, 1, 2, 1000} {
			inVirtualTime(t, situation+", lost responses: "+strconv.Itoa(lose), func(t *testing.T) {
				f := &faults{only: "Update", err: unknownOutcome, lose: lose}
				server := cluster()
				cm := configMap("x")
				require.NoError(t, k8sretryctrl.Modify(t.Context(), c.wrap(f.in(server)), cm, plusOne))
				assert.Equal(t, "1", cm.Data["n"])
				assert.Equal(t, read(t, server, "x"), cm)
			})
		}
	}
	inVirtualTime(t, "many at once", func(t *testing.T) {
		server := cluster()
		c := k8sretryctrl.NewClient((&faults{only: "Update", err: notExecuted, fail: 5}).in(server), k8sretry.WithMaxElapsed(0))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { assert.NoError(t, k8sretryctrl.Modify(t.Context(), c, configMap("x"), plusOne)) })
		}
		wg.Wait()
		assert.Equal(t, "20", read(t, server, "x").Data["n"])
	})
	inVirtualTime(t, "another writer is in between", func(t *testing.T) {
		server := cluster()
		calls := 0
		require.NoError(t, k8sretryctrl.Modify(t.Context(), server, configMap("x"), func(cm *corev1.ConfigMap) error {
			if calls++; calls == 1 {
				require.NoError(t, server.Update(t.Context(), configMap("x", "n", "7")))
			}
			return plusOne(cm)
		}))
		assert.Equal(t, "8", read(t, server, "x").Data["n"])
	})
	inVirtualTime(t, "unstructured", func(t *testing.T) {
		server := cluster()
		u := asUnstructured("x", nil)
		require.NoError(t, k8sretryctrl.Modify(t.Context(), server, client.Object(u), func(obj client.Object) error {
			obj.SetLabels(map[string]string{"a": "b"})
			return nil
		}))
		assert.Equal(t, "b", read(t, server, "x").Labels["a"])
		assert.Equal(t, "b", u.GetLabels()["a"])
	})
	inVirtualTime(t, "the status", func(t *testing.T) {
		f := &faults{only: "status.Update", err: unknownOutcome, fail: 1}
		server := cluster()
		p := pod()
		require.NoError(t, k8sretryctrl.ModifyStatus(t.Context(), f.in(server), p, func(p *corev1.Pod) error {
			p.Status.Phase = corev1.PodRunning
			return nil
		}))
		assert.Equal(t, corev1.PodRunning, p.Status.Phase)
		assert.Equal(t, []string{".Get", "Get", "status.Update", ".Get", "Get", "status.Update"}[:3], f.all()[:3])
	})
}

func TestModifyNeverReadsTheCache(t *testing.T) {
	for situation, stale := range map[string][]client.Object{
		"the object is not yet in the cache": nil,
		"the cache has an old object":        {configMap("x", "n", "-100")},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			server := cluster()
			require.NoError(t, k8sretryctrl.Modify(t.Context(), newCached(server, stale...), configMap("x"), plusOne))
			assert.Equal(t, "1", read(t, server, "x").Data["n"])
		})
	}
	inVirtualTime(t, "the live read fails", func(t *testing.T) {
		f := &faults{only: ".Get", err: denied, fail: 1000}
		err := k8sretryctrl.Modify(t.Context(), f.in(cluster()), configMap("x"), plusOne)
		assert.True(t, apierrors.IsForbidden(err), "%v", err)
		assert.Zero(t, f.count("Get"), "no other read is tried")
	})
}

func TestModifyReportsErrorsAndMakesNoNeedlessUpdate(t *testing.T) {
	var none *corev1.ConfigMap
	cause := errors.New("cause")
	for situation, c := range map[string]struct {
		client client.Client
		obj    *corev1.ConfigMap
		mutate func(*corev1.ConfigMap) error
		opts   []k8sretry.Option
		want   string
	}{
		"no client":       {nil, configMap("x"), plusOne, nil, "k8sretryctrl: the client is nil"},
		"no object":       {cluster(), none, plusOne, nil, "k8sretryctrl: the object is nil"},
		"no function":     {cluster(), configMap("x"), nil, nil, "k8sretryctrl: the function that changes the object is nil"},
		"a failure of it": {cluster(), configMap("x"), func(*corev1.ConfigMap) error { return cause }, nil, "cause"},
		"a bad option":    {cluster(), configMap("x"), plusOne, []k8sretry.Option{k8sretry.WithMaxRetries(-1)}, "WithMaxRetries"},
		"not found":       {cluster(), configMap("none"), plusOne, nil, "not found"},
	} {
		t.Run(situation, func(t *testing.T) {
			before := c.obj.DeepCopy()
			assert.ErrorContains(t, k8sretryctrl.Modify(t.Context(), c.client, c.obj, c.mutate, c.opts...), c.want)
			assert.Equal(t, before, c.obj)
		})
	}
	t.Run("no change: no update", func(t *testing.T) {
		f := &faults{}
		cm := configMap("x")
		require.NoError(t, k8sretryctrl.Modify(t.Context(), f.in(cluster()), cm, func(*corev1.ConfigMap) error { return nil }))
		assert.Zero(t, f.count("Update"))
		assert.Equal(t, "0", cm.Data["n"])
	})
}

// The token of k8sretry.Modify is stored beside a change that is made anyway.
func TestTheTokenOfModifyIsAnOption(t *testing.T) {
	none := k8sretry.WithTokenAnnotation("")
	for situation, c := range map[string]struct {
		client []k8sretry.Option
		call   []k8sretry.Option
		tokens int
	}{
		"by default":              {nil, nil, 1},
		"off for the call":        {nil, []k8sretry.Option{none}, 0},
		"off for the client":      {[]k8sretry.Option{none}, nil, 0},
		"off in a policy":         {[]k8sretry.Option{k8sretry.NewPolicy(none)}, nil, 0},
		"the last option counts":  {[]k8sretry.Option{none, k8sretry.WithTokenAnnotation("example.com/call")}, nil, 1},
		"on for the call, though": {[]k8sretry.Option{none}, []k8sretry.Option{k8sretry.WithTokenAnnotation("example.com/call")}, 1},
	} {
		t.Run(situation, func(t *testing.T) {
			server := cluster()
			require.NoError(t, k8sretryctrl.Modify(t.Context(), k8sretryctrl.NewClient(server, c.client...), configMap("x"), plusOne, c.call...))
			assert.Len(t, read(t, server, "x").Annotations, c.tokens)
		})
	}
}
