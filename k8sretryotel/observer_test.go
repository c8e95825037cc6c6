package k8sretryotel_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryotel"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// Each situation by what the caller's span and the metrics tell of it.
func TestObserver(t *testing.T) {
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
			name:  "never connected",
			fails: []error{k8sretrytest.ConnectionRefused(), k8sretrytest.ConnectionRefused()},
			opts:  []k8sretry.Option{verb, named, k8sretry.WithMaxRetries(1)},
			events: []string{
				"k8s_api_call_failed_retrying attempt=1 class=refused delay_seconds=0.5 error.type=refused " +
					"exception.message=" + k8sretrytest.ConnectionRefused().Error() + " function=create_database max_retries=1 outcome=not_executed verb=create",
				"k8s_api_call_failed_max_retries attempt=2 class=refused elapsed_seconds=0.5 error.type=refused " +
					"exception.message=" + k8sretrytest.ConnectionRefused().Error() + " function=create_database max_retries=1 outcome=not_executed stop=max_retries verb=create",
			},
			metrics: []string{
				"k8sretry.call.attempts{stop=max_retries verb=create} 2 of 1",
				"k8sretry.calls{error.type=refused function=create_database outcome=not_executed stop=max_retries verb=create} 1",
				"k8sretry.retries{class=refused function=create_database verb=create} 1",
				"k8sretry.retry.delay{class=refused verb=create} 0.5s of 1",
			},
		},
		{
			name:  "a lost answer of a create",
			fails: []error{k8sretrytest.ConnectionClosed()},
			opts:  []k8sretry.Option{verb, named},
			events: []string{
				"k8s_api_call_failed_outcome_unknown attempt=1 class=connection error.type=connection " +
					"exception.message=" + k8sretrytest.ConnectionClosed().Error() + " function=create_database max_retries=3 outcome=unknown stop=outcome_unknown verb=create",
			},
			metrics: []string{
				"k8sretry.call.attempts{stop=outcome_unknown verb=create} 1 of 1",
				"k8sretry.calls{error.type=connection function=create_database outcome=unknown stop=outcome_unknown verb=create} 1",
			},
		},
		{
			name:  "a code that is none",
			fails: []error{errors.New("odd")},
			opts: []k8sretry.Option{named, k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) {
				return k8sretry.Verdict{StatusCode: 1_000_000_000}, true
			})},
			events: []string{"k8s_api_call_failed_non_retryable attempt=1 class=none error.type=non_retryable exception.message=odd " +
				"function=create_database max_retries=3 outcome=not_executed stop=non_retryable"},
			metrics: []string{
				"k8sretry.call.attempts{stop=non_retryable} 1 of 1",
				"k8sretry.calls{error.type=non_retryable function=create_database outcome=not_executed stop=non_retryable} 1",
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
				assert.Equal(t, codes.Unset, span.Status.Code, "the caller's to set")
				assert.Empty(t, span.Attributes)
			})
		})
	}
}

// Names that are looked up: for a success at once none is, and it is counted all the same.
func TestSuccessAtOnceWithoutAName(t *testing.T) {
	s := newSDK(t, sdktrace.AlwaysSample())
	_, err := k8sretry.Do(t.Context(), fails(), k8sretry.WithObserver(s.Observer))
	require.NoError(t, err)
	assert.Equal(t, []string{"k8sretry.call.attempts{} 1 of 1", "k8sretry.calls{} 1"}, s.measured(t))
}

// The requests of a clientset carry the caller's span down to a Transport, whose names
// hold no object's.
func TestBelowAClientset(t *testing.T) {
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

func TestWhatIsNotSampledIsNotWritten(t *testing.T) {
	s := newSDK(t, sdktrace.NeverSample())
	ctx, span := s.tracer.Start(t.Context(), "reconcile")
	e := k8sretry.Event{Kind: k8sretry.EventFailure, StopReason: k8sretry.StopNonRetryable, Err: told{t}}
	s.Observe(ctx, e)
	span.End()
	s.Observe(t.Context(), e)
	assert.Empty(t, s.spans.GetSpans())
}

// told is an error whose text nobody may ask for.
type told struct{ t *testing.T }

func (e told) Error() string { e.t.Error("asked for its text"); return "" }

func TestErrorTextIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"a page of HTML":            {errors.New(strings.Repeat("<p>bad gateway</p>", 10_000)), strings.Repeat("<p>bad gateway</p>", 60)[:1024]},
		"cut between runes":         {errors.New("x" + strings.Repeat("€", 1000)), "x" + strings.Repeat("€", 341)},
		"no UTF-8":                  {errors.New("a\xffb"), "ab"},
		"an Error that panics":      {(*k8sretry.Error)(nil), "<nil>"},
		"just as long as it may be": {errors.New(strings.Repeat("x", 1024)), strings.Repeat("x", 1024)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSDK(t, sdktrace.AlwaysSample())
			span := s.inSpan(t, func(ctx context.Context) {
				s.Observe(ctx, k8sretry.Event{Kind: k8sretry.EventFailure, StopReason: k8sretry.StopNonRetryable, Err: c.err})
			})
			for _, a := range span.Events[0].Attributes {
				if a.Key == "exception.message" {
					assert.Equal(t, c.want, a.Value.AsString())
				}
			}
		})
	}
}

// Kinds, stops and verbs that a later k8sretry has, or that nobody has.
func TestUnknownEventsAreHarmless(t *testing.T) {
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

	s.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventFailure, StopReason: 200, Verb: 200, Class: 200, Outcome: 200, StatusCode: -7})
	assert.Equal(t, []string{
		"k8sretry.call.attempts{stop=invalid verb=invalid} 0 of 1",
		"k8sretry.calls{error.type=invalid outcome=invalid stop=invalid verb=invalid} 1",
	}, s.measured(t))
}

func TestNew(t *testing.T) {
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
	t.Run("a provider that refuses an instrument", func(t *testing.T) {
		o, err := k8sretryotel.New(k8sretryotel.WithMeterProvider(refusing{}))
		require.ErrorIs(t, err, errRefused)
		assert.Nil(t, o)
	})
	t.Run("nil and zero see nothing", func(t *testing.T) {
		for _, o := range []*k8sretryotel.Observer{nil, {}} {
			_, err := k8sretry.Do(t.Context(), fails(), k8sretry.WithObserver(o))
			require.NoError(t, err)
		}
	})
}

var errRefused = errors.New("refused")

type refusing struct{ metricnoop.MeterProvider }

func (refusing) Meter(string, ...metric.MeterOption) metric.Meter { return refusingMeter{} }

type refusingMeter struct{ metricnoop.Meter }

func (refusingMeter) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return nil, errRefused
}

// One Observer for all, and more names than it keeps.
func TestConcurrentUse(t *testing.T) {
	s := newSDK(t, sdktrace.AlwaysSample())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1100 {
				s.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1, Function: strings.Repeat("x", i)})
			}
		})
	}
	wg.Wait()
	assert.Contains(t, s.measured(t), "k8sretry.call.attempts{} 8800 of 8800")
	assert.Contains(t, s.measured(t), "k8sretry.calls{function="+strings.Repeat("x", 1099)+"} 8")
}

// To be told of a success at once costs no allocation: neither where nothing is collected
// nor where metrics are and no span is sampled. An event for a span that does not record
// costs none beyond those of the metrics.
func TestNoAllocation(t *testing.T) {
	s := newSDK(t, sdktrace.NeverSample())
	unsampled, span := s.tracer.Start(context.Background(), "reconcile")
	defer span.End()
	none, err := k8sretryotel.New(k8sretryotel.WithMeterProvider(metricnoop.NewMeterProvider()), k8sretryotel.WithTracerProvider(tracenoop.NewTracerProvider()))
	require.NoError(t, err)
	success := k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1, MaxRetries: 3, Verb: k8sretry.VerbGet}
	named := success
	named.Function = "create_database"
	retry := k8sretry.Event{Kind: k8sretry.EventRetry, Attempt: 1, Class: k8sretry.ClassServer, StatusCode: 503, Err: told{t}}
	for name, c := range map[string]struct {
		ctx   context.Context
		o     *k8sretryotel.Observer
		event k8sretry.Event
	}{
		"nothing is collected":                    {context.Background(), none, success},
		"nothing is collected, with a name":       {context.Background(), none, named},
		"nothing is collected, a retry":           {unsampled, none, retry},
		"metrics, no span":                        {context.Background(), s.Observer, success},
		"metrics, no span, with a name":           {context.Background(), s.Observer, named},
		"metrics, an unsampled span":              {unsampled, s.Observer, success},
		"metrics, an unsampled span, with a name": {unsampled, s.Observer, named},
	} {
		assert.Zero(t, testing.AllocsPerRun(100, func() { c.o.Observe(c.ctx, c.event) }), name)
	}
}

// What the Observer adds to a call that succeeds at once.
func BenchmarkSuccessAtOnce(b *testing.B) {
	none, err := k8sretryotel.New(k8sretryotel.WithMeterProvider(metricnoop.NewMeterProvider()))
	require.NoError(b, err)
	value := func(context.Context) (int, error) { return 1, nil }
	for name, policy := range map[string]*k8sretry.Policy{
		"without":         k8sretry.NewPolicy(k8sretry.ForRead()),
		"nothing listens": k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithObserver(none)),
		"metrics":         k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithObserver(newSDK(b, sdktrace.NeverSample()))),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = k8sretry.Do(context.Background(), value, policy)
			}
		})
	}
}
