// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"
	"slices"
	"time"

	"github.com/k8sretry/k8sretry/worlds/faults"
	"github.com/k8sretry/k8sretry/worlds/trace"
	"github.com/k8sretry/k8sretry/worlds/ways"
)

// Violation is a claim that the history contradicts, or a limit that was not kept.
type Violation struct {
	Op   int
	Rule Rule
	Text string
}

// Rule names what was violated.
type Rule string

// The rules.
const (
	DoneOnce     Rule = "success means carried out exactly once"
	NeverDone    Rule = "an error without ErrOutcomeUnknown means not carried out, now and later"
	Provable     Rule = "ErrOutcomeUnknown only where the history that the call may read could not have told"
	OtherObject  Rule = "no object of another UID is touched"
	KeepsDelay   Rule = "a Retry-After is kept"
	Bounded      Rule = "attempts and requests are bounded"
	WithinLimits Rule = "a call ends within its own limits"
	Fresh        Rule = "a read is not older than it asks for"
	KeepsLease   Rule = "an elector loses no lease while its server is well"
	NotHeldBack  Rule = "a call does not wait for another priority level"
	Converges    Rule = "an informer ends with the state of the server"
	NothingLeft  Rule = "nothing is left behind"
)

// Exception is what docs/safe-writes.md says goes by name alone, is last write wins, or cannot be
// known. The judge counts these.
type Exception string

// The exceptions.
const (
	ByNameAlone    Exception = "Do and Wrap delete by name alone: another object of the name"
	PatchByName    Exception = "patches and applies go by name alone: another object of the name"
	LastWriteWins  Exception = "merge patch or apply stored twice: last write wins"
	CreatedAgain   Exception = "created again after others had removed it"
	SameContent    Exception = "two clients with one field manager sent the same content"
	ChangesNothing Exception = "an update that changes nothing, of which no request was carried out"
	UnseenRedirect Exception = "a redirect made a GET of a write, no Transport"
	UnseenPage     Exception = "a page answered a deletion or an eviction, no Transport"
	NotFoundLater  Exception = "a 404 after a repeated delete reaches the client of a Transport as it came"
	HiddenReplay   Exception = "client-go repeated a JSON patch by itself after a 5xx with Retry-After, no Transport"
	InnerReplay    Exception = "another layer below repeated a JSON patch, or a create whose name the server draws, and brought a success"
	UnseenLoss     Exception = "another layer below repeated a write after a lost connection, which nothing but safe writes without a Transport notices"
	HiddenDelay    Exception = "the attempt timeout cut the wait of client-go for a Retry-After, which nothing can see without a Transport"
	LeaseOfTheDown Exception = "a lease was lost while the server was down or the process was paused, or with a connection that another layer below hides"
	FinalCheck     Exception = "the final check after the end of a call does not wait for a Retry-After"
)

// Judgement is what the judge says about a world.
type Judgement struct {
	Violations []Violation
	Exceptions map[Exception]int
	Claims     map[string]map[trace.Claim]int // by kind of call
	Cells      map[faults.Kind]map[string]int // operations that met a fault, by way of use
	Faults     map[faults.Kind]int            // requests and connections that met it
	Operations int
	Requests   int
	// Renewals is how many renewals of a lease were stored, OtherLevels how many calls began while a
	// Limiter had seen nothing but another exhausted priority level.
	Renewals, OtherLevels int
}

// Judge judges a trace.
func Judge(entries []trace.Entry) *Judgement {
	j := &Judgement{
		Exceptions: map[Exception]int{}, Claims: map[string]map[trace.Claim]int{}, Cells: map[faults.Kind]map[string]int{}, Faults: map[faults.Kind]int{},
	}
	w := read(entries)
	for _, e := range entries {
		switch e.Kind {
		case trace.RequestCame:
			j.Requests++
			if e.Fault != "" {
				j.Faults[faults.Kind(e.Fault)]++
			}
		case trace.DialFailed:
			j.Faults[faults.Kind(e.Fault)]++
		case trace.OpBegins, trace.RequestDone:
			if e.Behind > 0 {
				j.Faults[faults.CacheBehind]++
			}
		case trace.ProcessPaused:
			j.Faults[faults.ProcessPaused]++
		case trace.ClockSet:
			j.Faults[faults.ClockSet]++
		case trace.InformerDiffers:
			j.violation(0, Converges, "%s", e.Error)
		case trace.LeakDetected:
			j.violation(0, NothingLeft, "%s", e.Error)
		default:
		}
	}
	j.leases(w)
	for _, c := range w.calls {
		j.count(c)
		j.judge(w, c)
	}
	return j
}

func (j *Judgement) violation(op int, rule Rule, format string, args ...any) {
	j.Violations = append(j.Violations, Violation{op, rule, fmt.Sprintf(format, args...)})
}

func (j *Judgement) count(c *call) {
	j.Operations++
	if j.Claims[c.Call] == nil {
		j.Claims[c.Call] = map[trace.Claim]int{}
	}
	j.Claims[c.Call][c.end.Claim]++
	for kind := range c.faults() {
		if j.Cells[kind] == nil {
			j.Cells[kind] = map[string]int{}
		}
		j.Cells[kind][c.Way]++
	}
}

func (j *Judgement) judge(w *world, c *call) {
	switch c.end.Claim {
	case trace.Success:
		j.success(w, c)
	case trace.Certain:
		j.certain(c)
	case trace.Unknown:
		j.unknown(w, c)
	}
	j.touched(w, c)
	if c.met(faults.InnerResend) && (!isSafe(c) || c.BelowAll || isDo(c)) {
		j.exceptUnseen(c)
	}
	j.delays(c)
	j.otherLevels(w, c)
	j.bounds(c)
}

// exceptUnseen counts what the judge has found in a call below which another layer has repeated a
// write unseen.
func (j *Judgement) exceptUnseen(c *call) {
	before := len(j.Violations)
	j.Violations = slices.DeleteFunc(j.Violations, func(v Violation) bool {
		return v.Op == c.Op && (v.Rule == DoneOnce || v.Rule == NeverDone || v.Rule == OtherObject)
	})
	j.Exceptions[UnseenLoss] += before - len(j.Violations)
}

// success: carried out exactly once.
func (j *Judgement) success(w *world, c *call) {
	switch call := c.kind(); {
	case call.Reads():
		if len(c.changes) > 0 {
			j.violation(c.Op, DoneOnce, "a read has changed something")
		}
		j.fresh(w, c)
	case call.Creates():
		j.created(w, c)
	case call.Removes():
		j.removed(w, c)
	case call == ways.Merge, call == ways.Apply:
		if c.accepted() == 0 {
			j.nothingDone(c)
		} else if len(c.changes) > 1 {
			j.Exceptions[LastWriteWins]++
		}
	default:
		switch {
		case len(c.changes) > 1 && !c.BelowAll && call == ways.JSONAppend && c.met(faults.GatewayAfter):
			j.Exceptions[HiddenReplay]++
		case len(c.changes) > 1 && call == ways.JSONAppend && c.repeatedBelow():
			j.Exceptions[InnerReplay]++
		case len(c.changes) > 1:
			j.violation(c.Op, DoneOnce, "%d changes", len(c.changes))
		case c.accepted() == 0 && w.sameContent(c):
			j.Exceptions[SameContent]++
		case c.accepted() == 0 && w.changesNothing(c):
			j.Exceptions[ChangesNothing]++
		case c.accepted() == 0:
			j.nothingDone(c)
		}
	}
}

// changesNothing reports whether an update has the content of the version that it names. The
// object is then as if the update had been carried out.
func (w *world) changesNothing(c *call) bool {
	state := w.last(c.Resource, c.Name, c.Version)
	return c.kind() == ways.Update && state != nil && valueOf(state.Object) == c.Value
}

// fresh: a read shows what was stored when the call began, or at the version that it names; or
// anything if it says so.
func (j *Judgement) fresh(w *world, c *call) {
	call, lists := c.kind(), c.kind() == ways.List || c.kind() == ways.ListNotOlder
	var oldest int64
	for _, e := range w.changes {
		about := lists || e.Resource == c.Resource && e.Name == c.Name
		if about && (e.At < c.At && !call.NotOlder() || call.NotOlder() && e.Version <= c.Version) {
			oldest = max(oldest, e.Version)
		}
	}
	if !call.Cached() && c.end.Version < oldest {
		j.violation(c.Op, Fresh, "version %d, but %d was stored", c.end.Version, oldest)
	}
}

// nothingDone is a success without any effect.
func (j *Judgement) nothingDone(c *call) {
	switch {
	case !c.BelowAll && c.met(faults.Redirected) && !(c.kind().Creates() && isSafe(c)): // a safe Create sees that
		j.Exceptions[UnseenRedirect]++
	case !c.BelowAll && c.met(faults.LoginPage) && c.kind().Removes():
		j.Exceptions[UnseenPage]++
	default:
		j.violation(c.Op, DoneOnce, "success, but not carried out")
	}
}

// created judges the success of a create. Two objects are right only if others had removed the
// first before the second.
func (j *Judgement) created(w *world, c *call) {
	added := c.added()
	if len(added) == 0 {
		j.nothingDone(c)
	}
	for i := 1; i < len(added); i++ {
		if added[i].Name == added[i-1].Name && w.removedBetween(added[i-1].UID, added[i-1].Version, added[i].Version) {
			j.Exceptions[CreatedAgain]++
			continue
		}
		if c.kind() == ways.Generate && isOnTransportAlone(c) && c.repeatedBelow() {
			j.Exceptions[InnerReplay]++ // the server draws the names
			continue
		}
		j.violation(c.Op, DoneOnce, "%d objects created", len(added))
		return
	}
}

func (j *Judgement) removed(w *world, c *call) {
	if c.UID != "" && w.isGone(c.UID, c.end.At) || c.accepted() > 0 {
		return
	}
	j.nothingDone(c)
}

// sameContent reports whether another client with the same manager has written the same content.
func (w *world) sameContent(c *call) bool {
	if c.kind() != ways.Update {
		return false
	}
	for _, e := range w.changes {
		other := w.call(e.Op)
		if e.Resource == c.Resource && e.Name == c.Name && e.Version > c.Version && other != nil && other.Caller == c.Caller && valueOf(e.Object) == c.Value {
			return true
		}
	}
	return false
}

// certain: not carried out, and never will be.
func (j *Judgement) certain(c *call) {
	if len(c.changes) == 0 {
		return
	}
	if c.kind().Removes() && isOnTransportAlone(c) && isNotFound(c.end.Error) {
		j.Exceptions[NotFoundLater]++
		return
	}
	if !c.BelowAll && c.met(faults.Redirected) && !isSafe(c) {
		j.Exceptions[UnseenRedirect]++
		return
	}
	j.violation(c.Op, NeverDone, "the error %q says that nothing was done, but version %d is of the call", c.end.Error, c.changes[0].Version)
}

// touched: no object of another UID.
func (j *Judgement) touched(w *world, c *call) {
	call := c.kind()
	if c.UID == "" || call.Creates() || call == ways.Modify || call == ways.ModifyStatus {
		return // they name no UID, or that of what they read
	}
	for _, e := range c.changes {
		if e.UID == c.UID {
			continue
		}
		switch {
		case call == ways.Merge, call == ways.Apply, call == ways.JSONAppend:
			j.Exceptions[PatchByName]++
		case !isSafe(c) && (call == ways.Delete || call == ways.Evict):
			if j.deletedByName(w, c, e) {
				return
			}
		default:
			j.violation(c.Op, OtherObject, "version %d is of the object %s, the call was about %s", e.Version, e.UID, c.UID)
			return
		}
	}
}

// deletedByName judges the deletion of another object by a call that gave the name alone. Its
// first request takes what has the name. A repetition takes an object that was created since
// only without a Transport.
func (j *Judgement) deletedByName(w *world, c *call, e trace.Entry) (violated bool) {
	added := w.addition(e.UID)
	first := true // or a repetition by an inner layer
	for _, r := range c.requests {
		if !r.came.Write {
			continue
		}
		for _, d := range r.done {
			if d.Version == e.Version && !first && added != nil && added.At > c.At && c.BelowAll {
				j.violation(c.Op, OtherObject, "a repetition has deleted the object %s, which was created after the call began", e.UID)
				return true
			}
		}
		first = faults.Kind(r.came.Fault).ByInnerLayer()
	}
	j.Exceptions[ByNameAlone]++
	return false
}

// delays: every Retry-After is kept.
func (j *Judgement) delays(c *call) {
	for i, r := range c.requests {
		if r.answered == nil || r.answered.RetryAfter == 0 || c.lost || i+1 == len(c.requests) {
			continue
		}
		next, earliest := c.requests[i+1].came, r.answered.At+r.answered.RetryAfter
		if next.At+time.Millisecond >= earliest || next.At < r.answered.At { // the client had given up
			continue
		}
		switch {
		case isSafe(c) && !next.Write:
			j.Exceptions[FinalCheck]++
			continue
		case !c.BelowAll:
			j.Exceptions[HiddenDelay]++
			continue
		}
		j.violation(c.Op, KeepsDelay, "request %d came %v before the end of the Retry-After of request %d", next.N, earliest-next.At, r.came.N)
	}
}

// maxHidden is how many requests client-go makes of one without a Transport.
const maxHidden = 11

// bounds: requests and time.
func (j *Judgement) bounds(c *call) {
	writes, conflicts := 0, 0
	for _, r := range c.requests {
		if r.came.Write {
			writes++
			if r.answered != nil && r.answered.Code == 409 {
				conflicts++
			}
		}
	}
	limit := c.Retries + 1
	if c.kind() == ways.Modify || c.kind() == ways.ModifyStatus {
		limit += conflicts
	}
	inner := 0
	for _, r := range c.requests {
		if kind := faults.Kind(r.came.Fault); kind.ByInnerLayer() || kind == faults.Redirected {
			inner++ // one more by what is below, or by net/http
			if kind == faults.Redirected && isOnTransportAlone(c) {
				inner += c.Retries // net/http follows above the Transport, with a new request
			}
		}
	}
	limit += inner
	if !c.BelowAll {
		limit *= maxHidden
	}
	if writes > limit {
		j.violation(c.Op, Bounded, "%d writes, at most %d are allowed", writes, limit)
	}
	allowed := c.Limit + 100*time.Millisecond + c.paused
	if isSafe(c) {
		allowed += ways.FinalCheck
	}
	if took := c.end.At - c.At; took > allowed {
		j.violation(c.Op, WithinLimits, "took %v, its context ended after %v", took, c.Limit)
	}
	if c.end.Kind == "" {
		j.violation(c.Op, WithinLimits, "has not ended")
	}
}
