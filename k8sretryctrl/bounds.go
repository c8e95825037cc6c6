// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"time"

	"github.com/k8sretry/k8sretry"
)

// The default limits of a call, with which it ends after 10 s at most. A call blocks a worker
// of the controller, which can reconcile another object in the meantime, and the workqueue
// retries for as long as an outage lasts.
//
// The outcome of a write may have to be checked when its attempts have ended, which takes k8sretry
// up to 5 s. So that time is missing for its attempts.
const (
	attemptTimeout = 5 * time.Second
	maxElapsed     = 5 * time.Second // for the start of the last attempt

	checkedAttemptTimeout = 3 * time.Second
	checkedMaxElapsed     = 2 * time.Second

	initialDelay = 200 * time.Millisecond
	maxDelay     = time.Second
)

// policies are those of a client, the caller's options included.
type policies struct {
	reads   *k8sretry.Policy
	writes  *k8sretry.Policy
	checked *k8sretry.Policy // for writes whose outcome is checked in the end
}

func newPolicies(opts []k8sretry.Option) policies {
	given := k8sretry.NewPolicy(opts...)
	bounded := func(preset *k8sretry.Policy, attempt, elapsed time.Duration) *k8sretry.Policy {
		return k8sretry.NewPolicy(preset, k8sretry.WithInitialDelay(initialDelay), k8sretry.WithMaxDelay(maxDelay),
			k8sretry.WithAttemptTimeout(attempt), k8sretry.WithMaxElapsed(elapsed), k8sretry.WithMaxQueueTime(elapsed),
			k8sretry.WithContextLogger(contextLogger), given)
	}
	return policies{
		reads:   bounded(k8sretry.ForRead(), attemptTimeout, maxElapsed),
		writes:  bounded(k8sretry.ForWrite(), attemptTimeout, maxElapsed),
		checked: bounded(k8sretry.ForWrite(), checkedAttemptTimeout, checkedMaxElapsed),
	}
}

// policyOf returns the policy of a safe write: the outcome of a dry run is not checked.
func (p *policies) policyOf(dryRun []string) *k8sretry.Policy {
	if len(dryRun) > 0 {
		return p.writes
	}
	return p.checked
}
