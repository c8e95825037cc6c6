// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// waitUntilRunning reads a pod every two seconds until it runs.
func waitUntilRunning(ctx context.Context, clientset kubernetes.Interface, name string, opts ...k8sretry.Option) (*corev1.Pod, error) {
	opts = append([]k8sretry.Option{k8sretry.ForRead(), k8sretry.WithInitialDelay(2 * time.Second), k8sretry.WithMaxElapsed(5 * time.Minute)}, opts...)
	return k8sretry.Until(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nil // it is not created yet
		}
		return pod, err
	}, running, opts...)
}

// running is the condition. A pod that has failed will not run any more.
func running(pod *corev1.Pod) (bool, error) {
	if pod != nil && pod.Status.Phase == corev1.PodFailed {
		return false, fmt.Errorf("pod %s has failed: %s", pod.Name, pod.Status.Message)
	}
	return pod != nil && pod.Status.Phase == corev1.PodRunning, nil
}

// watchUntilRunning waits for the same with a watch.
func watchUntilRunning(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	return k8sretry.UntilWatch(ctx, clientset.CoreV1().Pods("default"), name, running, k8sretry.ForRead(), k8sretry.WithMaxElapsed(5*time.Minute))
}

func TestWaitUntilRunning(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}}
	for name, c := range map[string]struct {
		happens func(context.Context, kubernetes.Interface, *k8sretrytest.Faults)
		took    time.Duration
		check   func(*testing.T, *corev1.Pod, error)
	}{
		"it runs after five seconds": {
			func(ctx context.Context, clientset kubernetes.Interface, _ *k8sretrytest.Faults) {
				time.AfterFunc(time.Second, func() { createPod(ctx, clientset, pod, corev1.PodPending) })
				time.AfterFunc(5*time.Second, func() { setPhase(ctx, clientset, pod, corev1.PodRunning) })
			}, 6 * time.Second,
			func(t *testing.T, pod *corev1.Pod, err error) {
				require.NoError(t, err)
				assert.Equal(t, corev1.PodRunning, pod.Status.Phase)
			},
		},
		"the server restarts meanwhile": {
			func(ctx context.Context, clientset kubernetes.Interface, faults *k8sretrytest.Faults) {
				createPod(ctx, clientset, pod, corev1.PodRunning)
				faults.FailNext(2, "get", "pods", k8sretrytest.Status(503))
			}, 6 * time.Second,
			func(t *testing.T, pod *corev1.Pod, err error) { assert.NoError(t, err) },
		},
		"it fails": {
			func(ctx context.Context, clientset kubernetes.Interface, _ *k8sretrytest.Faults) {
				createPod(ctx, clientset, pod, corev1.PodFailed)
			}, 0,
			func(t *testing.T, pod *corev1.Pod, err error) { assert.ErrorContains(t, err, "pod web-0 has failed") },
		},
		"it stays pending": {
			func(ctx context.Context, clientset kubernetes.Interface, _ *k8sretrytest.Faults) {
				createPod(ctx, clientset, pod, corev1.PodPending)
			}, 300 * time.Second,
			func(t *testing.T, pod *corev1.Pod, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrConditionNotMet)
				assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
				assert.Equal(t, corev1.PodPending, pod.Status.Phase)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := cluster()
				c.happens(t.Context(), clientset, faults)
				began := time.Now()
				found, err := waitUntilRunning(t.Context(), clientset, "web-0", exact)
				assert.Equal(t, c.took, time.Since(began))
				c.check(t, found, err)
			})
		})
	}
}

func createPod(ctx context.Context, clientset kubernetes.Interface, pod *corev1.Pod, phase corev1.PodPhase) {
	pod = pod.DeepCopy()
	pod.Status.Phase = phase
	if _, err := clientset.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		panic(err)
	}
}

func setPhase(ctx context.Context, clientset kubernetes.Interface, pod *corev1.Pod, phase corev1.PodPhase) {
	pods := clientset.CoreV1().Pods("default")
	current, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
	if err == nil {
		current.Status.Phase = phase
		_, err = pods.UpdateStatus(ctx, current, metav1.UpdateOptions{})
	}
	if err != nil {
		panic(err)
	}
}

func TestWatchUntilRunning(t *testing.T) {
	pod := func(phase corev1.PodPhase) string {
		return `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-0","namespace":"default","uid":"1","resourceVersion":"3"},"status":{"phase":"` + string(phase) + `"}}`
	}
	serve := func(phase corev1.PodPhase) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			switch query := r.URL.Query(); {
			case query.Get("watch") != "":
				servePods(w, r)
			case query.Get("fieldSelector") == "metadata.name=web-0":
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[`+pod(phase)+`]}`)
			default:
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, pod(phase))
			}
		}
	}
	forbidden := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"pods is forbidden"}`)
	}
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		check func(*testing.T, *corev1.Pod, error)
	}{
		"it runs": {serve(corev1.PodRunning), func(t *testing.T, pod *corev1.Pod, err error) {
			require.NoError(t, err)
			assert.Equal(t, "web-0", pod.Name)
		}},
		"it has failed": {serve(corev1.PodFailed), func(t *testing.T, _ *corev1.Pod, err error) { assert.ErrorContains(t, err, "pod web-0 has failed") }},
		"it stays pending": {serve(corev1.PodPending), func(t *testing.T, pod *corev1.Pod, err error) {
			assert.ErrorIs(t, err, k8sretry.ErrConditionNotMet)
			assert.Equal(t, corev1.PodPending, pod.Status.Phase)
		}},
		"the program may not read pods": {forbidden, func(t *testing.T, _ *corev1.Pod, err error) { assert.True(t, apierrors.IsForbidden(err), "%v", err) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := inMemory(new(k8sretrytest.Faults), c.serve)
				clientset, err := kubernetes.NewForConfig(config)
				require.NoError(t, err)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				found, err := watchUntilRunning(ctx, clientset, "web-0")
				c.check(t, found, err)
			})
		})
	}
}

// readingClientset returns a clientset for reads that a user waits for.
func readingClientset(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.Wrap(k8sretry.Transport(k8sretry.ForRead(), k8sretry.WithHedge(200*time.Millisecond)))
	return kubernetes.NewForConfig(config)
}

func TestReadingClientset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := make(chan int, 2)
		requests <- 1
		slowFirst := func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-requests:
				select {
				case <-time.After(10 * time.Second):
				case <-r.Context().Done():
				}
			default:
			}
			servePods(w, r)
		}
		clientset, err := readingClientset(inMemory(new(k8sretrytest.Faults), slowFirst))
		require.NoError(t, err)
		began := time.Now()
		pods, err := clientset.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		assert.Len(t, pods.Items, 2)
		assert.Equal(t, 200*time.Millisecond, time.Since(began))
	})
}

// servePods answers a list with two pods, and opens a watch.
func servePods(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	query := r.URL.Query()
	switch {
	case query.Get("sendInitialEvents") == "true":
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":"no streaming lists"}`)
	case query.Get("watch") != "":
		w.Header().Set("Watch", "open")
	default:
		_, _ = io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[`+
			`{"metadata":{"name":"web-0","namespace":"default","uid":"1","resourceVersion":"3"}},`+
			`{"metadata":{"name":"web-1","namespace":"default","uid":"2","resourceVersion":"4"}}]}`)
	}
}
