package k8sretry

import (
	"math"
	"time"
)

// The presets are made once and shared: a Policy has no state.
var (
	write = NewPolicy(setting{numReadOnly, 0}, WithMaxRetries(5), WithInitialDelay(2*time.Second), WithMaxDelay(30*time.Second))
	read  = NewPolicy(ReadOnly(), WithMaxRetries(3), WithInitialDelay(time.Second), WithMaxDelay(10*time.Second))

	connection = NewPolicy(WithMaxRetries(5), WithInitialDelay(500*time.Millisecond), WithMaxDelay(10*time.Second),
		setting{numConnectionOnly, 1})
	maintenance = NewPolicy(WithMaxRetries(10), WithInitialDelay(500*time.Millisecond), WithMaxDelay(60*time.Second))
	background  = NewPolicy(WithMaxRetries(2), WithInitialDelay(2*time.Second), WithMaxDelay(10*time.Second))
	eviction    = NewPolicy(WithMaxRetries(math.MaxInt32), WithInitialDelay(time.Second), WithMaxDelay(30*time.Second))
)

// ForWrite is for calls that change something and matter: 5 retries, 2 s to
// 30 s. Together with WithVerb(VerbCreate) and its like it stops rather than do a
// thing twice.
func ForWrite() *Policy { return write }

// ForRead is for reads that somebody waits for: 3 retries, 1 s to 10 s. Unless
// WithVerb says otherwise, it is taken for granted that the call changes nothing, so
// that the outcome of a failed attempt is never in doubt. A preset after it changes the
// schedule and not this: a Policy that begins with ForRead is not for writes.
func ForRead() *Policy { return read }

// ForConnection retries lost, refused and timed-out connections only, never an
// answer of the API: 5 retries, 0.5 s to 10 s. For a first call at the start of a
// program, say. WithRetryIf and WithRetryOn add to it, such as a host name that does not
// exist yet; a WithClassifier after it takes its place.
func ForConnection() *Policy { return connection }

// ForMaintenance is for work that has to get through, such as a migration: 10
// retries, 0.5 s to 60 s.
func ForMaintenance() *Policy { return maintenance }

// ForBackground is for work that comes round again by itself: 2 retries, 2 s to 10 s.
func ForBackground() *Policy { return background }

// ForEviction is for evictions of pods: while a PodDisruptionBudget allows none it
// asks again after 5 s to 20 s, other failures wait 1 s to 30 s, and no number of
// retries ends it: give it a context with a deadline. A Retry-After beyond
// WithMaxRetryAfter ends it, too. At the end the refusal itself is
// the error. [Evict] does it with the pod's UID as a precondition, so that a new pod of
// the same name is never evicted in its place.
func ForEviction() *Policy { return eviction }
