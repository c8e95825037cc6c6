package k8sretrytest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Faults says which calls fail, and how. It is put into a fake clientset by
// [Faults.Install] or in front of a real server by [Faults.Transport]; one Faults
// can serve several at a time.
//
// A verb is one of RBAC's (get, list, watch, create, update, patch, delete,
// deletecollection), or "apply" for those patches that are server-side applies; any
// other verb panics, for it would never match. A resource is the plural name,
// "pods" or "pods/eviction"; as in RBAC, "pods" does not cover "pods/eviction". "*"
// is every verb, and every resource with all its subresources.
//
// Of several rules that cover a call, the one set first decides, until it is used
// up. The zero Faults lets everything through. A Faults is safe for concurrent use,
// and must not be copied.
type Faults struct {
	mu    sync.Mutex
	rules []*rule
	calls map[call]int
}

// call is what a rule can see of a call.
type call struct{ verb, resource string }

// rule is the fate of the calls that it covers: the next left ones, or each with a
// probability.
type rule struct {
	call
	fault
	left        int
	probability float64
	random      *rand.Rand // nil for a rule that counts
}

// fault is the fate of one call. The zero fault lets it through.
type fault struct {
	err   error
	after bool // the call is carried out, then its answer is lost
}

// FailNext makes the next n calls of the verb and resource fail with err. The server
// never sees them. A nil err lets n calls through, so that a later rule begins with
// the call after those.
//
// A *StatusError is copied for each call; other errors are returned as they are.
func (f *Faults) FailNext(n int, verb, resource string, err error) {
	f.add(&rule{call: call{verb, resource}, fault: fault{err: err}, left: n})
}

// LoseResponses has the next n calls of the verb and resource carried out, and then fail
// with err: whatever the server answered, success or refusal, is lost.
func (f *Faults) LoseResponses(n int, verb, resource string, err error) {
	f.add(&rule{call: call{verb, resource}, fault: fault{err: err, after: true}, left: n})
}

// FailRandomly makes each call of the verb and resource fail with err, at the given
// probability, from 0 to 1. The server never sees those that fail. The same seed
// gives the same calls, counted in the order in which they come.
func (f *Faults) FailRandomly(seed uint64, probability float64, verb, resource string, err error) {
	f.add(&rule{call: call{verb, resource}, fault: fault{err: err}, probability: probability, random: rand.New(rand.NewPCG(seed, 0))})
}

// LoseResponsesRandomly has each call of the verb and resource carried out, and loses the
// answer, at the given probability, from 0 to 1: the call fails with err. For the
// seed see [Faults.FailRandomly].
func (f *Faults) LoseResponsesRandomly(seed uint64, probability float64, verb, resource string, err error) {
	f.add(&rule{call: call{verb, resource}, fault: fault{err: err, after: true}, probability: probability, random: rand.New(rand.NewPCG(seed, 0))})
}

// Clear forgets all rules. The counts of [Faults.Calls] stay.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Calls is how often the verb and resource were called, failures included. Behind a
// Transport it counts requests, those that client-go repeats by itself included.
func (f *Faults) Calls(verb, resource string) int {
	want := checked(call{verb, resource})
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for c, times := range f.calls {
		if want.covers(c) {
			n += times
		}
	}
	return n
}

func (f *Faults) add(r *rule) {
	checked(r.call)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, r)
}

var verbs = []string{"*", "get", "list", "watch", "create", "update", "patch", "apply", "delete", "deletecollection"}

func checked(c call) call {
	if !slices.Contains(verbs, c.verb) {
		panic(fmt.Sprintf("k8sretrytest: unknown verb %q, want one of %s", c.verb, strings.Join(verbs, " ")))
	}
	return c
}

func (want call) covers(c call) bool {
	verb := want.verb == "*" || want.verb == c.verb || want.verb == "patch" && c.verb == "apply"
	return verb && (want.resource == "*" || want.resource == c.resource)
}

// next counts a call and decides its fate.
func (f *Faults) next(c call) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = make(map[call]int)
	}
	f.calls[c]++
	for _, r := range f.rules {
		if r.covers(c) && r.strikes() {
			return r.fault.copy()
		}
	}
	return fault{}
}

// strikes reports whether the rule decides this call, and uses it up.
func (r *rule) strikes() bool {
	if r.random != nil {
		return r.random.Float64() < r.probability
	}
	if r.left <= 0 {
		return false
	}
	r.left--
	return true
}

// copy keeps callers from sharing what one of them may change.
func (f fault) copy() fault {
	if s, ok := f.err.(*apierrors.StatusError); ok {
		f.err = &apierrors.StatusError{ErrStatus: *s.ErrStatus.DeepCopy()}
	}
	return f
}
