// SPDX-License-Identifier: Apache-2.0

package k8sretryotel_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryotel"
)

// The function name of a success at once is not looked up.
func TestASuccessAtOnceWithoutANameIsCounted(t *testing.T) {
	s := newSDK(t, sdktrace.AlwaysSample())
	_, err := k8sretry.Do(t.Context(), fails(), k8sretry.WithObserver(s.Observer))
	require.NoError(t, err)
	assert.Equal(t, []string{"k8sretry.call.attempts{} 1 of 1", "k8sretry.calls{} 1"}, s.measured(t))
}

// The number of functions exceeds the limit of the map.
func TestAnObserverIsSafeForConcurrentUse(t *testing.T) {
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

// A retry does not allocate either if no metrics are collected and the span does not record.
func TestASuccessAtOnceDoesNotAllocate(t *testing.T) {
	s := newSDK(t, sdktrace.NeverSample())
	unsampled, span := s.tracer.Start(context.Background(), "reconcile")
	defer span.End()
	none, err := k8sretryotel.New(k8sretryotel.WithMeterProvider(metricnoop.NewMeterProvider()), k8sretryotel.WithTracerProvider(tracenoop.NewTracerProvider()))
	require.NoError(t, err)
	success := k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1, MaxRetries: 3, Verb: k8sretry.VerbGet}
	named := success
	named.Function = "create_database"
	retry := k8sretry.Event{Kind: k8sretry.EventRetry, Attempt: 1, Class: k8sretry.ClassServer, StatusCode: 503, Err: textError{t}}
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

// BenchmarkSuccessAtOnce measures a call that succeeds at once.
func BenchmarkSuccessAtOnce(b *testing.B) {
	none, err := k8sretryotel.New(k8sretryotel.WithMeterProvider(metricnoop.NewMeterProvider()))
	require.NoError(b, err)
	value := func(context.Context) (int, error) { return 1, nil }
	for name, policy := range map[string]*k8sretry.Policy{
		"no observer":          k8sretry.NewPolicy(k8sretry.ForRead()),
		"nothing is collected": k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithObserver(none)),
		"metrics":              k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithObserver(newSDK(b, sdktrace.NeverSample()))),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = k8sretry.Do(context.Background(), value, policy)
			}
		})
	}
}
