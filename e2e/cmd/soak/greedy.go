// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

// greedyUser has a priority level of its own.
const greedyUser = "greedy"

// greedyCalls is how many calls the greedy user makes at a time.
const greedyCalls = 16

// greedy lists objects of all namespaces as the greedy user, with a Transport and a Limiter,
// until the context ends. Its calls may fail: the server is in trouble, too.
func (s *soak) greedy(ctx context.Context) error {
	config := s.setup.Cluster.Config(greedyUser)
	config.QPS = -1
	var served, failed, rejected atomic.Int64
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{next, &rejected} })
	config.Wrap(k8sretry.Transport(k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithAttemptTimeout(10*time.Second)))
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	var wait sync.WaitGroup
	for range greedyCalls {
		wait.Go(func() {
			for ctx.Err() == nil {
				_, err := client.CoreV1().ConfigMaps(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
				switch {
				case err == nil:
					served.Add(1)
				case ctx.Err() == nil:
					failed.Add(1)
				}
				pause(ctx, 20*time.Millisecond) // a failure may come at once
			}
		})
	}
	wait.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.greedyServed += int(served.Load())
	s.r.greedyFailed += int(failed.Load())
	s.r.greedyRejected += int(rejected.Load())
	return nil
}

// counter counts the answers 429.
type counter struct {
	next http.RoundTripper
	n    *atomic.Int64
}

func (c counter) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusTooManyRequests {
		c.n.Add(1)
	}
	return resp, err
}

func (c counter) WrappedRoundTripper() http.RoundTripper { return c.next }
