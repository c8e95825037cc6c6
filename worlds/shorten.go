// SPDX-License-Identifier: Apache-2.0

package worlds

import (
	"fmt"
	"strings"
	"time"

	"github.com/k8sretry/k8sretry/worlds/trace"
)

// Shorten returns the part of a trace that is about a call, one line an entry: the call, its
// requests, and all changes of the object of that name.
func Shorten(entries []trace.Entry, op int) string {
	var b strings.Builder
	var resource, name string
	for _, e := range entries {
		if e.Kind == trace.OpBegins && e.Op == op {
			resource, name = e.Resource, e.Name
		}
	}
	began := time.Duration(-1)
	for _, e := range entries {
		if began < 0 && e.Op == op {
			began = e.At
		}
		about := e.Kind == trace.Changed && e.Resource == resource && (e.Name == name || strings.HasPrefix(e.Name, name+"-"))
		if e.Op != op && !about && e.Kind != trace.ServerDown && e.Kind != trace.ServerUp && e.Kind != trace.ClockSet && e.Kind != trace.ProcessPaused && e.Kind != trace.ReplicaDown && e.Kind != trace.ReplicaUp {
			continue
		}
		fmt.Fprintf(&b, "%12v ", (e.At - max(began, 0)).Round(time.Microsecond))
		switch e.Kind {
		case trace.OpBegins:
			fmt.Fprintf(&b, "%s: %s %s %s, version %d uid %s, retries %d, limit %v, canceled %t, behind %d", e.Way, e.Call, e.Resource, e.Name, e.Version, e.UID, e.Retries, e.Limit, e.Canceled, e.Behind)
		case trace.OpEnds:
			fmt.Fprintf(&b, "ends: %s %s %s", e.Claim, e.Stop, e.Error)
		case trace.RequestCame:
			fmt.Fprintf(&b, "request %d %s %s [%s] %s", e.N, e.Method, e.Path, e.Fault, e.Sends)
		case trace.RequestDone:
			fmt.Fprintf(&b, "done %d: %d at version %d, behind %d", e.N, e.Code, e.Version, e.Behind)
		case trace.Answered:
			fmt.Fprintf(&b, "answer %d: %d clean %t retry after %v", e.N, e.Code, e.Clean, e.RetryAfter)
		case trace.Changed:
			fmt.Fprintf(&b, "version %d %s %s uid %s by %q: %.30s", e.Version, e.Type, e.Name, e.UID, e.By, withoutManagers(e.Object))
		case trace.ClockSet, trace.ProcessPaused:
			fmt.Fprintf(&b, "%s %d %v", e.Kind, e.Program, e.Limit)
		case trace.DialFailed:
			fmt.Fprintf(&b, "dial %d: %s", e.N, e.Fault)
		default:
			fmt.Fprintf(&b, "%s", e.Kind)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// withoutManagers leaves out the managed fields, which make most of an object.
func withoutManagers(object string) string {
	before, rest, found := strings.Cut(object, `"managedFields":[`)
	if !found {
		return object
	}
	depth := 1
	for i, r := range rest {
		switch r {
		case '[':
			depth++
		case ']':
			if depth--; depth == 0 {
				return before + strings.TrimPrefix(rest[i+1:], ",")
			}
		}
	}
	return object
}
