// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"math"
	"time"
)

// The presets are made once and shared: a Policy has no state.
var (
	// ForWrite takes back the ReadOnly of an earlier ForRead.
	write = NewPolicy(setting{numReadOnly, 0}, WithMaxRetries(5), WithInitialDelay(2*time.Second), WithMaxDelay(30*time.Second))
	read  = NewPolicy(ReadOnly(), WithMaxRetries(3), WithInitialDelay(time.Second), WithMaxDelay(10*time.Second))

	connection = NewPolicy(WithMaxRetries(5), WithInitialDelay(500*time.Millisecond), WithMaxDelay(10*time.Second),
		setting{numConnectionOnly, 1})
	maintenance = NewPolicy(WithMaxRetries(10), WithInitialDelay(500*time.Millisecond), WithMaxDelay(60*time.Second))
	background  = NewPolicy(WithMaxRetries(2), WithInitialDelay(2*time.Second), WithMaxDelay(10*time.Second))
	eviction    = NewPolicy(WithMaxRetries(math.MaxInt32), WithInitialDelay(time.Second), WithMaxDelay(30*time.Second))
)

// ForWrite is for calls that change something: 5 retries, 2 s to 30 s. It sets no verb: add
// WithVerb(VerbCreate) or another one, so that the call stops rather than be carried out
// twice. A [Do] without a verb repeats a create whose answers are lost five times, which may
// make six objects; the Detail of each [EventRetry] says so. Wrapped methods, safe writes and a
// [Transport] know the verb. Given after [ForRead] or [ReadOnly], ForWrite takes ReadOnly back.
func ForWrite() *Policy { return write }

// ForRead is for reads: 3 retries, 1 s to 10 s, and [ReadOnly]. Do not use it for writes: it
// says that the outcome of a failed attempt is never unknown. Other presets given after it
// change the schedule, but only [ForWrite] takes ReadOnly back.
func ForRead() *Policy { return read }

// ForConnection retries lost, refused and timed-out connections only, never an answer of
// the API: 5 retries, 0.5 s to 10 s. It is for a first call at the start of a program.
// WithRetryIf and WithRetryOn add to it, such as a host name that does not exist yet. A
// WithClassifier given after it replaces that rule.
func ForConnection() *Policy { return connection }

// ForMaintenance is for work that must be completed, such as a migration: 10 retries,
// 0.5 s to 60 s.
func ForMaintenance() *Policy { return maintenance }

// ForBackground is for work that is repeated later anyway: 2 retries, 2 s to 10 s.
func ForBackground() *Policy { return background }

// ForEviction is for evictions of pods. While a PodDisruptionBudget allows none, it asks
// again after 5 s to 20 s; after other failures it waits 1 s to 30 s. The number of retries
// is not limited: give the context a deadline. A Retry-After longer than WithMaxRetryAfter
// ends the call, too. The error is the last refusal.
//
// [Evict] does the same with the UID of the pod as a precondition, so that a new pod of the
// same name is never evicted.
func ForEviction() *Policy { return eviction }
