// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"net/http"
	"time"

	"github.com/k8sretry/k8sretry/worlds/faults"
	"github.com/k8sretry/k8sretry/worlds/trace"
)

// RenewDeadline is how long an elector tries to renew its lease.
const RenewDeadline = 10 * time.Second

// leases: an elector loses no lease while its server is well. A connection that is lost or goes silent
// must not cost it, either, unless a RoundTripper below the Transport hides the connections.
func (j *Judgement) leases(w *world) {
	var unwell []span
	down := map[int]time.Duration{}
	redials := false
	for _, e := range w.entries {
		switch e.Kind {
		case trace.ServerDown, trace.ReplicaDown:
			down[e.N] = e.At
			unwell = append(unwell, span{e.At, 1 << 62})
		case trace.ServerUp, trace.ReplicaUp:
			for i := range unwell {
				if unwell[i].to == 1<<62 && unwell[i].from == down[e.N] {
					unwell[i].to = e.At
				}
			}
		case trace.ConnectionLost:
			if w.call(e.Op) == nil && !redials {
				unwell = append(unwell, span{e.At, e.At})
			}
		case trace.LeaseHeld:
			redials = e.BelowAll
		case trace.ProcessPaused:
			if e.Program == 0 { // that of the elector
				unwell = append(unwell, span{e.At, e.At + e.Limit})
			}
		case trace.RequestDone:
			if e.Level == faults.LeaderElection && e.Write && e.Code == http.StatusOK {
				j.Renewals++
			}
		case trace.LeaseLost:
			if overlaps(unwell, span{e.At - RenewDeadline - time.Second, e.At}) {
				j.Exceptions[LeaseOfTheDown]++
				continue
			}
			j.violation(0, KeepsLease, "lost %v after the world began", e.At)
		default:
		}
	}
}

// span is a time.
type span struct{ from, to time.Duration }

func overlaps(spans []span, with span) bool {
	for _, s := range spans {
		if s.from <= with.to && s.to >= with.from {
			return true
		}
	}
	return false
}

// prompt is within which time a call sends its first request if nothing holds it back.
const prompt = 100 * time.Millisecond

// remembered is how long a Limiter may remember what has failed.
const remembered = 10 * time.Minute

// otherLevels: with a Limiter on a Transport, a call does not wait because another priority level is
// exhausted.
func (j *Judgement) otherLevels(w *world, c *call) {
	if !c.Limited || !c.BelowAll || len(c.dials) > 0 || c.lost || c.paused > 0 {
		return
	}
	level, exhausted := faults.LevelOf(c.Resource), false
	for _, before := range w.calls {
		if before.Program != c.Program || before.At >= c.At || before.At < c.At-remembered {
			continue
		}
		if len(before.dials) > 0 || before.lost || before.paused > 0 {
			return
		}
		for _, r := range before.requests {
			a := r.answered
			switch {
			case a != nil && a.Clean && a.Code == http.StatusTooManyRequests && len(r.done) == 1 && r.done[0].Level != level:
				exhausted = true
			case a == nil || !a.Clean || a.Code == http.StatusTooManyRequests || a.Code >= http.StatusInternalServerError || a.At-r.came.At > time.Second:
				return // something else may hold the call back
			}
		}
	}
	if !exhausted {
		return
	}
	j.OtherLevels++
	if len(c.requests) == 0 || c.requests[0].came.At-c.At > prompt {
		j.violation(c.Op, NotHeldBack, "waited although nothing but another priority level was exhausted")
	}
}
