// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"fmt"
	"log/slog"
	"strings"
)

// Policy is a set of options that has been checked and made ready once. It is an
// Option itself and stands for the options it was made of: given after others it overlays
// them, given before others it is overlaid, setting by setting.
//
// A Policy is immutable and holds no state of a call: any number of goroutines may
// share it. Make it with [NewPolicy]; the zero Policy and a nil *Policy set nothing.
type Policy struct {
	config
	prepared   bool // made by NewPolicy: the defaults are filled in
	guardsOnly bool // a call needs nothing before and after a successful fn but its guards
	direct     bool // a call needs nothing before and after a successful fn
	simple     bool // direct, and without a condition, a classifier or a logger
}

func (*Policy) option() {}

// NewPolicy returns a Policy of the given options. Settings that opts do not contain
// keep their defaults unless another option of the call sets them. An invalid option value
// is reported by the calls that use the Policy.
func NewPolicy(opts ...Option) *Policy {
	p := &Policy{config: resolve(opts)}
	p.prepare()
	return p
}

// prepare makes the Policy ready for calls that have no other option.
func (p *Policy) prepare() {
	p.setDefaults()
	p.guardsOnly = p.problem == "" && !p.verb().writes() && p.duration(numMaxElapsed) == 0 && p.duration(numAttemptTimeout) == 0 && p.observe == nil
	p.direct = p.guardsOnly && p.budget == nil && p.breaker == nil && p.limiter == nil
	p.simple = p.direct && p.given&(hasCondition|hasClassifier|hasLogger) == 0
	p.prepared = true
}

// String returns the settings that are in force, such as
//
//	verb=create max_retries=5 initial_delay=2s max_delay=30s multiplier=2 jitter=proportional max_retry_after=1m0s limiter=true
//
// The text is for people and may change.
func (p *Policy) String() string {
	var b strings.Builder
	for _, a := range p.settings() {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
	}
	return strings.TrimPrefix(b.String(), " ")
}

// LogValue makes log/slog write the settings as a group.
func (p *Policy) LogValue() slog.Value { return slog.GroupValue(p.settings()...) }

// settings are the settings that are in force, without those that are off.
func (p *Policy) settings() []slog.Attr {
	if p == nil || !p.prepared {
		return nil
	}
	var attrs []slog.Attr
	add := func(key string, value any, given bool) {
		if given {
			attrs = append(attrs, slog.Any(key, value))
		}
	}
	add("invalid", p.problem, p.problem != "")
	add("name", p.name, p.name != "")
	add("verb", p.verb().String(), p.verb() != VerbUnspecified)
	add("read_only", true, p.readOnly())
	add("max_retries", p.maxRetries(), true)
	add("backoff", "custom", p.backoff != nil)
	if p.backoff == nil {
		e := p.schedule()
		add("initial_delay", max(0, e.Initial), true)
		add("max_delay", max(0, e.Max), true)
		add("multiplier", e.Multiplier, true)
		add("jitter", e.Jitter.String(), true)
	}
	for class, delay := range p.backoffFor {
		add("backoff_"+Class(class).String(), "custom", delay != nil)
	}
	add("max_retry_after", p.duration(numMaxRetryAfter), true)
	add("attempt_timeout", p.duration(numAttemptTimeout), p.duration(numAttemptTimeout) > 0)
	add("max_elapsed", p.duration(numMaxElapsed), p.duration(numMaxElapsed) > 0)
	add("max_queue_time", p.duration(numMaxQueueTime), p.given&(1<<numMaxQueueTime) != 0)
	add("connection_only", true, p.numbers[numConnectionOnly] != 0)
	add("retry_if", true, p.condition != nil)
	add("classifier", true, p.classify != nil)
	add("expected", true, p.expected != nil)
	add("observer", true, p.observe != nil)
	add("logger", p.logger.write != nil, p.given&hasLogger != 0)
	add("budget", true, p.budget != nil)
	add("breaker", true, p.breaker != nil)
	add("limiter", true, p.limiter != nil)
	add("priority", true, p.numbers[numPriority] != 0)
	add("hedge", p.duration(numHedge), p.duration(numHedge) > 0)
	add("error_history", p.numbers[numErrorHistory], p.numbers[numErrorHistory] > 0)
	add("token_annotation", p.token, p.given&hasToken != 0)
	add("object_names", true, p.numbers[numObjectNames] != 0)
	add("include_leases", true, p.given&hasLeases != 0)
	return attrs
}
