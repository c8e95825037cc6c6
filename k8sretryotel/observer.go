// SPDX-License-Identifier: Apache-2.0

package k8sretryotel

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/k8sretry/k8sretry"
)

const scope = "github.com/k8sretry/k8sretry/k8sretryotel"

// Observer is a k8sretry.Observer that adds span events and records metrics. Use [New] to
// create one, for any number of policies. A nil Observer and the zero Observer do nothing.
// An Observer is safe for concurrent use.
type Observer struct {
	metrics *metrics
	tracer  trace.Tracer
}

var _ k8sretry.Observer = (*Observer)(nil)

// Option configures an Observer. A nil Option has no effect.
type Option func(*options)

type options struct {
	tracers trace.TracerProvider
	meters  metric.MeterProvider
}

// WithTracerProvider sets the provider of the spans of [Do] and [Run]. The default, also for
// nil, is the global provider. Span events are added to the span in the context, whatever
// its provider.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(o *options) { o.tracers = p }
}

// WithMeterProvider sets the provider of the metrics. The default, also for nil, is the
// global provider.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(o *options) { o.meters = p }
}

// New returns an Observer, or an error if the MeterProvider cannot create one of the
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

// Observe adds a span event and records metrics. It implements k8sretry.Observer. An event
// of an unknown kind with a name is added to the span only.
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
	default: // changes of state are span events only
	}
	name := e.Name()
	if name == "" { // a success at once
		return
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(name, trace.WithAttributes(eventAttributes(&e)...))
	}
}
