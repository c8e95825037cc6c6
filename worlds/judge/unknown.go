// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/k8sretry/k8sretry/worlds/faults"
	"github.com/k8sretry/k8sretry/worlds/trace"
	"github.com/k8sretry/k8sretry/worlds/ways"
)

// isSafe reports whether the call is a safe write, which looks for the outcome.
func isSafe(c *call) bool {
	return strings.HasPrefix(c.Way, "safe writes") || strings.HasPrefix(c.Way, "k8sretryctrl")
}

// isDo reports whether the call is a safe write that is made of a Do, which does not notice that
// another layer has repeated a write.
func isDo(c *call) bool { return strings.HasPrefix(c.Way, "k8sretryctrl") && c.kind() == ways.Evict }

// isOnTransportAlone reports whether nothing but a Transport retries.
func isOnTransportAlone(c *call) bool { return strings.HasPrefix(c.Way, "Transport") }

func isNotFound(text string) bool { return strings.Contains(text, "not found") }

// content is what the judge reads of an object.
type content struct {
	Metadata struct {
		Annotations       map[string]string `json:"annotations"`
		DeletionTimestamp string            `json:"deletionTimestamp"`
		ManagedFields     []struct {
			Time string `json:"time"`
		} `json:"managedFields"`
	} `json:"metadata"`
	Data, Spec struct {
		Value string `json:"value"`
	}
}

func contentOf(object string) (c content) {
	_ = json.Unmarshal([]byte(object), &c) // what cannot be read has no value
	return c
}

func valueOf(object string) string {
	c := contentOf(object)
	return c.Data.Value + c.Spec.Value
}

// atOnce is how long an answer takes that is not late. For a late one the call may not have waited.
const atOnce = 30 * time.Millisecond

// longAgo is more than clocks may differ.
const longAgo = 40 * time.Minute

// unknown: only where nothing that the call may read could have told.
func (j *Judgement) unknown(w *world, c *call) {
	switch {
	case c.kind().Reads():
		j.violation(c.Op, Provable, "a read says that its outcome is unknown")
		return
	case !c.ambiguous():
		j.violation(c.Op, Provable, "every request had an answer of the server: %s", c.end.Error)
		return
	case !isSafe(c), c.paused > 0: // it may have been too late for what a read has shown
		return
	}
	if e, state := w.lastLook(c); e != nil {
		if why := w.couldTell(c, state); why != "" {
			j.violation(c.Op, Provable, "request %d could have told: %s (%s)", e.N, why, c.end.Error)
		}
	}
}

// lastLook returns the last read of the object whose answer has reached the call when nothing of
// it was under way any more, and the object that it showed.
func (w *world) lastLook(c *call) (look, state *trace.Entry) {
	settled, followed := c.settled(), false
	for _, r := range c.requests {
		if followed { // the answer is taken for that to the write
			followed = faults.Kind(r.came.Fault) == faults.Redirected
			continue
		}
		followed = faults.Kind(r.came.Fault) == faults.Redirected && (r.came.Write || !c.BelowAll)
		name := c.Name
		if added := c.added(); c.kind() == ways.Generate && len(added) > 0 {
			name = added[0].Name
		}
		if !r.isRead(name) || len(r.done) == 0 || r.done[0].At < settled || r.answered == nil || !r.answered.Clean || !r.shows() ||
			r.answered.At-r.came.At > atOnce || r.answered.At > c.end.At {
			continue
		}
		look = &r.done[0]
		state = w.last(c.Resource, name, look.Version)
	}
	return look, state
}

// couldTell says why a read of the object has shown the outcome, "" if it has not.
func (w *world) couldTell(c *call, state *trace.Entry) string {
	exists := state != nil && state.Type != "DELETED"
	switch call := c.kind(); {
	case call.Creates():
		if !exists {
			return ""
		}
		obj := contentOf(state.Object)
		added := w.addition(state.UID)
		switch {
		case added.Op == c.Op && call == ways.Generate:
			return "the object has the generated name"
		case added.Op == c.Op && call == ways.CreateOwned && state.Version == added.Version:
			return "the object has the owner and the content"
		case added.Op == c.Op && call == ways.Create && obj.Metadata.Annotations["k8sretry.dev/call-create"] != "":
			return "the object has the mark"
		case added.Op != c.Op && c.At-added.At > longAgo && len(c.added()) == 0:
			return "the object is older than the call"
		}
	case call.Removes():
		switch {
		case !exists:
			return "the object is gone"
		case state.UID != c.UID:
			return "the object is another one"
		case !c.WasGoing && contentOf(state.Object).Metadata.DeletionTimestamp != "":
			return "the object is being deleted"
		}
	case call == ways.Update, call == ways.UpdateStatus, call == ways.Modify:
		if !exists || state.Op != c.Op || len(c.changes) == 0 {
			return ""
		}
		if call == ways.Modify && contentOf(state.Object).Metadata.Annotations["k8sretry.dev/call"] == "" {
			return ""
		}
		if obj := contentOf(state.Object); call != ways.Modify && obj.isOfOneSecond() {
			return ""
		}
		return "the object is as the call has written it"
	}
	return ""
}

// isOfOneSecond reports whether two field managers have written last within the same second. Equal
// content does not show then which of them it was.
func (c *content) isOfOneSecond() bool {
	last, number := "", 0
	for _, e := range c.Metadata.ManagedFields {
		switch {
		case e.Time > last:
			last, number = e.Time, 1
		case e.Time == last:
			number++
		}
	}
	return number > 1
}
