// SPDX-License-Identifier: Apache-2.0

package k8sretryotel

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"

	"github.com/k8sretry/k8sretry"
)

// metrics are the instruments. The package documentation lists them.
type metrics struct {
	calls    metric.Int64Counter
	retries  metric.Int64Counter
	attempts metric.Int64Histogram
	delay    metric.Float64Histogram

	// The attributes of successes by verb and function, so that a success at once, the most
	// frequent event, does not allocate. The map is replaced, not modified.
	successes atomic.Pointer[map[call]*series]
	mu        sync.Mutex // serializes replacements of successes
}

type call struct {
	verb     k8sretry.Verb
	function string
}

// series holds the attributes of one verb and function.
type series struct {
	calls    []metric.AddOption
	attempts []metric.RecordOption
}

// maxSeries limits the size of the map, in case that the program passes names of objects to
// WithName.
const maxSeries = 1000

func newMetrics(meter metric.Meter) (*metrics, error) {
	m := new(metrics)
	m.successes.Store(new(map[call]*series))
	var errs [4]error
	m.calls, errs[0] = meter.Int64Counter("k8sretry.calls", metric.WithUnit("{call}"),
		metric.WithDescription("Kubernetes API calls that have ended, with any number of attempts."))
	m.retries, errs[1] = meter.Int64Counter("k8sretry.retries", metric.WithUnit("{retry}"),
		metric.WithDescription("Failed attempts that are retried."))
	m.attempts, errs[2] = meter.Int64Histogram("k8sretry.call.attempts", metric.WithUnit("{attempt}"),
		metric.WithDescription("Attempts per call."), metric.WithExplicitBucketBoundaries(1, 2, 3, 4, 6, 11, 21))
	m.delay, errs[3] = meter.Float64Histogram("k8sretry.retry.delay", metric.WithUnit("s"),
		metric.WithDescription("Delay before a retry."), metric.WithExplicitBucketBoundaries(0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120))
	return m, errors.Join(errs[:]...)
}

func (m *metrics) retry(ctx context.Context, e *k8sretry.Event) {
	if m.retries.Enabled(ctx) {
		s := make(set, 0, 4)
		s.text(keyVerb, e.Verb.String())
		s.text(keyFunction, e.Function)
		s.text(keyClass, e.Class.String())
		s.status(e.StatusCode)
		m.retries.Add(ctx, 1, attributes(s))
	}
	if m.delay.Enabled(ctx) {
		s := make(set, 0, 2)
		s.text(keyVerb, e.Verb.String())
		s.text(keyClass, e.Class.String())
		m.delay.Record(ctx, e.Delay.Seconds(), attributes(s))
	}
}

func (m *metrics) success(ctx context.Context, e *k8sretry.Event) {
	if m.calls.Enabled(ctx) || m.attempts.Enabled(ctx) {
		s := m.series(call{e.Verb, e.Function})
		m.calls.Add(ctx, 1, s.calls...)
		m.attempts.Record(ctx, int64(e.Attempt), s.attempts...)
	}
}

func (m *metrics) failure(ctx context.Context, e *k8sretry.Event) {
	if m.calls.Enabled(ctx) {
		s := make(set, 0, 5)
		s.text(keyVerb, e.Verb.String())
		s.text(keyFunction, e.Function)
		s.text(keyStopReason, e.StopReason.String())
		s.text(keyOutcome, e.Outcome.String())
		s.text(semconv.ErrorTypeKey, errorType(e))
		m.calls.Add(ctx, 1, attributes(s))
	}
	if m.attempts.Enabled(ctx) {
		s := make(set, 0, 2)
		s.text(keyVerb, e.Verb.String())
		s.text(keyStopReason, e.StopReason.String())
		m.attempts.Record(ctx, int64(e.Attempt), attributes(s))
	}
}

// series returns the attributes of successes of a call.
func (m *metrics) series(c call) *series {
	if s := (*m.successes.Load())[c]; s != nil {
		return s
	}
	var verb, all set
	verb.text(keyVerb, c.verb.String())
	all.text(keyVerb, c.verb.String())
	all.text(keyFunction, c.function)
	s := &series{calls: []metric.AddOption{attributes(all)}, attempts: []metric.RecordOption{attributes(verb)}}

	m.mu.Lock()
	defer m.mu.Unlock()
	if known := *m.successes.Load(); len(known) < maxSeries {
		more := maps.Clone(known)
		if more == nil {
			more = make(map[call]*series)
		}
		more[c] = s
		m.successes.Store(&more)
	}
	return s
}

func attributes(s set) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(s...))
}
