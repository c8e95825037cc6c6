// SPDX-License-Identifier: Apache-2.0

package k8sretryotel_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryotel"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestDoCreatesASpanPerCallAndAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSDK(t, sdktrace.AlwaysSample())
		notFound, unavailable := k8sretrytest.Status(404), k8sretrytest.Status(503)
		caller := s.inSpan(t, func(ctx context.Context) {
			v, err := k8sretryotel.Do(ctx, s.Observer, "get pod", fails(unavailable), exact, k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbGet))
			require.NoError(t, err)
			assert.Equal(t, "value", v)
		})
		assert.Equal(t, []string{
			"get pod > attempt attempt=1 class=server error.type=503 http.response.status_code=503 outcome=unknown: Error " + unavailable.Error(),
			"get pod > attempt attempt=2",
			"reconcile > get pod attempt=2 verb=get",
			" > reconcile ",
		}, s.tree())
		assert.Empty(t, caller.Events, "the events are added to the span of the call")
		assert.Len(t, events(s.span(t, "get pod")), 2)
		attempts := s.spans.GetSpans()[:2]
		assert.Equal(t, time.Second, attempts[1].StartTime.Sub(attempts[0].EndTime), "the wait is not part of an attempt")

		s.spans.Reset()
		_, err := k8sretryotel.Do(t.Context(), s.Observer, "get pod", fails(notFound))
		assert.Equal(t, notFound, err, "returned unchanged")
		assert.Equal(t, []string{
			"get pod > attempt attempt=1 class=permanent error.type=404 http.response.status_code=404 outcome=not_executed: Error " + notFound.Error(),
			" > get pod attempt=1 class=permanent error.type=404 http.response.status_code=404 outcome=not_executed stop_reason=non_retryable: Error " + notFound.Error(),
		}, s.tree())
		assert.Contains(t, s.measured(t), "k8sretry.calls{function=get pod verb=get} 1")
	})
}

func TestAnAttemptGetsItsSpanInTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSDK(t, sdktrace.AlwaysSample())
		var seen []trace.SpanID
		err := k8sretryotel.Run(t.Context(), s.Observer, "delete pod", func(ctx context.Context) error {
			assert.Len(t, s.spans.GetSpans(), len(seen))
			seen = append(seen, trace.SpanContextFromContext(ctx).SpanID())
			if len(seen) < 3 {
				return k8sretrytest.ConnectionRefused()
			}
			return nil
		}, k8sretry.WithAttemptTimeout(time.Second))
		require.NoError(t, err)
		var attempts []trace.SpanID
		for _, span := range s.spans.GetSpans()[:3] {
			attempts = append(attempts, span.SpanContext.SpanID())
		}
		assert.Equal(t, attempts, seen)
	})
}

func TestSpansEndIfTheFunctionPanics(t *testing.T) {
	s := newSDK(t, sdktrace.AlwaysSample())
	assert.PanicsWithValue(t, "no", func() {
		_ = k8sretryotel.Run(t.Context(), s.Observer, "delete pod", func(context.Context) error { panic("no") })
	})
	assert.Len(t, s.spans.GetSpans(), 2)
}

func TestInvalidArgumentsAreErrorsWithoutAnAttempt(t *testing.T) {
	s := newSDK(t, sdktrace.AlwaysSample())
	never := func(context.Context) (string, error) { t.Error("called"); return "", nil }
	var noContext context.Context
	_, err := k8sretryotel.Do(t.Context(), s.Observer, "", never)
	assert.EqualError(t, err, "k8sretryotel: the name of the call is empty")
	_, err = k8sretryotel.Do(noContext, s.Observer, "get pod", never)
	assert.ErrorContains(t, err, "the context is nil")
	_, err = k8sretryotel.Do[string](t.Context(), s.Observer, "get pod", nil)
	assert.ErrorContains(t, err, "the function to call is nil")
	assert.ErrorContains(t, k8sretryotel.Run(t.Context(), s.Observer, "get pod", nil), "the function to call is nil")
	assert.Empty(t, s.spans.GetSpans())

	_, err = k8sretryotel.Do(t.Context(), s.Observer, "get pod", never, k8sretry.WithMaxRetries(-1))
	require.ErrorContains(t, err, "must not be negative")
	assert.Equal(t, []string{" > get pod attempt=0: Error " + err.Error()}, s.tree())

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	s.spans.Reset()
	_, err = k8sretryotel.Do(canceled, s.Observer, "get pod", never)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, []string{" > get pod attempt=0 class=canceled error.type=canceled outcome=not_executed stop_reason=canceled: Error context canceled"}, s.tree())
}

func TestDoWithoutAnObserverCreatesNoSpans(t *testing.T) {
	for _, o := range []*k8sretryotel.Observer{nil, {}} {
		var recorder k8sretrytest.Recorder
		_, err := k8sretryotel.Do(t.Context(), o, "get pod", fails(k8sretrytest.Status(404)), k8sretry.WithObserver(&recorder))
		require.True(t, apierrors.IsNotFound(err))
		assert.Equal(t, "get pod", recorder.Last().Function)
	}
}

// The slice of options may have spare capacity.
func TestDoDoesNotModifyTheOptions(t *testing.T) {
	s := newSDK(t, sdktrace.AlwaysSample())
	opts := make([]k8sretry.Option, 1, 4)
	_, err := k8sretryotel.Do(t.Context(), s.Observer, "get pod", fails(), opts...)
	require.NoError(t, err)
	assert.Equal(t, make([]k8sretry.Option, 4), opts[:4])
}

func TestTheNameOfTheSpanReplacesWithName(t *testing.T) {
	s := newSDK(t, sdktrace.AlwaysSample())
	_, err := k8sretryotel.Do(t.Context(), s.Observer, "get pod", fails(errors.New("x")), k8sretry.WithName("other"), k8sretry.WithMaxRetries(0))
	require.Error(t, err)
	assert.Contains(t, events(s.span(t, "get pod"))[0], "function=get pod")
}

// Of two RoundTrippers that wrap a config, the later one is above.
func TestAnInstrumentedRoundTripperBelowATransportHasASpanPerSend(t *testing.T) {
	for name, c := range map[string]struct {
		order func(cfg *rest.Config, instrumented, retries transport.WrapperFunc)
		want  []string
	}{
		"below": {func(cfg *rest.Config, instrumented, retries transport.WrapperFunc) {
			cfg.Wrap(instrumented)
			cfg.Wrap(retries)
		}, []string{"503", "200"}},
		"above": {func(cfg *rest.Config, instrumented, retries transport.WrapperFunc) {
			cfg.Wrap(retries)
			cfg.Wrap(instrumented)
		}, []string{"200"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSDK(t, sdktrace.AlwaysSample())
				instrumented := func(next http.RoundTripper) http.RoundTripper {
					return roundTripper(func(req *http.Request) (*http.Response, error) {
						_, span := s.tracer.Start(req.Context(), "GET")
						defer span.End()
						resp, err := next.RoundTrip(req)
						if err == nil {
							span.SetName(strconv.Itoa(resp.StatusCode))
						}
						return resp, err
					})
				}
				caller := s.inSpan(t, func(ctx context.Context) {
					get(ctx, t, func(server http.RoundTripper) http.RoundTripper {
						cfg := &rest.Config{Transport: server}
						c.order(cfg, instrumented, k8sretry.Transport(k8sretry.WithObserver(s.Observer)))
						rt, err := rest.TransportFor(cfg)
						require.NoError(t, err)
						return rt
					})
				})
				var sends []string
				for _, span := range s.spans.GetSpans() {
					if span.Name != "reconcile" {
						sends = append(sends, span.Name)
						assert.Equal(t, caller.SpanContext.SpanID(), span.Parent.SpanID())
					}
				}
				assert.Equal(t, c.want, sends)
				assert.Len(t, s.measured(t), 4, "one call with one retry")
			})
		})
	}
}
