// SPDX-License-Identifier: Apache-2.0

package k8sretryotel_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
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

// sdk is an Observer that exports to memory.
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

// inSpan makes a call within a span and returns that span.
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

// events returns the events of a span, one per line.
func events(span tracetest.SpanStub) []string {
	var lines []string
	for _, e := range span.Events {
		lines = append(lines, e.Name+" "+words(e.Attributes))
	}
	return lines
}

// words formats attributes without the prefix k8sretry.
func words(attributes []attribute.KeyValue) string {
	var all []string
	for _, a := range attributes {
		if a.Key == "k8sretry.detail" {
			continue // the text may change
		}
		all = append(all, strings.TrimPrefix(string(a.Key), "k8sretry.")+"="+a.Value.Emit())
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// measured returns the data points of all metrics, one per line.
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

// fails returns a function that fails with each of the errors once and then succeeds.
func fails(errs ...error) func(context.Context) (string, error) {
	n := 0
	return func(context.Context) (string, error) {
		if n++; n <= len(errs) {
			return "", errs[n-1]
		}
		return "value", nil
	}
}

// get sends a GET for a pod through a wrapped transport. The server responds with a 503 and
// then with a 200.
func get(ctx context.Context, t testing.TB, wrap func(http.RoundTripper) http.RoundTripper) {
	t.Helper()
	codes := []int{http.StatusServiceUnavailable, http.StatusOK}
	next := roundTripper(func(req *http.Request) (*http.Response, error) {
		code := codes[0]
		codes = codes[1:]
		return &http.Response{StatusCode: code, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://10.0.0.1/api/v1/namespaces/default/pods/web-0", nil)
	require.NoError(t, err)
	resp, err := wrap(next).RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// tree returns the spans in the order in which they ended, with parent, attributes and
// status.
func (s *sdk) tree() []string {
	names := map[trace.SpanID]string{}
	for _, span := range s.spans.GetSpans() {
		names[span.SpanContext.SpanID()] = span.Name
	}
	var lines []string
	for _, span := range s.spans.GetSpans() {
		line := names[span.Parent.SpanID()] + " > " + span.Name + " " + words(span.Attributes)
		if span.Status.Code != codes.Unset {
			line += ": " + span.Status.Code.String() + " " + span.Status.Description
		}
		lines = append(lines, line)
	}
	return lines
}

var errInstrument = errors.New("no instrument")

// failingProvider is a MeterProvider that cannot create a histogram.
type failingProvider struct{ metricnoop.MeterProvider }

func (failingProvider) Meter(string, ...metric.MeterOption) metric.Meter { return failingMeter{} }

type failingMeter struct{ metricnoop.Meter }

func (failingMeter) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return nil, errInstrument
}

// textError fails the test if its text is read.
type textError struct{ t *testing.T }

func (e textError) Error() string { e.t.Error("the text was read"); return "" }
