// SPDX-License-Identifier: Apache-2.0

package judge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/worlds/faults"
	"github.com/k8sretry/k8sretry/worlds/judge"
	"github.com/k8sretry/k8sretry/worlds/trace"
	"github.com/k8sretry/k8sretry/worlds/ways"
)

// call returns the beginning of a trace: a call about the object "a" of the UID u1.
func call(way string, kind ways.Call) trace.Entry {
	return trace.Entry{
		Kind: trace.OpBegins, Op: 1, Way: way, Call: string(kind), Resource: "configmaps", Name: "a", UID: "u1", Version: 5,
		Retries: 2, Limit: time.Minute, BelowAll: strings.Contains(way, "Transport"), Value: "op-1",
	}
}

func end(claim trace.Claim, text string) trace.Entry {
	return trace.Entry{At: 10 * time.Second, Kind: trace.OpEnds, Op: 1, Claim: claim, Error: text}
}

// request is a write, n seconds after the call began.
func request(n int, fault faults.Kind) trace.Entry {
	return trace.Entry{At: time.Duration(n) * time.Second, Kind: trace.RequestCame, Op: 1, N: n, Write: true, Method: "PUT", Path: "/a", Fault: string(fault)}
}

func look(n int) trace.Entry {
	return trace.Entry{At: time.Duration(n) * time.Second, Kind: trace.RequestCame, Op: 1, N: n, Method: "GET", Path: "/configmaps/a"}
}

func done(n, code int, version int64) trace.Entry {
	return trace.Entry{At: time.Duration(n) * time.Second, Kind: trace.RequestDone, Op: 1, N: n, Code: code, Version: version, Write: true}
}

func answered(n, code int, after time.Duration) trace.Entry {
	return trace.Entry{At: time.Duration(n) * time.Second, Kind: trace.Answered, Op: 1, N: n, Code: code, Clean: code > 0, RetryAfter: after, Write: true}
}

// change is a change of the object by the call.
func change(kind, uid string, version int64) trace.Entry {
	return trace.Entry{At: time.Second, Kind: trace.Changed, Op: 1, By: "op:1", Type: kind, Resource: "configmaps", Name: "a", UID: uid, Version: version, Object: `{"data":{"value":"op-1"}}`}
}

// stored is a change of the object, n seconds after the call began.
func stored(n int, version int64) trace.Entry {
	e := change("MODIFIED", "u1", version)
	e.At = time.Duration(n) * time.Second
	return e
}

// byOthers is the same by another client.
// withTimes gives the object of an entry to two field managers that have written at these times.
func withTimes(e trace.Entry, one, two string) trace.Entry {
	e.Object = `{"metadata":{"managedFields":[{"manager":"one","time":"` + one + `"},{"manager":"two","time":"` + two + `"}]}}`
	return e
}

func byOthers(e trace.Entry) trace.Entry {
	e.Op, e.By = 0, "others"
	return e
}

// later moves an entry to the second call of a program.
func later(e trace.Entry, at time.Duration) trace.Entry {
	e.Op, e.At = 2, 20*time.Second+at
	return e
}

// afterAnotherLevel is a call of pods that a 429 of their level has refused, and the beginning of a
// call of another level with the same Limiter.
func afterAnotherLevel() []trace.Entry {
	first, second := call("Transport, Limiter", ways.DeletePod), call("Transport, Limiter", ways.Merge)
	first.Resource, first.Limited, second.Limited = "pods", true, true
	refused := done(1, 429, 6)
	refused.Level = faults.LevelOf("pods")
	return []trace.Entry{first, request(1, faults.LevelFull), refused, answered(1, 429, 0), end(trace.Certain, "429"), later(second, 0)}
}

func TestJudge(t *testing.T) {
	const safe = "safe writes on Transport"
	for _, tt := range []struct {
		situation string
		trace     []trace.Entry
		violated  judge.Rule // "" for none
		excepted  judge.Exception
	}{
		{"an update that was stored", []trace.Entry{call(safe, ways.Update), request(1, ""), change("MODIFIED", "u1", 6), done(1, 200, 6), answered(1, 200, 0), end(trace.Success, "")}, "", ""},
		{"a success without a change", []trace.Entry{call(safe, ways.Update), request(1, faults.LostRequest), answered(1, 0, 0), end(trace.Success, "")}, judge.DoneOnce, ""},
		{"a counter that was incremented twice", []trace.Entry{
			call(safe, ways.Modify), request(1, faults.LostAnswer), change("MODIFIED", "u1", 6), done(1, 200, 6), answered(1, 0, 0),
			request(2, ""), change("MODIFIED", "u1", 7), done(2, 200, 7), answered(2, 200, 0), end(trace.Success, ""),
		}, judge.DoneOnce, ""},
		{"two objects of one create", []trace.Entry{
			call(safe, ways.Create), request(1, faults.LostAnswer), change("ADDED", "u2", 6), done(1, 201, 6), answered(1, 0, 0),
			request(2, ""), change("ADDED", "u3", 7), done(2, 201, 7), answered(2, 201, 0), end(trace.Success, ""),
		}, judge.DoneOnce, ""},
		{"two objects, of which others have removed the first", []trace.Entry{
			call(safe, ways.Create), request(1, faults.LostAnswer), change("ADDED", "u2", 6), done(1, 201, 6), answered(1, 0, 0), byOthers(change("DELETED", "u2", 7)),
			request(2, ""), change("ADDED", "u3", 8), done(2, 201, 8), answered(2, 201, 0), end(trace.Success, ""),
		}, "", judge.CreatedAgain},
		{"an update that changes nothing, and was never carried out", []trace.Entry{
			byOthers(change("MODIFIED", "u1", 5)), call(safe, ways.Update), request(1, faults.TooMany), answered(1, 429, 0), end(trace.Success, ""),
		}, "", judge.ChangesNothing},
		{"an update that changes something, and was never carried out", []trace.Entry{
			call(safe, ways.Update), request(1, faults.TooMany), answered(1, 429, 0), end(trace.Success, ""),
		}, judge.DoneOnce, ""},
		{"a patch that was stored twice", []trace.Entry{
			call(safe, ways.Merge), request(1, faults.LostAnswer), change("MODIFIED", "u1", 6), done(1, 200, 6), answered(1, 0, 0),
			request(2, ""), change("MODIFIED", "u1", 8), done(2, 200, 8), answered(2, 200, 0), end(trace.Success, ""),
		}, "", judge.LastWriteWins},
		{"a certain error, and the write comes later", []trace.Entry{
			call(safe, ways.Update), request(1, faults.AppliedLater), answered(1, 504, 0), end(trace.Certain, "timeout"), change("MODIFIED", "u1", 6), done(1, 200, 6),
		}, judge.NeverDone, ""},
		{"a conflict at once", []trace.Entry{call(safe, ways.Update), request(1, ""), done(1, 409, 6), answered(1, 409, 0), end(trace.Certain, "conflict")}, "", ""},
		{"unknown after a lost answer", []trace.Entry{call(safe, ways.Update), request(1, faults.LostAnswer), answered(1, 0, 0), end(trace.Unknown, "unknown")}, "", ""},
		{"unknown although every request was answered", []trace.Entry{call(safe, ways.Update), request(1, ""), done(1, 409, 6), answered(1, 409, 0), end(trace.Unknown, "conflict")}, judge.Provable, ""},
		{"unknown although nothing but 429s came", []trace.Entry{call(safe, ways.Update), request(1, faults.TooMany), {Kind: trace.Answered, At: time.Second, Op: 1, N: 1, Code: 429}, end(trace.Unknown, "429")}, judge.Provable, ""},
		{"a read of what was stored before the call", []trace.Entry{
			byOthers(stored(-2, 6)), byOthers(stored(-1, 7)), call(safe, ways.Get), {Kind: trace.OpEnds, Op: 1, Claim: trace.Success, Version: 6},
		}, judge.Fresh, ""},
		{"a read of what is stored", []trace.Entry{byOthers(stored(-1, 6)), call(safe, ways.Get), byOthers(stored(1, 7)), {Kind: trace.OpEnds, Op: 1, Claim: trace.Success, Version: 6}}, "", ""},
		{"a read from a cache", []trace.Entry{byOthers(stored(-1, 6)), call(safe, ways.GetCached), {Kind: trace.OpEnds, Op: 1, Claim: trace.Success, Version: 5}}, "", ""},
		{"a read that is older than the version that it names", []trace.Entry{byOthers(stored(-1, 5)), call(safe, ways.GetNotOlder), {Kind: trace.OpEnds, Op: 1, Claim: trace.Success, Version: 4}}, judge.Fresh, ""},
		{"a read that is unknown", []trace.Entry{call(safe, ways.Get), end(trace.Unknown, "unknown")}, judge.Provable, ""},
		{"unknown although the object was seen to be gone", []trace.Entry{
			call(safe, ways.Delete), request(1, faults.LostAnswer), change("DELETED", "u1", 6), done(1, 200, 6), answered(1, 0, 0),
			look(2), done(2, 404, 6), answered(2, 404, 0), end(trace.Unknown, "unknown"),
		}, judge.Provable, ""},
		{"unknown although a read has shown the write", []trace.Entry{
			call(safe, ways.Update), request(1, faults.LostAnswer), change("MODIFIED", "u1", 6), done(1, 200, 6), answered(1, 0, 0),
			look(2), done(2, 200, 6), answered(2, 200, 0), end(trace.Unknown, "unknown"),
		}, judge.Provable, ""},
		{"unknown, and another manager has written in the same second", []trace.Entry{
			call(safe, ways.Update), request(1, faults.LostAnswer), withTimes(change("MODIFIED", "u1", 6), "2000-01-01T00:00:01Z", "2000-01-01T00:00:01Z"), done(1, 200, 6), answered(1, 0, 0),
			look(2), done(2, 200, 6), answered(2, 200, 0), end(trace.Unknown, "unknown"),
		}, "", ""},
		{"unknown, and another manager has written a second earlier", []trace.Entry{
			call(safe, ways.Update), request(1, faults.LostAnswer), withTimes(change("MODIFIED", "u1", 6), "2000-01-01T00:00:01Z", "2000-01-01T00:00:02Z"), done(1, 200, 6), answered(1, 0, 0),
			look(2), done(2, 200, 6), answered(2, 200, 0), end(trace.Unknown, "unknown"),
		}, judge.Provable, ""},
		{"another object is deleted", []trace.Entry{
			call(safe, ways.Delete), request(1, faults.LostAnswer), change("DELETED", "u1", 6), done(1, 200, 6), answered(1, 0, 0),
			request(2, ""), change("DELETED", "u2", 8), done(2, 200, 8), answered(2, 200, 0), end(trace.Success, ""),
		}, judge.OtherObject, ""},
		{"another object is deleted by name", []trace.Entry{
			call("Wrap, Do", ways.Delete), request(1, faults.LostAnswer), change("DELETED", "u1", 6), done(1, 200, 6), answered(1, 0, 0),
			request(2, ""), change("DELETED", "u2", 8), done(2, 200, 8), answered(2, 200, 0), end(trace.Success, ""),
		}, "", judge.ByNameAlone},
		{"another layer repeats a write unseen, without a Transport", []trace.Entry{
			call("safe writes", ways.Update), request(1, faults.InnerResend), change("MODIFIED", "u1", 6), done(1, 200, 6), answered(1, 0, 0),
			request(2, ""), done(2, 409, 6), answered(2, 409, 0), end(trace.Certain, "conflict"),
		}, judge.NeverDone, ""},
		{"the GET of a redirected write does not show the object to the call", []trace.Entry{
			call("safe writes", ways.Delete), request(1, faults.LostAnswer), change("DELETED", "u1", 6), done(1, 200, 6), answered(1, 0, 0),
			request(2, faults.Redirected), answered(2, 302, 0), look(3), done(3, 404, 6), answered(3, 404, 0), end(trace.Unknown, "redirected"),
		}, "", ""},
		{"another layer repeats a write unseen, on a Transport", []trace.Entry{
			call(safe, ways.Update), request(1, faults.InnerResend), change("MODIFIED", "u1", 6), done(1, 200, 6), answered(1, 0, 0),
			request(2, ""), done(2, 409, 6), answered(2, 409, 0), end(trace.Certain, "conflict"),
		}, "", judge.UnseenLoss},
		{"a Retry-After that is not kept", []trace.Entry{
			call(safe, ways.Update), request(1, faults.TooManyAfter), answered(1, 429, 5*time.Second), request(2, ""), change("MODIFIED", "u1", 6), done(2, 200, 6), answered(2, 200, 0), end(trace.Success, ""),
		}, judge.KeepsDelay, ""},
		{"too many requests", []trace.Entry{
			call(safe, ways.Update), request(1, faults.LostRequest), answered(1, 0, 0), request(2, faults.LostRequest), answered(2, 0, 0), request(3, faults.LostRequest), answered(3, 0, 0),
			request(4, faults.LostRequest), answered(4, 0, 0), end(trace.Unknown, "unknown"),
		}, judge.Bounded, ""},
		{"a call that does not end", []trace.Entry{call(safe, ways.Update), {At: 2 * time.Minute, Kind: trace.OpEnds, Op: 1, Claim: trace.Certain}}, judge.WithinLimits, ""},
		{"a lease that a paused process has lost", []trace.Entry{
			{Kind: trace.LeaseHeld, BelowAll: true}, {At: 30 * time.Second, Kind: trace.ProcessPaused, Limit: 20 * time.Second}, {At: time.Minute, Kind: trace.LeaseLost},
		}, "", judge.LeaseOfTheDown},
		{"a lease that was lost with a connection", []trace.Entry{
			{Kind: trace.LeaseHeld, BelowAll: true}, {At: 50 * time.Second, Kind: trace.ConnectionLost, Op: 20}, {At: time.Minute, Kind: trace.LeaseLost},
		}, judge.KeepsLease, ""},
		{"a lease that was lost with a connection that another layer hides", []trace.Entry{
			{Kind: trace.LeaseHeld}, {At: 50 * time.Second, Kind: trace.ConnectionLost, Op: 20}, {At: time.Minute, Kind: trace.LeaseLost},
		}, "", judge.LeaseOfTheDown},
		{"a paused call ends later than its context", []trace.Entry{
			call(safe, ways.Update), {At: time.Second, Kind: trace.ProcessPaused, Limit: 2 * time.Minute}, {At: 2 * time.Minute, Kind: trace.OpEnds, Op: 1, Claim: trace.Certain},
		}, "", ""},
		{"a lease that was lost", []trace.Entry{{Kind: trace.LeaseHeld}, {At: time.Minute, Kind: trace.LeaseLost}}, judge.KeepsLease, ""},
		{"a lease that was lost while the server was down", []trace.Entry{{Kind: trace.LeaseHeld}, {At: 50 * time.Second, Kind: trace.ServerDown}, {At: time.Minute, Kind: trace.LeaseLost}}, "", judge.LeaseOfTheDown},
		{"a lease that was lost long after the server was down", []trace.Entry{{Kind: trace.ServerDown}, {At: time.Second, Kind: trace.ServerUp}, {At: time.Minute, Kind: trace.LeaseLost}}, judge.KeepsLease, ""},
		{"a call that waits for another priority level", append(afterAnotherLevel(), later(request(7, ""), 2*time.Second), later(end(trace.Certain, "429"), 2*time.Second)), judge.NotHeldBack, ""},
		{"goroutines that are left", []trace.Entry{{Kind: trace.LeakDetected, Error: "deadlock"}}, judge.NothingLeft, ""},
		{"an informer that has missed something", []trace.Entry{{Kind: trace.InformerDiffers}}, judge.Converges, ""},
	} {
		t.Run(tt.situation, func(t *testing.T) {
			j := judge.Judge(tt.trace)
			if tt.violated == "" {
				assert.Empty(t, j.Violations)
			} else if assert.NotEmpty(t, j.Violations) {
				assert.Equal(t, tt.violated, j.Violations[0].Rule)
			}
			if tt.excepted != "" {
				assert.Equal(t, 1, j.Exceptions[tt.excepted])
			}
		})
	}
}
