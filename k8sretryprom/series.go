// SPDX-License-Identifier: Apache-2.0

package k8sretryprom

import (
	"maps"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/k8sretry/k8sretry"
)

// call is the function and verb of an event.
type call struct {
	function string
	verb     k8sretry.Verb
}

// series holds the metrics of one function and verb that every call updates.
type series struct {
	function, verb   string // the labels
	atOnce, attempts prometheus.Counter
	perCall          prometheus.Observer
}

const (
	// maxCalls limits the number of series, in case that a program passes names of objects
	// to WithName.
	maxCalls = 256
	// maxName limits the length of a function name in bytes.
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

// add creates the series of a call.
func (c *Collector) add(k call) *series {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := *c.series.Load()
	if len(known) >= maxCalls {
		k.function = otherFunction
	}
	if s, ok := known[k]; ok {
		return s // another goroutine has added it
	}
	s := &series{function: functionLabel(k.function), verb: verbLabel(k.verb)}
	s.atOnce = c.calls.WithLabelValues(s.function, s.verb, "succeeded_at_once", "")
	s.attempts = c.attempts.WithLabelValues(s.function, s.verb)
	s.perCall = c.perCall.WithLabelValues(s.function, s.verb)
	// rate() ignores the first value of a series. Series that alerts use must start at 0,
	// before the first event.
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
