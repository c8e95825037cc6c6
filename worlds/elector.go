// SPDX-License-Identifier: Apache-2.0

package worlds

import (
	"context"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/k8sretry/k8sretry/worlds/judge"
	"github.com/k8sretry/k8sretry/worlds/trace"
	"github.com/k8sretry/k8sretry/worlds/ways"
)

// electorOp is the number under which the trace says that a connection of the elector has lost
// something. It is no call.
const electorOp = callers*callsEach + 2

// elector holds a lease, beside the calls of a program and on the same Transport: their failures,
// their 429s and their Limiter must not keep it from renewing.
type elector struct{ stop func() }

func startElector(p *program, limiter bool, t *trace.Recorder) *elector {
	shared := p.clientsFor(&ways.Way{Transport: true, Limiter: limiter}).HTTP
	client, err := coordinationclient.NewForConfigAndClient(p.config(true, limiter), &http.Client{Transport: shared.Transport, Timeout: judge.RenewDeadline / 2})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	end := p.begin(electorOp)
	var running sync.WaitGroup
	e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: ways.Namespace, Name: "elector"}, Client: client, LockConfig: resourcelock.ResourceLockConfig{Identity: p.name},
		},
		LeaseDuration: 15 * time.Second, RenewDeadline: judge.RenewDeadline, RetryPeriod: 2 * time.Second,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) {
				t.Add(trace.Entry{Kind: trace.LeaseHeld, BelowAll: !p.world.inner && !p.world.pauses})
			},
			OnStoppedLeading: func() {
				if ctx.Err() == nil {
					t.Add(trace.Entry{Kind: trace.LeaseLost})
				}
			},
		},
	})
	if err != nil {
		panic(err)
	}
	running.Go(func() {
		defer end()
		for ctx.Err() == nil {
			e.Run(ctx)
		}
	})
	return &elector{func() { cancel(); running.Wait() }}
}
