// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
)

// Connections that are never served, closed, reset or refused: with an attempt timeout
// the calls succeed as soon as the server is reachable. A create is repeated only
// because nothing of it was sent.
func TestBrokenConnectionsAreRetried(t *testing.T) {
	c := start(t)
	ns := namespace(t, c)
	only := func(n int, fault faultproxy.ConnFault) func(p *faultproxy.Proxy) {
		return func(p *faultproxy.Proxy) {
			p.SetConnRule(func(i int) faultproxy.ConnFault {
				if i <= n {
					return fault
				}
				return faultproxy.ConnPass
			})
		}
	}
	tests := []struct {
		name    string
		fault   func(p *faultproxy.Proxy)
		classes []k8sretry.Class
	}{
		{"never served", only(2, faultproxy.ConnBlackhole), []k8sretry.Class{k8sretry.ClassTimeout}},
		{"closed", only(2, faultproxy.ConnClose), []k8sretry.Class{k8sretry.ClassConnection}},
		// An early reset may fail the dial.
		{"reset", only(2, faultproxy.ConnReset), []k8sretry.Class{k8sretry.ClassConnection, k8sretry.ClassRefused}},
		{"refused", func(p *faultproxy.Proxy) {
			p.Refuse()
			time.AfterFunc(250*time.Millisecond, func() { _ = p.Listen() })
		}, []k8sretry.Class{k8sretry.ClassRefused}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			both(t, c, func(t *testing.T, p *faultproxy.Proxy) {
				test.fault(p)
				events := &recorder{}
				limit := 10 * time.Second // long enough for a slow machine
				if slices.Contains(test.classes, k8sretry.ClassTimeout) {
					limit = 800 * time.Millisecond
				}
				maps := client(t, p.Config(c.Config(app))).CoreV1().ConfigMaps(ns)
				create := k8sretry.Wrap2(maps.Create, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithObserver(events),
					k8sretry.WithAttemptTimeout(limit), k8sretry.WithMaxRetries(8),
					k8sretry.WithInitialDelay(100*time.Millisecond), k8sretry.WithMaxDelay(200*time.Millisecond))
				m, err := create(within(t, 30*time.Second), configMap(objectName(t)), metav1.CreateOptions{})
				require.NoError(t, err)
				assert.NotEmpty(t, m.UID)
				retries := events.all(k8sretry.EventRetry)
				require.NotEmpty(t, retries)
				for _, e := range retries {
					assert.Contains(t, test.classes, e.Class, "%v", e.Err)
					assert.Equal(t, k8sretry.OutcomeNotExecuted, e.Outcome, "%v", e.Err)
				}
				assert.Equal(t, 1, p.Count(func(s faultproxy.Send) bool { return s.Method == "POST" }))
			})
		})
	}
}

// The attempt timeout detects a server that accepts a request and never answers.
func TestRequestsWithoutAnAnswerTimeOut(t *testing.T) {
	c := start(t)
	ns := namespace(t, c)
	both(t, c, func(t *testing.T, p *faultproxy.Proxy) {
		maps := client(t, p.Config(c.Config(app))).CoreV1().ConfigMaps(ns)
		created, err := maps.Create(t.Context(), configMap(objectName(t), "first"), metav1.CreateOptions{})
		require.NoError(t, err)
		events := &recorder{}
		policy := k8sretry.NewPolicy(k8sretry.WithAttemptTimeout(500*time.Millisecond), k8sretry.WithObserver(events),
			k8sretry.WithInitialDelay(50*time.Millisecond), k8sretry.WithMaxDelay(100*time.Millisecond))

		p.SetRule(faultproxy.Next(2, faultproxy.Hang()))
		get := k8sretry.Wrap2(maps.Get, policy, k8sretry.WithVerb(k8sretry.VerbGet))
		_, err = get(within(t, 10*time.Second), created.Name, metav1.GetOptions{})
		require.NoError(t, err)

		// The update has a resourceVersion, so it cannot be applied twice.
		p.SetRule(faultproxy.Next(2, faultproxy.Hang()))
		created.Data["key0"] = "second"
		update := k8sretry.Wrap2(maps.Update, policy, k8sretry.WithVerb(k8sretry.VerbUpdate))
		got, err := update(within(t, 10*time.Second), created, metav1.UpdateOptions{})
		require.NoError(t, err)
		assert.Equal(t, "second", got.Data["key0"])
		assert.Equal(t, map[k8sretry.Class]int{k8sretry.ClassTimeout: 4}, events.classes())

		// A create is not repeated, because the server may have carried it out.
		p.SetRule(faultproxy.Next(1, faultproxy.Hang().AfterCommit()))
		create := k8sretry.Wrap2(maps.Create, policy, k8sretry.WithVerb(k8sretry.VerbCreate))
		_, err = create(within(t, 10*time.Second), configMap(objectName(t)+"-2"), metav1.CreateOptions{})
		require.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		_, err = maps.Get(t.Context(), objectName(t)+"-2", metav1.GetOptions{})
		require.NoError(t, err, "the server has carried it out")
	})
}

// A watch that was opened within the attempt timeout is not ended by it.
func TestWatchOutlivesAttemptTimeout(t *testing.T) {
	c := start(t)
	maps := client(t, c.Config(app)).CoreV1().ConfigMaps(namespace(t, c))
	watch := k8sretry.Wrap1(maps.Watch, k8sretry.WithVerb(k8sretry.VerbWatch), k8sretry.WithAttemptTimeout(200*time.Millisecond))
	w, err := watch(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	defer w.Stop()

	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	_, err = maps.Create(t.Context(), configMap("late"), metav1.CreateOptions{})
	require.NoError(t, err)
	for {
		select {
		case event, open := <-w.ResultChan():
			require.True(t, open, "the watch has ended")
			if m, ok := event.Object.(*corev1.ConfigMap); ok && m.Name == "late" {
				return
			}
		case <-within(t, 5*time.Second).Done():
			t.Fatal("no event")
		}
	}
}
