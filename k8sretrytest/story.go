package k8sretrytest

import (
	"fmt"
	"strings"

	"github.com/k8sretry/k8sretry"
)

// story tells the latest events, one a line, for the message of an assertion.
func (r *Recorder) story() string {
	const most = 20
	events := r.Events()
	if len(events) == 0 {
		return ": no event was recorded; is the Recorder given by k8sretry.WithObserver?"
	}
	var b strings.Builder
	b.WriteString(":")
	if skip := len(events) - most; skip > 0 {
		fmt.Fprintf(&b, "\n  (%d earlier events)", skip)
		events = events[skip:]
	}
	for _, e := range events {
		fmt.Fprintf(&b, "\n  %s attempt %d: %s", e.Function, e.Attempt, what(e))
	}
	return b.String()
}

func what(e k8sretry.Event) string {
	switch e.Kind {
	case k8sretry.EventRetry:
		return fmt.Sprintf("%v, again in %v: %v", e.Class, e.Delay, e.Err)
	case k8sretry.EventSuccess:
		return "success"
	case k8sretry.EventBreaker, k8sretry.EventLimiter:
		return fmt.Sprintf("%s: %v", e.Name(), e.Err)
	}
	return fmt.Sprintf("%v, stopped (%v): %v", e.Class, e.StopReason, e.Err)
}
