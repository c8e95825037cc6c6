// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"net/http"
	"strings"
	"time"

	"github.com/k8sretry/k8sretry/worlds/faults"
	"github.com/k8sretry/k8sretry/worlds/trace"
	"github.com/k8sretry/k8sretry/worlds/ways"
)

// request is one request of a call.
type request struct {
	came     trace.Entry
	done     []trace.Entry // how often the server has carried it out: 0 or 1
	answered *trace.Entry
}

// isRead reports whether the request reads the object of a name.
func (r *request) isRead(of string) bool {
	return !r.came.Write && !r.came.Watch && strings.HasSuffix(r.came.Path, "/"+of)
}

// shows reports whether the answer to a read shows the object, or that there is none.
func (r *request) shows() bool {
	return r.answered.Code == http.StatusOK || r.answered.Code == http.StatusNotFound
}

// call is all that the trace says about one call.
type call struct {
	trace.Entry // OpBegins
	end         trace.Entry
	requests    []*request
	changes     []trace.Entry // that it has made
	dials       []trace.Entry
	lost        bool          // a connection has lost something that may be of the call
	clockSet    bool          // while it ran
	paused      time.Duration // while it ran
}

func (c *call) kind() ways.Call { return ways.Call(c.Call) }

// world is a trace in the order of calls.
type world struct {
	entries []trace.Entry
	calls   []*call
	changes []trace.Entry
}

// call returns a call by its number, nil if there is none.
func (w *world) call(op int) *call {
	for _, c := range w.calls {
		if c.Op == op {
			return c
		}
	}
	return nil
}

func read(entries []trace.Entry) *world {
	w := &world{entries: entries}
	calls := map[int]*call{}
	requests := map[[2]int]*request{}
	for _, e := range entries {
		c := calls[e.Op]
		switch e.Kind {
		case trace.OpBegins:
			c = &call{Entry: e}
			calls[e.Op] = c
			w.calls = append(w.calls, c)
		case trace.OpEnds:
			c.end = e
		case trace.RequestCame:
			if c != nil {
				r := &request{came: e}
				requests[[2]int{e.Op, e.N}] = r
				c.requests = append(c.requests, r)
			}
		case trace.RequestDone:
			if r := requests[[2]int{e.Op, e.N}]; r != nil {
				r.done = append(r.done, e)
			}
		case trace.Answered:
			if r := requests[[2]int{e.Op, e.N}]; r != nil && r.answered == nil {
				r.answered = &e
			}
		case trace.Changed:
			w.changes = append(w.changes, e)
			if c != nil && !strings.Contains(e.By, "/") {
				c.changes = append(c.changes, e)
			}
		case trace.DialFailed:
			if c != nil {
				c.dials = append(c.dials, e)
			}
		case trace.ConnectionLost:
			if c != nil {
				c.lost = true
			}
		default:
		}
	}
	for _, e := range entries {
		if e.Kind != trace.ClockSet && e.Kind != trace.ProcessPaused {
			continue
		}
		for _, c := range w.calls {
			switch during := e.At <= c.end.At; {
			case e.Kind == trace.ClockSet && during && e.At >= c.At:
				c.clockSet = true
			case e.Kind == trace.ProcessPaused && e.Program == c.Program && during && e.At+e.Limit >= c.At:
				c.paused += e.Limit
			}
		}
	}
	return w
}

// faults returns the kinds of faults that a call has met.
func (c *call) faults() map[faults.Kind]bool {
	met := map[faults.Kind]bool{}
	for _, r := range c.requests {
		if r.came.Fault != "" {
			met[faults.Kind(r.came.Fault)] = true
		}
		for _, d := range r.done {
			if d.Behind > 0 {
				met[faults.CacheBehind] = true
			}
		}
	}
	for _, d := range c.dials {
		met[faults.Kind(d.Fault)] = true
	}
	for kind, has := range map[faults.Kind]bool{faults.CacheBehind: c.Behind > 0, faults.ClockSet: c.clockSet, faults.ProcessPaused: c.paused > 0} {
		if has {
			met[kind] = true
		}
	}
	return met
}

// ambiguous reports whether the call had a reason to think that it may have been carried out
// without a usable answer.
func (c *call) ambiguous() bool {
	if c.lost || c.paused > 0 {
		return true
	}
	for _, r := range c.requests {
		if !r.came.Write {
			continue
		}
		switch {
		case faults.Kind(r.came.Fault).Ambiguous(), r.answered == nil, r.answered.At >= c.At+c.Limit, r.answered.At >= c.end.At:
			return true
		case !r.answered.Clean && !faults.Kind(r.came.Fault).Harmless():
			return true
		case r.answered.RetryAfter > 0 && !c.BelowAll:
			return true // client-go waits by itself, and forgets the answer if the attempt ends meanwhile
		}
	}
	return false
}

// accepted returns how many of its writes the server has accepted.
func (c *call) accepted() (n int) {
	for _, r := range c.requests {
		for _, d := range r.done {
			if d.Write && d.Code < 300 {
				n++
			}
		}
	}
	return n
}

// met reports whether a write of the call met a fault.
func (c *call) met(kind faults.Kind) bool {
	for _, r := range c.requests {
		if r.came.Write && faults.Kind(r.came.Fault) == kind {
			return true
		}
	}
	return false
}

// repeatedBelow reports whether a RoundTripper below the library has repeated a write of the call.
func (c *call) repeatedBelow() bool { return c.met(faults.InnerReplay) || c.met(faults.InnerResend) }

// settled returns when nothing of the call is under way any more.
func (c *call) settled() (at time.Duration) {
	for _, r := range c.requests {
		if !r.came.Write {
			continue
		}
		at = max(at, r.came.At)
		for _, d := range r.done {
			at = max(at, d.At)
		}
	}
	return at
}

// added returns how many objects the call has created.
func (c *call) added() (added []trace.Entry) {
	for _, e := range c.changes {
		if e.Type == "ADDED" {
			added = append(added, e)
		}
	}
	return added
}

// last returns the last change of the object that had a name, up to a version.
func (w *world) last(resource, name string, version int64) (last *trace.Entry) {
	for i, e := range w.changes {
		if e.Resource == resource && e.Name == name && e.Version <= version {
			last = &w.changes[i]
		}
	}
	return last
}

// isGone reports whether an object has been removed or is being deleted at a time.
func (w *world) isGone(uid string, at time.Duration) bool {
	for _, e := range w.changes {
		if e.UID == uid && e.At <= at && (e.Type == "DELETED" || strings.Contains(e.Object, `"deletionTimestamp"`)) {
			return true
		}
	}
	return false
}

// addition returns the change with which an object began.
func (w *world) addition(uid string) *trace.Entry {
	for i, e := range w.changes {
		if e.UID == uid && e.Type == "ADDED" {
			return &w.changes[i]
		}
	}
	return nil
}

// removedBetween reports whether others have removed an object of a call between two versions.
func (w *world) removedBetween(uid string, from, to int64) bool {
	for _, e := range w.changes {
		if e.UID == uid && e.Type == "DELETED" && e.Version > from && e.Version < to {
			return true
		}
	}
	return false
}
