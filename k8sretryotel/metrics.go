package k8sretryotel

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/k8sretry/k8sretry"
)

// metrics are the instruments. The package documentation lists them.
type metrics struct {
	calls    metric.Int64Counter
	retries  metric.Int64Counter
	attempts metric.Int64Histogram
	delay    metric.Float64Histogram

	// What successes are counted under, made once for each name of a call: a success
	// at once, the commonest event by far, builds nothing.
	successes atomic.Pointer[map[named]*series]
	mu        sync.Mutex // of who adds to successes
}

type named struct {
	verb     k8sretry.Verb
	function string
}

type series struct {
	calls    []metric.AddOption
	attempts []metric.RecordOption
}

// mostSeries bounds what is kept, should names of calls be without number.
const mostSeries = 1000

func newMetrics(meter metric.Meter) (*metrics, error) {
	m := new(metrics)
	m.successes.Store(new(map[named]*series))
	var errs [4]error
	m.calls, errs[0] = meter.Int64Counter("k8sretry.calls", metric.WithUnit("{call}"),
		metric.WithDescription("Calls of the Kubernetes API that have ended, whatever the number of their attempts."))
	m.retries, errs[1] = meter.Int64Counter("k8sretry.retries", metric.WithUnit("{retry}"),
		metric.WithDescription("Failed attempts that are followed by another one."))
	m.attempts, errs[2] = meter.Int64Histogram("k8sretry.call.attempts", metric.WithUnit("{attempt}"),
		metric.WithDescription("Attempts of a call."), metric.WithExplicitBucketBoundaries(1, 2, 3, 4, 6, 11, 21))
	m.delay, errs[3] = meter.Float64Histogram("k8sretry.retry.delay", metric.WithUnit("s"),
		metric.WithDescription("Wait before a retry."), metric.WithExplicitBucketBoundaries(0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120))
	return m, errors.Join(errs[:]...)
}

func (m *metrics) retry(ctx context.Context, e *k8sretry.Event) {
	if m.retries.Enabled(ctx) {
		s := make(set, 0, 4)
		s.text(keyVerb, e.Verb.String())
		s.text(keyFunction, e.Function)
		s.text(keyClass, e.Class.String())
		s.status(e.StatusCode)
		m.retries.Add(ctx, 1, with(s))
	}
	if m.delay.Enabled(ctx) {
		s := make(set, 0, 2)
		s.text(keyVerb, e.Verb.String())
		s.text(keyClass, e.Class.String())
		m.delay.Record(ctx, e.Delay.Seconds(), with(s))
	}
}

func (m *metrics) success(ctx context.Context, e *k8sretry.Event) {
	if m.calls.Enabled(ctx) || m.attempts.Enabled(ctx) {
		s := m.series(named{e.Verb, e.Function})
		m.calls.Add(ctx, 1, s.calls...)
		m.attempts.Record(ctx, int64(e.Attempt), s.attempts...)
	}
}

func (m *metrics) failure(ctx context.Context, e *k8sretry.Event) {
	if m.calls.Enabled(ctx) {
		s := make(set, 0, 5)
		s.text(keyVerb, e.Verb.String())
		s.text(keyFunction, e.Function)
		s.text(keyStop, e.StopReason.String())
		s.text(keyOutcome, e.Outcome.String())
		s.text(semconv.ErrorTypeKey, errorType(e))
		m.calls.Add(ctx, 1, with(s))
	}
	if m.attempts.Enabled(ctx) {
		s := make(set, 0, 2)
		s.text(keyVerb, e.Verb.String())
		s.text(keyStop, e.StopReason.String())
		m.attempts.Record(ctx, int64(e.Attempt), with(s))
	}
}

// series returns what the successes of a call are counted under. The map is replaced,
// never changed: it is read without a lock.
func (m *metrics) series(n named) *series {
	if s := (*m.successes.Load())[n]; s != nil {
		return s
	}
	var verb, all set
	verb.text(keyVerb, n.verb.String())
	all.text(keyVerb, n.verb.String())
	all.text(keyFunction, n.function)
	s := &series{calls: []metric.AddOption{with(all)}, attempts: []metric.RecordOption{with(verb)}}

	m.mu.Lock()
	defer m.mu.Unlock()
	if known := *m.successes.Load(); len(known) < mostSeries {
		more := maps.Clone(known)
		if more == nil {
			more = make(map[named]*series)
		}
		more[n] = s
		m.successes.Store(&more)
	}
	return s
}

func with(s set) metric.MeasurementOption { return metric.WithAttributeSet(attribute.NewSet(s...)) }
