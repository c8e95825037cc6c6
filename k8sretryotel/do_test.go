package k8sretryotel_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryotel"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// tree are the spans in the order of their ends, each with its parent, status and
// attributes.
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

func TestDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSDK(t, sdktrace.AlwaysSample())
		gone, busy := k8sretrytest.Status(404), k8sretrytest.Status(503)
		caller := s.inSpan(t, func(ctx context.Context) {
			v, err := k8sretryotel.Do(ctx, s.Observer, "get pod", fails(busy), exact, k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbGet))
			require.NoError(t, err)
			assert.Equal(t, "value", v)
		})
		assert.Equal(t, []string{
			"get pod > attempt attempt=1 class=server error.type=503 http.response.status_code=503 outcome=unknown: Error " + busy.Error(),
			"get pod > attempt attempt=2",
			"reconcile > get pod attempt=2 verb=get",
			" > reconcile ",
		}, s.tree())
		assert.Empty(t, caller.Events, "they are on the span of the call")
		assert.Len(t, events(s.span(t, "get pod")), 2)
		attempts := s.spans.GetSpans()[:2]
		assert.Equal(t, time.Second, attempts[1].StartTime.Sub(attempts[0].EndTime), "the wait is in none of them")

		s.spans.Reset()
		_, err := k8sretryotel.Do(t.Context(), s.Observer, "get pod", fails(gone))
		assert.Equal(t, gone, err, "as it came")
		assert.Equal(t, []string{
			"get pod > attempt attempt=1 class=permanent error.type=404 http.response.status_code=404 outcome=not_executed: Error " + gone.Error(),
			" > get pod attempt=1 class=permanent error.type=404 http.response.status_code=404 outcome=not_executed stop=non_retryable: Error " + gone.Error(),
		}, s.tree())
		assert.Contains(t, s.measured(t), "k8sretry.calls{function=get pod verb=get} 1")
	})
}

// A function gets the span of its attempt, and the spans end with the attempt.
func TestSpansOfAttempts(t *testing.T) {
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

func TestSpansEndWhenAFunctionPanics(t *testing.T) {
	s := newSDK(t, sdktrace.AlwaysSample())
	assert.PanicsWithValue(t, "no", func() {
		_ = k8sretryotel.Run(t.Context(), s.Observer, "delete pod", func(context.Context) error { panic("no") })
	})
	assert.Len(t, s.spans.GetSpans(), 2)
}

// What makes no sense is the error of k8sretry, and no attempt is made.
func TestDoWithBadInput(t *testing.T) {
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
	assert.Equal(t, []string{" > get pod attempt=0 class=canceled error.type=canceled outcome=not_executed stop=canceled: Error context canceled"}, s.tree())
}

func TestDoWithoutAnObserver(t *testing.T) {
	for _, o := range []*k8sretryotel.Observer{nil, {}} {
		var recorder k8sretrytest.Recorder
		_, err := k8sretryotel.Do(t.Context(), o, "get pod", fails(k8sretrytest.Status(404)), k8sretry.WithObserver(&recorder))
		require.True(t, apierrors.IsNotFound(err))
		assert.Equal(t, "get pod", recorder.Last().Function)
	}
}

// The caller's slice of options may have room for more: it is not written to.
func TestDoKeepsTheOptionsOfTheCaller(t *testing.T) {
	s := newSDK(t, sdktrace.AlwaysSample())
	room := make([]k8sretry.Option, 1, 4)
	_, err := k8sretryotel.Do(t.Context(), s.Observer, "get pod", fails(), room...)
	require.NoError(t, err)
	assert.Equal(t, make([]k8sretry.Option, 4), room[:4])
}

// A name given once stays the last word, so that span, logs and metrics agree.
func TestDoNamesTheCall(t *testing.T) {
	s := newSDK(t, sdktrace.AlwaysSample())
	_, err := k8sretryotel.Do(t.Context(), s.Observer, "get pod", fails(errors.New("x")), k8sretry.WithName("other"), k8sretry.WithMaxRetries(0))
	require.Error(t, err)
	assert.Contains(t, events(s.span(t, "get pod"))[0], "function=get pod")
}
