// SPDX-License-Identifier: Apache-2.0

package k8sretryotel_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/k8sretry/k8sretry"
)

// A server may send any text. Exporters require valid UTF-8.
func FuzzErrorTextIsValidUTF8OfLimitedLength(f *testing.F) {
	f.Add("pods \"web-0\" not found")
	f.Add("a\xff\xc3")
	f.Add("x" + strings.Repeat("€", 1000))
	f.Fuzz(func(t *testing.T, s string) {
		got := exceptionMessage(t, newSDK(t, sdktrace.AlwaysSample()), errors.New(s))
		assert.True(t, utf8.ValidString(got))
		assert.LessOrEqual(t, len(got), 1024)
		if utf8.ValidString(s) {
			assert.True(t, strings.HasPrefix(s, got))
			assert.Greater(t, len(got)+utf8.UTFMax, min(len(s), 1024), "only an incomplete rune is lost")
		}
	})
}

func TestQueuedTimeIsAnAttribute(t *testing.T) {
	s := newSDK(t, sdktrace.AlwaysSample())
	span := s.inSpan(t, func(ctx context.Context) {
		s.Observe(ctx, k8sretry.Event{Kind: k8sretry.EventLimiter, Limited: true, Queued: 3 * time.Second})
		s.Observe(ctx, k8sretry.Event{Kind: k8sretry.EventLimiter, Limited: true})
	})
	require.Len(t, span.Events, 2)
	assert.Contains(t, span.Events[0].Attributes, attribute.Float64("k8sretry.queued_seconds", 3))
	assert.NotContains(t, events(span)[1], "queued_seconds")
}

func TestSpansThatAreNotSampledGetNoAttributes(t *testing.T) {
	s := newSDK(t, sdktrace.NeverSample())
	ctx, span := s.tracer.Start(t.Context(), "reconcile")
	e := k8sretry.Event{Kind: k8sretry.EventFailure, StopReason: k8sretry.StopNonRetryable, Err: textError{t}}
	s.Observe(ctx, e)
	span.End()
	s.Observe(t.Context(), e)
	assert.Empty(t, s.spans.GetSpans())
}

func TestErrorTextsAreCut(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"an HTML page":         {errors.New(strings.Repeat("<p>bad gateway</p>", 10_000)), strings.Repeat("<p>bad gateway</p>", 60)[:1024]},
		"cut between runes":    {errors.New("x" + strings.Repeat("€", 1000)), "x" + strings.Repeat("€", 341)},
		"invalid UTF-8":        {errors.New("a\xffb"), "ab"},
		"an Error that panics": {(*k8sretry.Error)(nil), "<nil>"},
		"the maximum length":   {errors.New(strings.Repeat("x", 1024)), strings.Repeat("x", 1024)},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, exceptionMessage(t, newSDK(t, sdktrace.AlwaysSample()), c.err))
		})
	}
}

// exceptionMessage returns the attribute exception.message of a failure with err.
func exceptionMessage(t *testing.T, s *sdk, err error) string {
	t.Helper()
	span := s.inSpan(t, func(ctx context.Context) {
		s.Observe(ctx, k8sretry.Event{Kind: k8sretry.EventFailure, StopReason: k8sretry.StopNonRetryable, Err: err})
	})
	for _, a := range span.Events[0].Attributes {
		if a.Key == "exception.message" {
			return a.Value.AsString()
		}
	}
	return ""
}
