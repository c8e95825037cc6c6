// SPDX-License-Identifier: Apache-2.0

package fairness

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// every is the time between two GETs of [Server.RunLevels].
const every = 20 * time.Millisecond

// Levels is the result of [Server.RunLevels].
type Levels struct {
	Gets   int           // in each of the two phases
	Failed int           // GETs that failed
	Alone  time.Duration // 99th percentile of a GET while the other level is idle
	Beside time.Duration // 99th percentile of a GET while the other level is exhausted
	Herd   Result        // of the exhausted level
}

// LevelContenders returns the clients whose requests belong to two priority levels: each
// makes all of its requests with one client and, if it has a Limiter, with one Limiter.
func LevelContenders() []Contender {
	limiter := func() k8sretry.Option { return k8sretry.WithLimiter(k8sretry.NewLimiter()) }
	return []Contender{
		{Name: "k8sretry, ForRead, no limiter", Ours: true, Bare: true, repeat: ours(k8sretry.ForRead())},
		{Name: "k8sretry, ForRead, WithLimiter", Ours: true, WithLimiter: true, Bare: true, repeat: ours(k8sretry.ForRead(), limiter())},
		{Name: "k8sretry, Transport(ForRead, WithLimiter)", Ours: true, WithLimiter: true, prepare: onTransport(k8sretry.ForRead(), limiter()), repeat: once},
	}
}

// RunLevels makes all calls of [Server.Run] at once for a user with one seat for ConfigMaps,
// and meanwhile GETs of a Secret, which belong to another priority level that has room.
func (s *Server) RunLevels(ctx context.Context, by Contender) (Levels, error) {
	c, err := s.client(ctx, by, "configmaps")
	if err != nil {
		return Levels{}, err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: c.user}}
	if _, err := s.admin.CoreV1().Secrets(s.namespace).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return Levels{}, err
	}
	get := func(ctx context.Context) error {
		var got corev1.Secret
		if err := c.request("secrets").Name(secret.Name).Do(ctx).Into(&got); err != nil {
			return err
		}
		if got.Name != secret.Name {
			return fmt.Errorf("got %q", got.Name)
		}
		return nil
	}
	// The first phase is as long as the second is expected to be.
	settled, stop := context.WithTimeout(ctx, Calls*Holds+Calls*Holds/4)
	defer stop()
	alone := c.gets(ctx, get, settled.Done())

	done := make(chan struct{})
	l := Levels{}
	go func() {
		defer close(done)
		l.Herd, err = c.herd(ctx)
	}()
	beside := c.gets(ctx, get, done)
	<-done
	l.Gets, l.Failed = min(len(alone.took), len(beside.took)), alone.failed+beside.failed
	l.Alone, l.Beside = alone.percentile(99), beside.percentile(99)
	return l, err
}

// latencies are the durations of calls.
type latencies struct {
	mu     sync.Mutex
	took   []time.Duration
	failed int
}

// gets begins a call each 20 ms until done is closed, and waits for all.
func (c *client) gets(ctx context.Context, get func(context.Context) error, done <-chan struct{}) *latencies {
	l := &latencies{}
	var wg sync.WaitGroup
	defer wg.Wait()
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case <-done:
			return l
		case <-ctx.Done():
			return l
		case <-ticks.C:
		}
		wg.Go(func() {
			began := time.Now()
			err := c.by.repeat(ctx, get)
			took := time.Since(began)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.took = append(l.took, took)
			if err != nil {
				l.failed++
			}
		})
	}
}

// percentile returns a duration that p of 100 calls do not exceed.
func (l *latencies) percentile(p int) time.Duration {
	slices.Sort(l.took)
	if len(l.took) == 0 {
		return 0
	}
	return l.took[(len(l.took)-1)*p/100]
}
