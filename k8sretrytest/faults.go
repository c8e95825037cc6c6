// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

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
	mu        sync.Mutex
	rules     []*rule
	reactions []*rule
	calls     map[call]int
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
	resp    *Response // instead of err
	execute bool      // the server processes the call before it fails
	react   func()    // after the server has processed the call; may be nil
}

// replaces reports whether the fault replaces the result of a call.
func (f fault) replaces() bool { return f.err != nil || f.resp != nil }

// FailNext makes the next n calls of the verb and resource fail with err before they
// reach the server. With a nil err, the next n calls reach the server: rules that were
// added later apply only to the calls after them.
//
// A *StatusError is copied for each call, and is about the object of the call if it is one of
// this package that names the pod web-0; see [Named]. Any other error is returned as it is.
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

// RespondNext answers the next n requests of the verb and resource with resp, before they
// reach the server. It is for [Faults.Transport]: a fake clientset has no responses, and
// passes over such rules.
func (f *Faults) RespondNext(n int, verb, resource string, resp Response) {
	f.add(&rule{call: call{verb, resource}, fault: fault{resp: &resp}, remaining: n})
}

// ReplaceResponses answers the next n requests of the verb and resource with resp, after
// the server has processed them. It is for [Faults.Transport], like [Faults.RespondNext].
func (f *Faults) ReplaceResponses(n int, verb, resource string, resp Response) {
	f.add(&rule{call: call{verb, resource}, fault: fault{resp: &resp, execute: true}, remaining: n})
}

// AfterNext calls react after the server has processed each of the next n calls of the verb
// and resource, and before the client gets the response, or the fault that replaces it. This
// is the moment at which other clients can do the most harm: react may write the same object
// by itself, with this library, or delete it.
//
//	faults.AfterNext(1, "create", "configmaps", func() { addFinalizer(other) })
//	faults.LoseResponses(1, "create", "configmaps", k8sretrytest.ConnectionReset())
//
// AfterNext does not count as a rule for the same calls. Watches, and calls that fail before
// they reach the server, do not count. Calls made by react count like others.
func (f *Faults) AfterNext(n int, verb, resource string, react func()) {
	r := &rule{call: checked(call{verb, resource}), fault: fault{react: react}, remaining: n}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reactions = append(f.reactions, r)
}

// Throttle makes every call of the resource fail with [TooManyRequests] until end is called,
// as a server whose flow control limits one resource does. Calls of other resources are
// served. Calls that earlier rules decide are not affected.
func (f *Faults) Throttle(resource string, retryAfter time.Duration) (end func()) {
	r := &rule{call: call{"*", resource}, fault: fault{err: TooManyRequests(retryAfter)}, remaining: math.MaxInt}
	f.add(r)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.rules = slices.DeleteFunc(f.rules, func(other *rule) bool { return other == r })
	}
}

// Clear removes all rules, and those of AfterNext. It does not reset the counts of [Faults.Calls].
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules, f.reactions = nil, nil
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

// next counts a call and returns the fault of the first rule that applies to it. Rules with
// a Response apply to requests only.
func (f *Faults) next(c call, isRequest bool) (found fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = make(map[call]int)
	}
	f.calls[c]++
	for _, r := range f.rules {
		if r.includes(c) && (r.resp == nil || isRequest) && r.use() {
			found = r.fault.copy()
			break
		}
	}
	if found.replaces() && !found.execute || c.verb == "watch" {
		return found
	}
	for _, r := range f.reactions {
		if r.includes(c) && r.use() {
			found.react = r.react
			break
		}
	}
	return found
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
