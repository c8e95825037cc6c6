package k8sretrytest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Faults is a list of rules that make calls fail. [Faults.Install] adds it to a fake
// clientset, [Faults.Transport] puts it in front of a real server. One Faults can serve
// several clientsets and servers at the same time.
//
// A rule applies to a verb and a resource. The verb is one of RBAC (get, list, watch,
// create, update, patch, delete, deletecollection), or "apply" for server-side applies
// only; "patch" includes them. Any other verb panics. The resource is the plural name,
// such as "pods" or "pods/eviction"; as in RBAC, "pods" does not include
// "pods/eviction". The verb "*" is every verb, the resource "*" is every resource and
// subresource.
//
// If several rules apply to a call, the one that was added first decides, until it has
// been used n times. The zero Faults makes no call fail. A Faults is safe for
// concurrent use and must not be copied.
type Faults struct {
	mu    sync.Mutex
	rules []*rule
	calls map[call]int
}

// call is the verb and resource of a call.
type call struct{ verb, resource string }

// rule decides calls of its verb and resource: the next remaining ones, or each with
// a probability.
type rule struct {
	call
	fault
	remaining   int
	probability float64
	random      *rand.Rand // nil for a rule that counts
}

// fault is the effect of a rule on one call. The zero fault has none.
type fault struct {
	err     error
	execute bool // the server processes the call before it fails
}

// FailNext makes the next n calls of the verb and resource fail with err before they
// reach the server. With a nil err, the next n calls reach the server: rules that were
// added later apply only to the calls after them.
//
// A *StatusError is copied for each call; any other error is returned as it is.
func (f *Faults) FailNext(n int, verb, resource string, err error) {
	f.add(&rule{call: call{verb, resource}, fault: fault{err: err}, remaining: n})
}

// LoseResponses makes the next n calls of the verb and resource fail with err after the
// server has processed them. The response is lost, whether it reports success or
// failure.
func (f *Faults) LoseResponses(n int, verb, resource string, err error) {
	f.add(&rule{call: call{verb, resource}, fault: fault{err: err, execute: true}, remaining: n})
}

// FailRandomly makes each call of the verb and resource fail with err before it reaches
// the server, with the given probability from 0 to 1. The same seed makes the same
// calls fail, in the order in which they arrive.
func (f *Faults) FailRandomly(seed uint64, probability float64, verb, resource string, err error) {
	f.add(&rule{call: call{verb, resource}, fault: fault{err: err}, probability: probability, random: rand.New(rand.NewPCG(seed, 0))})
}

// LoseResponsesRandomly makes each call of the verb and resource fail with err after the
// server has processed it, with the given probability from 0 to 1. See
// [Faults.FailRandomly] for the seed.
func (f *Faults) LoseResponsesRandomly(seed uint64, probability float64, verb, resource string, err error) {
	f.add(&rule{call: call{verb, resource}, fault: fault{err: err, execute: true}, probability: probability, random: rand.New(rand.NewPCG(seed, 0))})
}

// Clear removes all rules. It does not reset the counts of [Faults.Calls].
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Calls returns the number of calls of the verb and resource, including those that
// failed. A Transport counts requests, including those that client-go retries itself.
func (f *Faults) Calls(verb, resource string) int {
	want := checked(call{verb, resource})
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for c, count := range f.calls {
		if want.includes(c) {
			n += count
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

// checked returns c and panics if its verb is unknown.
func checked(c call) call {
	if !slices.Contains(verbs, c.verb) {
		panic(fmt.Sprintf("k8sretrytest: unknown verb %q, want one of %s", c.verb, strings.Join(verbs, " ")))
	}
	return c
}

func (want call) includes(c call) bool {
	verb := want.verb == "*" || want.verb == c.verb || want.verb == "patch" && c.verb == "apply"
	return verb && (want.resource == "*" || want.resource == c.resource)
}

// next counts a call and returns the fault of the first rule that applies to it.
func (f *Faults) next(c call) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = make(map[call]int)
	}
	f.calls[c]++
	for _, r := range f.rules {
		if r.includes(c) && r.use() {
			return r.fault.copy()
		}
	}
	return fault{}
}

// use reports whether the rule decides this call, and counts it.
func (r *rule) use() bool {
	if r.random != nil {
		return r.random.Float64() < r.probability
	}
	if r.remaining <= 0 {
		return false
	}
	r.remaining--
	return true
}

// copy returns a fault whose *StatusError is not shared with other callers.
func (f fault) copy() fault {
	if s, ok := f.err.(*apierrors.StatusError); ok { //nolint:errorlint // a wrapped one is shared
		f.err = &apierrors.StatusError{ErrStatus: *s.ErrStatus.DeepCopy()}
	}
	return f
}
