package k8sretryprom

import (
	"maps"
	"strings"

	"github.com/k8sretry/k8sretry"
)

// call is a function and a verb, as events have them.
type call struct {
	function string
	verb     k8sretry.Verb
}

const (
	// maxCalls bounds the series that names can make: a name comes from the code, but
	// nothing keeps a caller from putting the name of an object into WithName.
	maxCalls = 256
	// maxName bounds what a name costs in every scrape.
	maxName = 100

	otherFunction = "other"
	unnamed       = "unnamed"
)

// find returns the series of an event's function and verb.
func (c *Collector) find(e *k8sretry.Event) *series {
	known := *c.series.Load()
	if s, ok := known[call{e.Function, e.Verb}]; ok {
		return s
	}
	if len(known) >= maxCalls {
		if s, ok := known[call{otherFunction, e.Verb}]; ok {
			return s
		}
	}
	return c.add(call{strings.Clone(e.Function), e.Verb})
}

// add makes the series of a call that is new.
func (c *Collector) add(k call) *series {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := *c.series.Load()
	if len(known) >= maxCalls {
		k.function = otherFunction
	}
	if s, ok := known[k]; ok {
		return s // another call was faster
	}
	s := &series{function: functionLabel(k.function), verb: verbLabel(k.verb)}
	s.atOnce = c.calls.WithLabelValues(s.function, s.verb, "succeeded_at_once", "")
	s.attempts = c.attempts.WithLabelValues(s.function, s.verb)
	s.perCall = c.perCall.WithLabelValues(s.function, s.verb)
	// A rate sees no growth in a series that begins above 0: what alerts are about
	// begins at 0, before it happens.
	c.calls.WithLabelValues(s.function, s.verb, "succeeded_after_retry", "")
	c.calls.WithLabelValues(s.function, s.verb, "failed_after_retry", k8sretry.StopMaxRetries.String())
	more := maps.Clone(known)
	more[k] = s
	c.series.Store(&more)
	return s
}

func functionLabel(name string) string {
	if name == "" {
		return unnamed
	}
	return strings.ToValidUTF8(name[:min(len(name), maxName)], "\uFFFD")
}

func verbLabel(v k8sretry.Verb) string {
	if v == k8sretry.VerbUnspecified {
		return "none"
	}
	return v.String()
}
