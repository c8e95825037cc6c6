package k8sretryotel

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/k8sretry/k8sretry"
)

const scope = "github.com/k8sretry/k8sretry/k8sretryotel"

// Observer is a k8sretry.Observer that writes span events and metrics. Make it with
// [New]; the zero Observer and a nil *Observer see nothing. One serves any number of
// policies, and it is safe for concurrent use.
type Observer struct {
	metrics *metrics
	tracer  trace.Tracer
}

var _ k8sretry.Observer = (*Observer)(nil)

// Option sets where an Observer writes to. A nil Option is ignored.
type Option func(*options)

type options struct {
	tracers trace.TracerProvider
	meters  metric.MeterProvider
}

// WithTracerProvider sets the provider of the spans of [Do] and [Run]. Events go to the
// span of the context, whatever its provider. nil, and the default: the global one.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(o *options) { o.tracers = p }
}

// WithMeterProvider sets the provider of the metrics. nil, and the default: the global
// one.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(o *options) { o.meters = p }
}

// New returns an Observer. Its error is that of a MeterProvider that refuses one of the
// instruments.
func New(opts ...Option) (*Observer, error) {
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.tracers == nil {
		o.tracers = otel.GetTracerProvider()
	}
	if o.meters == nil {
		o.meters = otel.GetMeterProvider()
	}
	m, err := newMetrics(o.meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)))
	if err != nil {
		return nil, fmt.Errorf("k8sretryotel: %w", err)
	}
	return &Observer{metrics: m, tracer: o.tracers.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))}, nil
}

// Observe writes what an event tells. An event of a kind that it does not know, but that
// has a name, is an event on the span and nothing else.
func (o *Observer) Observe(ctx context.Context, e k8sretry.Event) {
	if o == nil || o.metrics == nil {
		return
	}
	switch e.Kind {
	case k8sretry.EventRetry:
		o.metrics.retry(ctx, &e)
	case k8sretry.EventSuccess:
		o.metrics.success(ctx, &e)
	case k8sretry.EventFailure:
		o.metrics.failure(ctx, &e)
	}
	name := e.Name()
	if name == "" { // a success at once
		return
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(name, trace.WithAttributes(eventAttributes(&e)...))
	}
}
