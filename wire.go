package k8sretry

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/clientgo"
)

// transportBuilt is set by the first Transport of the process. Calls that read carry
// a record only from then on, because only a Transport would look for it.
var transportBuilt atomic.Bool

// wire is the record of one call: what net/http and a Transport tell about its
// attempts. An error alone cannot prove that nothing was sent: a timeout looks the
// same whether the server worked on the request or the connection never came about.
// Nor does it tell what client-go has seen and forgotten on the way.
//
// It is itself the context that fn is given, so that it costs one allocation. Its
// fields are written by the goroutines of fn and of net/http, possibly after fn has
// returned; being late, they can only make an outcome less certain.
type wire struct {
	context.Context // the caller's, with the trace if there is one; nil before the first attempt

	asked     atomic.Int32 // requests that looked for a connection in this attempt
	connected atomic.Int32 // requests that got one
	carried   atomic.Int32 // of these, requests that a Transport has sent
	jsonPatch atomic.Bool  // the trace has seen the header of a JSON patch
	closed    atomic.Bool  // the call has returned: watches and informers keep its context
	many      bool         // the call deletes a collection

	trace   *httptrace.ClientTrace // nil if the record hooks into nothing
	guarded bool                   // the call has asked a breaker or a gate of its own
	retries int                    // that the call may make
	spare   atomic.Int32           // how many repetitions of net/http's own fit into them
	extra   atomic.Int32           // how many it has made in this attempt

	mu     sync.Mutex
	budget *Budget // that a Transport has lent
	seen   sent    // what a Transport saw in this attempt
	keep   bool    // the failed attempt's response is still needed, and with it its context
}

// sent is what a Transport saw of an attempt.
type sent struct {
	requests   int
	pure       bool          // none of them can change anything that is stored
	done       bool          // a write was answered with 2xx
	many       bool          // the last request deletes a collection
	diverted   bool          // a write was redirected to where net/http only reads
	doubt      bool          // a write before the last request may have been carried out
	lastDoubt  bool          // the last request may have been
	notTaken   bool          // the last request was not taken by the server
	retryAfter time.Duration // what the last answer asked for
	suspects   [2]suspect    // whose bodies decide whether they may be repeated
	suspected  int
}

type suspect struct {
	req *http.Request
	why apirequest.RepeatRisk
}

// wireKey finds the record of the innermost call that is still running.
type wireKey struct{}

// recordIn returns the record of the call that ctx belongs to, nil if there is none.
func recordIn(ctx context.Context) *wire {
	w, _ := ctx.Value(wireKey{}).(*wire)
	return w
}

func (w *wire) Value(key any) any {
	if key == (wireKey{}) && !w.closed.Load() {
		return w
	}
	return w.Context.Value(key)
}

// tracedWire is a record and its hooks in net/http.
type tracedWire struct {
	wire
	trace httptrace.ClientTrace
}

// newWire makes the record of a call. For a call that writes it hooks into net/http,
// into as little as it can: every hook is an allocation. A request is written only on
// a connection it got, so that GotConn comes before its first byte; that WroteHeaders
// has not come proves less, a cancelled request may be just being written.
func newWire(verb Verb) *wire {
	if verb == VerbUnspecified || verb.reads() {
		return new(wire)
	}
	t := new(tracedWire)
	w := &t.wire
	w.many = verb == VerbDeleteCollection
	w.trace = &t.trace
	t.trace.GetConn = w.getConn
	t.trace.GotConn = w.gotConn
	if verb == VerbPatch {
		t.trace.WroteHeaderField = w.wroteHeaderField
	}
	return w
}

// context returns ctx, which is the same for all attempts, with the record.
func (w *wire) context(ctx context.Context) context.Context {
	switch {
	case w.Context != nil:
	case w.trace != nil:
		w.Context = httptrace.WithClientTrace(ctx, w.trace)
	default:
		w.Context = ctx
	}
	return w
}

func (w *wire) getConn(string)                { w.asked.Add(1) }
func (w *wire) gotConn(httptrace.GotConnInfo) { w.connected.Add(1) }
func (w *wire) wroteHeaderField(key string, values []string) {
	// RFC 6902, section 6. A JSON patch may append to a list: twice is not once.
	if strings.EqualFold(key, "Content-Type") && len(values) > 0 && apirequest.IsJSONPatch(values[0]) {
		w.jsonPatch.Store(true)
	}
}

// begin makes the record ready for the given attempt.
func (w *wire) begin(attempt int) {
	if attempt == 1 {
		w.spare.Store(int32(min(w.retries, manyRetries)))
		return
	}
	w.asked.Store(0)
	w.connected.Store(0)
	w.carried.Store(0)
	w.extra.Store(0)
	w.spare.Store(int32(max(0, min(w.retries-attempt+1, manyRetries))))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen, w.keep = sent{}, false
}

// manyRetries is more than anybody waits for, and fits an int32.
const manyRetries = 1 << 30

// close ends the record with its call.
func (w *wire) close() {
	if w == nil {
		return
	}
	w.closed.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.suspects = [2]suspect{} // and with them the bodies of the requests
}

// kept reports whether the context of the attempt must outlive it.
func (w *wire) kept() bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.keep
}

func (w *wire) keepContext() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep = true
}

// unshield takes the shield off what fn returns.
func (w *wire) unshield(err error) error {
	if w == nil || err == nil {
		return err
	}
	return clientgo.RevealError(err)
}

// repeats is how often net/http has repeated a request of the attempt by itself.
func (w *wire) repeats() int {
	if w == nil {
		return 0
	}
	return int(w.extra.Swap(0))
}

// note adds what a Transport saw of one request.
func (w *wire) note(k *apirequest.Request, req *http.Request, resp *http.Response, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.seen
	if err != nil || resp.StatusCode >= http.StatusMultipleChoices {
		k.StoresNothing = k.StoresNothing || k.DryRunInBody(req)
	}
	writes := !k.Verb.Reads() && !k.StoresNothing
	s.pure = k.StoresNothing && (s.pure || s.requests == 0)
	s.doubt = s.doubt || s.lastDoubt
	s.requests++
	s.lastDoubt, s.retryAfter, s.notTaken = false, 0, false
	s.many = k.Verb == apirequest.DeleteCollection
	switch {
	case err != nil:
		s.notTaken = err == errNotTaken
		s.lastDoubt = writes && !s.notTaken && Classify(&url.Error{Op: req.Method, Err: err}).Outcome != OutcomeNotExecuted
	case resp.StatusCode < http.StatusMultipleChoices:
		s.done = s.done || writes
	case resp.StatusCode < http.StatusBadRequest:
		// net/http follows 301, 302 and 303 with a GET: the write is lost on the way.
		s.diverted = s.diverted || writes && resp.StatusCode <= http.StatusSeeOther
	default:
		s.lastDoubt = writes && (resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusRequestTimeout)
		s.retryAfter = clientgo.RetryAfter(resp.Header)
	}
	if k.Risk != apirequest.RiskNone {
		if s.suspected < len(s.suspects) {
			s.suspects[s.suspected] = suspect{req, k.Risk}
		}
		s.suspected++
	}
}

// correct betters a verdict by what was seen.
//
// That nothing was sent is believed only where a transport was seen at work: fake
// clientsets and test doubles never call the hooks.
func (w *wire) correct(v *Verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.seen
	asked, connected := w.asked.Load(), w.connected.Load()
	unseen := s.requests > 0 && connected > w.carried.Load() // by the Transport
	switch {
	case v.StatusCode == 0 && s.notTaken:
		v.Class, v.Outcome, v.Detail = ClassConnection, OutcomeNotExecuted, "request not taken by the server"
	case s.pure && v.Class.transient():
		v.Outcome = OutcomeNotExecuted
		if s.many {
			v.Detail = nothingStored // whatever it says of one object
		}
	case v.Outcome == OutcomeUnknown && v.StatusCode == 0 && asked > 0 && connected == 0:
		v.Outcome, v.Detail = OutcomeNotExecuted, "no connection was obtained"
	case v.Outcome == OutcomeNotExecuted && v.Class == ClassRefused && s.requests == 0 && connected > 0:
		// client-go has repeated the request by itself, and forgotten the first answer.
		v.Outcome, v.Detail = OutcomeUnknown, "refused after an earlier request of the attempt"
	}
	if v.Outcome == OutcomeNotExecuted && (s.done || s.doubt || unseen) {
		v.Outcome, v.Detail = OutcomeUnknown, "another request of the attempt was sent"
	}
	if v.Outcome == OutcomeNotExecuted && (s.many || w.many) && !s.pure && !v.beforeAnyObject() {
		v.Outcome = OutcomeUnknown // of the last object tried; what became of those before, it does not say
	}
	v.RetryAfter = max(v.RetryAfter, s.retryAfter)
}

// unsafe reports whether the attempt was of a kind that must not be repeated blindly,
// whatever the verb allows.
func (w *wire) unsafe() bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	s := w.seen
	w.mu.Unlock()
	if s.requests == 0 {
		return w.jsonPatch.Load()
	}
	for _, suspect := range s.suspects[:min(s.suspected, len(s.suspects))] {
		if suspect.why.Confirmed(suspect.req) {
			return true
		}
	}
	return s.suspected > len(s.suspects)
}
