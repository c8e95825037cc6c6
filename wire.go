package k8sretry

import (
	"context"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
)

// wire is what net/http tells about the attempts of a call that writes. An error
// alone cannot prove that nothing was sent: a timeout looks the same whether the
// server worked on the request or the connection never came about.
//
// Its fields are counted in goroutines of the transport, possibly after fn has
// returned; being late, they can only make an outcome less certain.
type wire struct {
	trace     httptrace.ClientTrace
	asked     atomic.Int32 // requests that looked for a connection in this attempt
	connected atomic.Int32 // requests that got one
	jsonPatch atomic.Bool  // one of them was a JSON patch
}

// newWire hooks into as little as it can: every hook is an allocation. A request is
// written only on a connection it got, so that GotConn comes before its first byte;
// that WroteHeaders has not come proves less, a cancelled request may be just
// being written.
func newWire(verb Verb) *wire {
	w := new(wire)
	w.trace.GetConn = w.getConn
	w.trace.GotConn = w.gotConn
	if verb == VerbPatch {
		w.trace.WroteHeaderField = w.wroteHeaderField
	}
	return w
}

func (w *wire) getConn(string)                { w.asked.Add(1) }
func (w *wire) gotConn(httptrace.GotConnInfo) { w.connected.Add(1) }
func (w *wire) wroteHeaderField(key string, values []string) {
	// RFC 6902, section 6. A JSON patch may append to a list: twice is not once.
	if strings.EqualFold(key, "Content-Type") && len(values) > 0 &&
		strings.HasPrefix(values[0], "application/json-patch+json") {
		w.jsonPatch.Store(true)
	}
}

// context returns ctx for the next attempt, observed.
func (w *wire) context(ctx context.Context) context.Context {
	w.asked.Store(0)
	w.connected.Store(0)
	return httptrace.WithClientTrace(ctx, &w.trace)
}

// correct betters a verdict by what was seen. It reports whether the attempt was of
// a kind that must not be repeated blindly, whatever the verb allows.
//
// That nothing was sent is believed only where a transport was seen at work: fake
// clientsets and test doubles never call the hooks.
func (w *wire) correct(v *Verdict) (unsafe bool) {
	if w == nil {
		return false
	}
	if v.Outcome == OutcomeUnknown && v.StatusCode == 0 && w.asked.Load() > 0 && w.connected.Load() == 0 {
		v.Outcome, v.Detail = OutcomeNotExecuted, "no connection was obtained"
	}
	return w.jsonPatch.Load()
}
