// SPDX-License-Identifier: Apache-2.0

package k8sretryotel_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryotel"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestCallsAddSpanEventsAndMetrics(t *testing.T) {
	verb := k8sretry.WithVerb(k8sretry.VerbCreate)
	named := k8sretry.WithName("create_database")
	for _, c := range []struct {
		name    string
		fails   []error
		opts    []k8sretry.Option
		events  []string
		metrics []string
	}{
		{
			name: "a success at once",
			opts: []k8sretry.Option{verb, named},
			metrics: []string{
				"k8sretry.call.attempts{verb=create} 1 of 1",
				"k8sretry.calls{function=create_database verb=create} 1",
			},
		},
		{
			name:  "throttled, then a success",
			fails: []error{k8sretrytest.TooManyRequests(7 * time.Second)},
			opts:  []k8sretry.Option{verb, named},
			events: []string{
				"k8s_api_call_failed_retrying attempt=1 class=throttled delay_seconds=7 error.type=429 " +
					"exception.message=" + k8sretrytest.TooManyRequests(7*time.Second).Error() + " function=create_database http.response.status_code=429 max_retries=3 outcome=not_executed retry_after_seconds=7 verb=create",
				"k8s_api_call_succeeded_after_retry attempt=2 elapsed_seconds=7 function=create_database max_retries=3 verb=create",
			},
			metrics: []string{
				"k8sretry.call.attempts{verb=create} 2 of 1",
				"k8sretry.calls{function=create_database verb=create} 1",
				"k8sretry.retries{class=throttled function=create_database http.response.status_code=429 verb=create} 1",
				"k8sretry.retry.delay{class=throttled verb=create} 7s of 1",
			},
		},
		{
			name:  "connection refused",
			fails: []error{k8sretrytest.ConnectionRefused(), k8sretrytest.ConnectionRefused()},
			opts:  []k8sretry.Option{verb, named, k8sretry.WithMaxRetries(1)},
			events: []string{
				"k8s_api_call_failed_retrying attempt=1 class=refused delay_seconds=0.5 error.type=refused " +
					"exception.message=" + k8sretrytest.ConnectionRefused().Error() + " function=create_database max_retries=1 outcome=not_executed verb=create",
				"k8s_api_call_failed_max_retries attempt=2 class=refused elapsed_seconds=0.5 error.type=refused " +
					"exception.message=" + k8sretrytest.ConnectionRefused().Error() + " function=create_database max_retries=1 outcome=not_executed stop_reason=max_retries verb=create",
			},
			metrics: []string{
				"k8sretry.call.attempts{stop_reason=max_retries verb=create} 2 of 1",
				"k8sretry.calls{error.type=refused function=create_database outcome=not_executed stop_reason=max_retries verb=create} 1",
				"k8sretry.retries{class=refused function=create_database verb=create} 1",
				"k8sretry.retry.delay{class=refused verb=create} 0.5s of 1",
			},
		},
		{
			name:  "a lost response of a create",
			fails: []error{k8sretrytest.ConnectionClosed()},
			opts:  []k8sretry.Option{verb, named},
			events: []string{
				"k8s_api_call_failed_outcome_unknown attempt=1 class=connection error.type=connection " +
					"exception.message=" + k8sretrytest.ConnectionClosed().Error() + " function=create_database max_retries=3 outcome=unknown stop_reason=outcome_unknown verb=create",
			},
			metrics: []string{
				"k8sretry.call.attempts{stop_reason=outcome_unknown verb=create} 1 of 1",
				"k8sretry.calls{error.type=connection function=create_database outcome=unknown stop_reason=outcome_unknown verb=create} 1",
			},
		},
		{
			name:  "an invalid status code",
			fails: []error{errors.New("odd")},
			opts: []k8sretry.Option{named, k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) {
				return k8sretry.Verdict{StatusCode: 1_000_000_000}, true
			})},
			events: []string{"k8s_api_call_failed_non_retryable attempt=1 class=none error.type=non_retryable exception.message=odd " +
				"function=create_database max_retries=3 outcome=not_executed stop_reason=non_retryable"},
			metrics: []string{
				"k8sretry.call.attempts{stop_reason=non_retryable} 1 of 1",
				"k8sretry.calls{error.type=non_retryable function=create_database outcome=not_executed stop_reason=non_retryable} 1",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSDK(t, sdktrace.AlwaysSample())
				span := s.inSpan(t, func(ctx context.Context) {
					_, _ = k8sretry.Do(ctx, fails(c.fails...), append(c.opts, exact, k8sretry.WithObserver(s.Observer))...)
				})
				assert.Equal(t, c.events, events(span))
				assert.Equal(t, c.metrics, s.measured(t))
				assert.Equal(t, codes.Unset, span.Status.Code, "only the caller sets the status")
				assert.Empty(t, span.Attributes)
			})
		})
	}
}

func TestATransportUsesTheSpanOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSDK(t, sdktrace.AlwaysSample())
		span := s.inSpan(t, func(ctx context.Context) {
			get(ctx, t, k8sretry.Transport(exact, k8sretry.WithObserver(s.Observer)))
		})
		require.Len(t, span.Events, 2)
		assert.Equal(t, []string{
			"k8sretry.call.attempts{verb=get} 2 of 1",
			"k8sretry.calls{function=get pods verb=get} 1",
			"k8sretry.retries{class=server function=get pods http.response.status_code=503 verb=get} 1",
			"k8sretry.retry.delay{class=server verb=get} 1s of 1",
		}, s.measured(t))
	})
}

// A later version of k8sretry may have more kinds, verbs, classes and stop reasons.
func TestUnknownEventsAreIgnored(t *testing.T) {
	s := newSDK(t, sdktrace.AlwaysSample())
	span := s.inSpan(t, func(ctx context.Context) {
		for kind := k8sretry.EventFailure + 1; kind != 0; kind++ {
			e := k8sretry.Event{Kind: kind}
			if e.Name() == "" {
				s.Observe(ctx, e)
			}
		}
	})
	assert.Empty(t, span.Events)
	assert.Empty(t, s.measured(t))

	s.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventFailure, StopReason: 200, Verb: 200, Class: 200, Outcome: 100, StatusCode: -7})
	assert.Equal(t, []string{
		"k8sretry.call.attempts{stop_reason=invalid verb=invalid} 0 of 1",
		"k8sretry.calls{error.type=invalid outcome=invalid stop_reason=invalid verb=invalid} 1",
	}, s.measured(t))
}

func TestNewUsesTheGivenProviders(t *testing.T) {
	t.Run("the global providers", func(t *testing.T) {
		spans, reader := tracetest.NewInMemoryExporter(), sdkmetric.NewManualReader()
		otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)))
		defer otel.SetTracerProvider(tracenoop.NewTracerProvider())
		otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
		defer otel.SetMeterProvider(metricnoop.NewMeterProvider())
		o, err := k8sretryotel.New(nil, k8sretryotel.WithTracerProvider(nil), k8sretryotel.WithMeterProvider(nil))
		require.NoError(t, err)
		_, err = k8sretryotel.Do(t.Context(), o, "get", fails())
		require.NoError(t, err)
		assert.Len(t, spans.GetSpans(), 2)
		assert.Len(t, (&sdk{reader: reader}).measured(t), 2)
	})
	t.Run("a provider that cannot create an instrument", func(t *testing.T) {
		o, err := k8sretryotel.New(k8sretryotel.WithMeterProvider(failingProvider{}))
		require.ErrorIs(t, err, errInstrument)
		assert.Nil(t, o)
	})
	t.Run("a nil and a zero Observer do nothing", func(t *testing.T) {
		for _, o := range []*k8sretryotel.Observer{nil, {}} {
			_, err := k8sretry.Do(t.Context(), fails(), k8sretry.WithObserver(o))
			require.NoError(t, err)
		}
	})
}
