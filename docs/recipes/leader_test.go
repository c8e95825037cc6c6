// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// clientsets returns a clientset with retries for the work, and one without retries and
// with its own rate limiter for the election.
func clientsets(config *rest.Config) (work, election kubernetes.Interface, err error) {
	plain := rest.CopyConfig(config) // a copy without the Transport
	plain.Timeout = renewDeadline / 2
	if election, err = kubernetes.NewForConfig(plain); err != nil {
		return nil, nil, err
	}
	retrying := rest.CopyConfig(config)
	retrying.Wrap(k8sretry.Transport(k8sretry.ForWrite()))
	work, err = kubernetes.NewForConfig(retrying)
	return work, election, err
}

// lead runs work while this process is the leader. When it stops being the leader, the
// context of work ends, and with it every call that is waiting for a retry.
func lead(ctx context.Context, election kubernetes.Interface, identity string, work func(context.Context)) error {
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: "default", Name: "example"},
			Client:     election.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: work,
			OnStoppedLeading: func() { fmt.Fprintln(os.Stderr, "no longer the leader") },
		},
	})
	if err != nil {
		return err
	}
	elector.Run(ctx)
	return nil
}

func TestElectionHasNoTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var faults k8sretrytest.Faults
		work, election, err := clientsets(inMemory(&faults, http.NotFound))
		require.NoError(t, err)
		faults.FailNext(99, "*", "*", k8sretrytest.Status(503))

		_, err = election.CoordinationV1().Leases("default").Get(t.Context(), "example", metav1.GetOptions{})
		assert.Error(t, err)
		assert.Equal(t, 1, faults.Calls("get", "leases"), "the elector has its own retries")

		_, err = work.CoreV1().Pods("default").Get(t.Context(), "web-0", metav1.GetOptions{})
		assert.Error(t, err)
		assert.Equal(t, 6, faults.Calls("get", "pods"))
	})
}

// A call of the work ends during its wait when the lease is lost.
func TestLeadershipEndsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset, faults := cluster()
		worked := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			_ = lead(ctx, clientset, "a", func(ctx context.Context) {
				_, err := k8sretry.Do(ctx, func(context.Context) (int, error) { return 0, k8sretrytest.Status(503) },
					k8sretry.ForWrite(), k8sretry.WithMaxDelay(time.Hour), k8sretry.WithMaxRetries(99))
				worked <- err
			})
		}()
		synctest.Wait()
		start := time.Now()
		faults.FailNext(99, "update", "leases", k8sretrytest.Status(503))
		err := <-worked
		assert.ErrorIs(t, err, context.Canceled)
		assert.InDelta(t, renewDeadline.Seconds(), time.Since(start).Seconds(), retryPeriod.Seconds()+1)
	})
}

// outage is a lock whose server is unavailable until a given time.
type outage struct {
	resourcelock.Interface
	end     time.Time
	renewed func()
}

func (o *outage) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if time.Now().Before(o.end) {
		return k8sretrytest.Status(503)
	}
	o.renewed()
	return o.Interface.Update(ctx, record)
}

// retrying adds retries below an elector, which is a mistake.
type retrying struct{ resourcelock.Interface }

func (r retrying) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return k8sretry.Run(ctx, func(ctx context.Context) error { return r.Interface.Update(ctx, record) }, k8sretry.ForWrite(), exact)
}

// The server is unavailable for 2.5 s, starting at the first renewal.
func TestRetriesBelowAnElectorRenewLater(t *testing.T) {
	for name, c := range map[string]struct {
		wrap  func(resourcelock.Interface) resourcelock.Interface
		delay time.Duration // of the renewal, after the outage
	}{
		"the elector alone":         {func(l resourcelock.Interface) resourcelock.Interface { return l }, 1500 * time.Millisecond},
		"the elector above retries": {func(l resourcelock.Interface) resourcelock.Interface { return retrying{l} }, 3500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, _ := cluster()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				lock := &outage{end: time.Now().Add(2500 * time.Millisecond)}
				lock.Interface = &resourcelock.LeaseLock{
					LeaseMeta: metav1.ObjectMeta{Namespace: "default", Name: "example"}, Client: clientset.CoordinationV1(),
					LockConfig: resourcelock.ResourceLockConfig{Identity: "a"},
				}
				lock.renewed = func() {
					assert.Equal(t, c.delay, time.Since(lock.end))
					cancel()
				}
				elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
					Lock: c.wrap(lock), LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
					Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() {}},
				})
				require.NoError(t, err)
				elector.Run(ctx)
				assert.Error(t, ctx.Err(), "the lease was never renewed")
			})
		})
	}
}
