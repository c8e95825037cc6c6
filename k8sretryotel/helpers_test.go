package k8sretryotel_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryotel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var exact = k8sretry.WithJitter(k8sretry.JitterNone)

// sdk is an Observer that writes to memory.
type sdk struct {
	*k8sretryotel.Observer
	spans  *tracetest.InMemoryExporter
	tracer trace.Tracer
	reader *sdkmetric.ManualReader
}

func newSDK(t testing.TB, sampler sdktrace.Sampler) *sdk {
	t.Helper()
	s := &sdk{spans: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader()}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(s.spans), sdktrace.WithSampler(sampler))
	s.tracer = tracers.Tracer("service")
	var err error
	s.Observer, err = k8sretryotel.New(k8sretryotel.WithTracerProvider(tracers),
		k8sretryotel.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.reader))))
	require.NoError(t, err)
	return s
}

// inSpan makes a call in the span of a caller and returns that span.
func (s *sdk) inSpan(t testing.TB, call func(context.Context)) tracetest.SpanStub {
	t.Helper()
	ctx, span := s.tracer.Start(t.Context(), "reconcile")
	call(ctx)
	span.End()
	return s.span(t, "reconcile")
}

func (s *sdk) span(t testing.TB, name string) tracetest.SpanStub {
	t.Helper()
	spans := s.spans.GetSpans()
	i := slices.IndexFunc(spans, func(span tracetest.SpanStub) bool { return span.Name == name })
	require.GreaterOrEqual(t, i, 0, "no span %q", name)
	return spans[i]
}

// events are a span's events, a line each.
func events(span tracetest.SpanStub) []string {
	var lines []string
	for _, e := range span.Events {
		lines = append(lines, e.Name+" "+words(e.Attributes))
	}
	return lines
}

func words(attributes []attribute.KeyValue) string {
	var all []string
	for _, a := range attributes {
		if a.Key == "k8sretry.detail" {
			continue // words for people, free to change
		}
		all = append(all, strings.TrimPrefix(string(a.Key), "k8sretry.")+"="+a.Value.String())
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// measured are the data points of all metrics, a line each.
func (s *sdk) measured(t testing.TB) []string {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, s.reader.Collect(context.Background(), &all))
	var lines []string
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					lines = append(lines, fmt.Sprintf("%s{%s} %d", m.Name, words(p.Attributes.ToSlice()), p.Value))
				}
			case metricdata.Histogram[int64]:
				for _, p := range data.DataPoints {
					lines = append(lines, fmt.Sprintf("%s{%s} %d of %d", m.Name, words(p.Attributes.ToSlice()), p.Sum, p.Count))
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					lines = append(lines, fmt.Sprintf("%s{%s} %gs of %d", m.Name, words(p.Attributes.ToSlice()), p.Sum, p.Count))
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// fails is a function to call that fails with the given errors and then succeeds.
func fails(errs ...error) func(context.Context) (string, error) {
	n := 0
	return func(context.Context) (string, error) {
		if n++; n <= len(errs) {
			return "", errs[n-1]
		}
		return "value", nil
	}
}
