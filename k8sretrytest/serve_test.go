// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubetypes "k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/k8sretry/k8sretry/internal/testkit"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// served is a server in memory, the fake clientset with its objects, and a real client with
// faults.
type served struct {
	*k8sretrytest.Server
	protocol string // "h2" or "http/1.1"
	fake     *fake.Clientset
	client   *kubernetes.Clientset
	faults   *k8sretrytest.Faults
}

func (s served) maps() typedcorev1.ConfigMapInterface { return s.client.CoreV1().ConfigMaps("default") }

// overWire runs a test with a server over HTTP/2 and over HTTP/1.1, on virtual time.
func overWire(t *testing.T, test func(t *testing.T, s served), options ...k8sretrytest.ServerOption) {
	for _, protocol := range []string{"h2", "http/1.1"} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := served{protocol: protocol, fake: fake.NewClientset(), faults: new(k8sretrytest.Faults)}
				k8sretrytest.EmulateServer(&s.fake.Fake, options...)
				s.Server = k8sretrytest.NewServer(&s.fake.Fake, scheme.Scheme)
				defer s.Close()
				cfg := s.Config()
				cfg.NextProtos = []string{protocol}
				cfg.Wrap(s.faults.Transport)
				var err error
				s.client, err = kubernetes.NewForConfig(cfg)
				require.NoError(t, err)
				test(t, s)
			})
		})
	}
}

func TestARealClientWritesAndReads(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		ctx := t.Context()
		created, err := s.maps().Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-", Labels: map[string]string{"app": "a"}}}, metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Len(t, created.UID, 36)
		_, err = s.maps().Create(ctx, configMap("b"), metav1.CreateOptions{})
		require.NoError(t, err)
		_, err = s.maps().Create(ctx, configMap("b"), metav1.CreateOptions{})
		assert.True(t, apierrors.IsAlreadyExists(err), "%v", err)

		events, err := s.maps().Watch(ctx, metav1.SingleObject(created.ObjectMeta))
		require.NoError(t, err)
		defer events.Stop()

		changed := created.DeepCopy()
		changed.Data = map[string]string{"a": "2"}
		updated, err := s.maps().Update(ctx, changed, metav1.UpdateOptions{})
		require.NoError(t, err)
		_, err = s.maps().Update(ctx, changed, metav1.UpdateOptions{})
		assert.True(t, apierrors.IsConflict(err), "%v", err)
		patched, err := s.maps().Patch(ctx, created.Name, kubetypes.MergePatchType, []byte(`{"data":{"a":"3"}}`), metav1.PatchOptions{})
		require.NoError(t, err)
		_, err = s.maps().Apply(ctx, corev1ac.ConfigMap("c", "default"), metav1.ApplyOptions{FieldManager: "test"})
		require.NoError(t, err)

		read, err := s.maps().Get(ctx, created.Name, metav1.GetOptions{})
		require.NoError(t, err)
		assert.Equal(t, patched, read)
		_, err = s.maps().Get(ctx, "missing", metav1.GetOptions{})
		assert.True(t, apierrors.IsNotFound(err), "%v", err)
		list, err := s.maps().List(ctx, metav1.ListOptions{LabelSelector: "app=a"})
		require.NoError(t, err)
		require.Len(t, list.Items, 1)
		assert.Equal(t, read.ObjectMeta, list.Items[0].ObjectMeta)

		other := kubetypes.UID("other")
		err = s.maps().Delete(ctx, created.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
		assert.True(t, apierrors.IsConflict(err), "%v", err)
		require.NoError(t, s.maps().Delete(ctx, created.Name, metav1.DeleteOptions{}))

		for _, want := range []struct {
			event   watch.EventType
			version string
		}{{watch.Modified, updated.ResourceVersion}, {watch.Modified, patched.ResourceVersion}, {watch.Deleted, patched.ResourceVersion}} {
			event := <-events.ResultChan()
			assert.Equal(t, want.event, event.Type)
			assert.Equal(t, want.version, event.Object.(*corev1.ConfigMap).ResourceVersion)
		}
		require.NoError(t, s.maps().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
		list, err = s.maps().List(ctx, metav1.ListOptions{})
		require.NoError(t, err)
		assert.Empty(t, list.Items)
	})
}

func TestARealClientEvicts(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		pods := s.client.CoreV1().Pods("default")
		pod, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0"}}, metav1.CreateOptions{})
		require.NoError(t, err)
		other := kubetypes.UID("other")
		evict := func(uid kubetypes.UID) error {
			return pods.EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "web-0"},
				DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}})
		}
		err = evict(other)
		assert.True(t, apierrors.IsConflict(err), "%v", err)
		require.NoError(t, evict(pod.UID))
		err = evict(pod.UID)
		assert.True(t, apierrors.IsNotFound(err), "%v", err)
	})
}

func TestAWatchEndsWithItsTimeout(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		seconds := int64(30)
		start := time.Now()
		events, err := s.maps().Watch(t.Context(), metav1.ListOptions{TimeoutSeconds: &seconds})
		require.NoError(t, err)
		_, open := <-events.ResultChan()
		assert.False(t, open)
		assert.Equal(t, 30*time.Second, time.Since(start))
	})
}

func TestOtherPathsAreNotFound(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		_, err := s.client.Discovery().ServerVersion()
		assert.True(t, apierrors.IsNotFound(err), "%v", err)
	})
}

// A connection that was in use swallows everything after a failover. Only new connections
// reach the server.
func TestAKilledConnectionSwallowsEverything(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		_, err := s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		require.NoError(t, err)
		s.KillConnections()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = s.maps().Create(ctx, configMap("b"), metav1.CreateOptions{})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = s.fake.CoreV1().ConfigMaps("default").Get(t.Context(), "b", metav1.GetOptions{})
		assert.True(t, apierrors.IsNotFound(err), "it has not reached the server: %v", err)

		another, err := kubernetes.NewForConfig(s.Config())
		require.NoError(t, err)
		_, err = another.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("b"), metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Equal(t, 2, s.Connections())
	})
}

// A request in flight is carried out, and its client hears nothing of it, not even that the
// server has closed the connection.
func TestAKilledConnectionSwallowsTheAnswer(t *testing.T) {
	for name, prepare := range map[string]func(*k8sretrytest.Faults){
		"an answer": func(*k8sretrytest.Faults) {},
		"the end of a connection": func(f *k8sretrytest.Faults) {
			f.LoseResponses(1, "create", "configmaps", k8sretrytest.ConnectionClosed())
		},
	} {
		t.Run(name, func(t *testing.T) {
			overWire(t, func(t *testing.T, s served) {
				var faults k8sretrytest.Faults
				faults.Install(&s.fake.Fake)
				faults.AfterNext(1, "create", "configmaps", s.KillConnections)
				prepare(&faults)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := s.maps().Create(ctx, configMap("a"), metav1.CreateOptions{})
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, []string{"a"}, s.objects(t))
			})
		})
	}
}

func TestAConnectionSwallowsEverythingFromTheBeginning(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		s.SwallowConnections(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.maps().Create(ctx, configMap("a"), metav1.CreateOptions{})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		require.NoError(t, err, "the next connection works")
	})
}

func TestConnectionsFail(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		s.FailConnections(1, os.ErrDeadlineExceeded)
		_, err := s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var op *net.OpError
		require.ErrorAs(t, err, &op)
		assert.Equal(t, "dial", op.Op)
		_, err = s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		require.NoError(t, err)
	})
}

func TestAClosedServerRefusesConnections(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		s.SwallowConnections(1)
		s.Close()
		_, err := s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		assert.True(t, utilnet.IsConnectionRefused(err), "%v", err)
	})
}

// An error of the fake without an API status breaks the connection.
func TestErrorsOfTheFakeReachTheClient(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		var faults k8sretrytest.Faults
		faults.Install(&s.fake.Fake)
		faults.FailNext(1, "create", "configmaps", k8sretrytest.EtcdTimeout())
		_, err := s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		assert.EqualError(t, err, "etcdserver: request timed out")
		faults.LoseResponses(1, "create", "configmaps", k8sretrytest.ConnectionClosed())
		_, err = s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		require.Error(t, err)
		var status *apierrors.StatusError
		assert.False(t, errors.As(err, &status), "%v", err) //nolint:testifylint // the oldest testify that works has no NotErrorAs
		_, err = s.maps().Get(t.Context(), "a", metav1.GetOptions{})
		require.NoError(t, err)
	})
}

func TestAWrappedServerIsSlowAndKeepsTheOrderOfItsWrappers(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		var order []string
		s.Wrap(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				order = append(order, "slow")
				testkit.Sleep(3 * time.Second)
				next.ServeHTTP(w, r)
			})
		})
		s.Wrap(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				order = append(order, r.Method)
				if r.Method == http.MethodDelete {
					http.Error(w, "no deletes today", http.StatusForbidden)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		start := time.Now()
		_, err := s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Equal(t, 3*time.Second, time.Since(start))
		assert.True(t, apierrors.IsForbidden(s.maps().Delete(t.Context(), "a", metav1.DeleteOptions{})))
		assert.Equal(t, []string{"POST", "slow", "DELETE"}, order)
	})
}
