// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

func TestObserver(t *testing.T) {
	type key struct{}
	t.Run("a success at once is an event, whose name is not looked up", func(t *testing.T) {
		var seen recorder
		_, err := k8sretry.Do(t.Context(), fails().get, k8sretry.WithObserver(&seen), k8sretry.WithVerb(k8sretry.VerbGet))
		require.NoError(t, err)
		assert.Equal(t, []k8sretry.Event{{Kind: k8sretry.EventSuccess, Attempt: 1, MaxRetries: 3, Verb: k8sretry.VerbGet, Outcome: k8sretry.OutcomeNone}}, seen.events)
		assert.Empty(t, seen.events[0].Name(), "and not logged")
		seen.events = nil
		_, err = k8sretry.Wrap(fails().get, k8sretry.WithObserver(&seen), k8sretry.WithName("get"))(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "get", seen.events[0].Function)
	})
	t.Run("one event for each decision, in order, with all that is known", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var seen recorder
			observed := []k8sretry.Option{exact, k8sretry.WithObserver(&seen), k8sretry.WithName("get"), k8sretry.WithVerb(k8sretry.VerbDelete)}
			_, notFound := k8sretry.Do(t.Context(), fails(tooMany(7), notFound()).get, observed...)
			require.Error(t, notFound)
			_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, observed...)
			require.NoError(t, err)
			for i := range seen.events {
				seen.events[i].Detail = ""
			}
			call := k8sretry.Event{Function: "get", Verb: k8sretry.VerbDelete, MaxRetries: 3}
			retry, failure, retry503, success := call, call, call, call
			retry.Kind, retry.Attempt, retry.Delay, retry.Class, retry.StatusCode = k8sretry.EventRetry, 1, 7*time.Second, k8sretry.ClassThrottled, 429
			retry.RetryAfter, retry.Err = 7*time.Second, tooMany(7)
			failure.Kind, failure.Attempt, failure.Elapsed, failure.Class, failure.StatusCode = k8sretry.EventFailure, 2, 7*time.Second, k8sretry.ClassPermanent, 404
			failure.StopReason, failure.Err = k8sretry.StopNonRetryable, notFound
			retry503.Kind, retry503.Attempt, retry503.Delay, retry503.Class, retry503.StatusCode = k8sretry.EventRetry, 1, time.Second, k8sretry.ClassServer, 503
			retry503.Outcome, retry503.Err = k8sretry.OutcomeUnknown, unavailable()
			success.Kind, success.Attempt, success.Elapsed, success.Outcome = k8sretry.EventSuccess, 2, time.Second, k8sretry.OutcomeNone
			assert.Equal(t, []k8sretry.Event{retry, failure, retry503, success}, seen.events)
		})
	})
	t.Run("the outcome of what has not failed is none, which no metric takes for a failure", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var seen recorder
			breaker := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 1})
			opts := []k8sretry.Option{k8sretry.WithObserver(&seen), k8sretry.WithBreaker(breaker), k8sretry.WithMaxRetries(0)}
			for breaker.State() != k8sretry.BreakerOpen {
				_, _ = k8sretry.Do(t.Context(), fails(unavailable()).get, opts...)
				testkit.Sleep(500 * time.Millisecond)
			}
			_, _ = k8sretry.Do(t.Context(), fails().get, opts...)
			testkit.Sleep(time.Hour)
			_, err := k8sretry.Do(t.Context(), fails().get, opts...)
			require.NoError(t, err)
			outcomes := map[string]string{}
			for _, e := range seen.events {
				outcomes[fmt.Sprint(e.Kind, " ", e.Breaker, " ", e.Err != nil)] = e.Outcome.String()
				assert.Equal(t, e.Err == nil, e.Outcome < k8sretry.OutcomeNotExecuted)
			}
			assert.Equal(t, map[string]string{
				"3 open true": "unknown", "2 closed true": "not_executed", "3 half_open false": "", "3 closed false": "", "1 closed false": "",
			}, outcomes, "the last failure is the refusal of the open breaker")
		})
	})
	t.Run("it gets the caller's context, without the attempt's timeout", func(t *testing.T) {
		ctx := context.WithValue(t.Context(), key{}, "span")
		var got any
		_, err := k8sretry.Do(ctx, fails(notFound()).get, k8sretry.WithAttemptTimeout(time.Minute),
			k8sretry.WithObserver(observerFunc(func(ctx context.Context, _ k8sretry.Event) {
				got = ctx.Value(key{})
				_, bounded := ctx.Deadline()
				assert.False(t, bounded)
			})))
		require.Error(t, err)
		assert.Equal(t, "span", got)
	})
	t.Run("it may call the library itself", func(t *testing.T) {
		var once sync.Once
		o := observerFunc(func(ctx context.Context, _ k8sretry.Event) {
			once.Do(func() { _, _ = k8sretry.Do(ctx, fails(notFound()).get, k8sretry.ForRead()) })
		})
		_, err := k8sretry.Do(t.Context(), fails(notFound()).get, k8sretry.WithObserver(o))
		require.Error(t, err)
	})
}

func TestMultiObserver(t *testing.T) {
	var heard []string
	by := func(name string) k8sretry.Observer {
		return observerFunc(func(context.Context, k8sretry.Event) { heard = append(heard, name) })
	}
	given := []k8sretry.Observer{by("metrics"), nil, by("traces")}
	both := k8sretry.MultiObserver(given...)
	given[0] = nil // the slice was copied
	_, err := k8sretry.Do(t.Context(), func(context.Context) (int, error) { return 1, nil }, k8sretry.WithObserver(both))
	assert.NoError(t, err)
	assert.Equal(t, []string{"metrics", "traces"}, heard)

	assert.Nil(t, k8sretry.MultiObserver())
	assert.Nil(t, k8sretry.MultiObserver(nil, nil))
	heard = nil
	k8sretry.MultiObserver(nil, by("alone")).Observe(t.Context(), k8sretry.Event{})
	assert.Equal(t, []string{"alone"}, heard)
}

// The names of failures are in TestStopReasonNames, those of guards in their tests.
func TestEventNames(t *testing.T) {
	for want, e := range map[string]k8sretry.Event{
		"k8s_api_call_failed_retrying":       {Kind: k8sretry.EventRetry, Attempt: 1},
		"k8s_api_call_succeeded_after_retry": {Kind: k8sretry.EventSuccess, Attempt: 2},
		"k8s_api_breaker_open":               {Kind: k8sretry.EventBreaker, Breaker: k8sretry.BreakerOpen},
		"k8s_api_breaker_half_open":          {Kind: k8sretry.EventBreaker, Breaker: k8sretry.BreakerHalfOpen},
		"k8s_api_breaker_closed":             {Kind: k8sretry.EventBreaker},
		"k8s_api_limiter_limiting":           {Kind: k8sretry.EventLimiter, Limited: true},
		"k8s_api_limiter_open":               {Kind: k8sretry.EventLimiter},
		"k8s_api_call_queued":                {Kind: k8sretry.EventQueued},
	} {
		assert.Equal(t, want, e.Name())
	}
	for _, e := range []k8sretry.Event{
		{Kind: k8sretry.EventSuccess, Attempt: 1}, {Kind: 99}, {Kind: k8sretry.EventFailure, StopReason: 99},
		{Kind: k8sretry.EventFailure, StopReason: k8sretry.StopCanceled + 1},
	} {
		assert.Empty(t, e.Name(), "%+v", e)
	}
}

// The names and types of the fields of log lines.
func TestLogFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, lines := jsonLogs()
		opts := []k8sretry.Option{k8sretry.ForWrite(), exact, logger, k8sretry.WithName("create_database"), k8sretry.WithVerb(k8sretry.VerbUpdate)}
		_, err := k8sretry.Do(t.Context(), fails(tooMany(7), network("read", syscall.ECONNRESET)).get, opts...)
		require.NoError(t, err)
		_, err = k8sretry.Do(t.Context(), fails(unavailable()).get, append(opts, k8sretry.WithMaxRetries(0))...)
		require.Error(t, err)
		_, err = k8sretry.Do(t.Context(), fails(notFound()).get, opts...)
		require.Error(t, err)

		want := []map[string]any{
			{
				"event": "k8s_api_call_failed_retrying", "level": "warn", "function": "create_database", "attempt": 1.0, "max_retries": 5.0,
				"delay_seconds": 7.0, "error_type": "*errors.StatusError", "error": "the server said so", "status_code": 429.0,
				"class": "throttled", "outcome": "not_executed", "retry_after_seconds": 7.0, "verb": "update", "elapsed_seconds": 0.0,
			},
			{
				"event": "k8s_api_call_failed_retrying", "level": "warn", "function": "create_database", "attempt": 2.0, "max_retries": 5.0,
				"delay_seconds": 4.0, "error_type": "*net.OpError", "error": network("read", syscall.ECONNRESET).Error(),
				"class": "connection", "outcome": "unknown", "verb": "update", "elapsed_seconds": 7.0,
			},
			{
				"event": "k8s_api_call_succeeded_after_retry", "level": "info", "function": "create_database", "attempt": 3.0, "max_retries": 5.0,
				"verb": "update", "elapsed_seconds": 11.0,
			},
			{
				"event": "k8s_api_call_failed_max_retries", "level": "error", "function": "create_database", "attempt": 1.0, "max_retries": 0.0,
				"error_type": "*errors.StatusError", "error": "the server said so", "status_code": 503.0,
				"class": "server", "outcome": "unknown", "verb": "update", "elapsed_seconds": 0.0,
			},
			{
				"event": "k8s_api_call_failed_non_retryable", "level": "info", "function": "create_database", "attempt": 1.0,
				"error_type": "*errors.StatusError", "error": `pods "web-0" not found`, "status_code": 404.0,
				"class": "permanent", "outcome": "not_executed", "verb": "update", "elapsed_seconds": 0.0,
			},
		}
		got := lines(t)
		for _, line := range got {
			if line["error"] != nil {
				assert.NotEmpty(t, line["detail"], line["event"])
			}
			delete(line, "detail") // a text for people, which may change
		}
		assert.Equal(t, want, got)
	})
}

// The time that a call has queued at a Limiter is in all of its lines, and in no line of a
// call that has not.
func TestLogFieldOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, lines := jsonLogs()
		opts := []k8sretry.Option{exact, logger, k8sretry.WithLimiter(busy(t, 2500*time.Millisecond))}
		_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, append(opts, k8sretry.WithName("queued"))...)
		require.NoError(t, err)
		_, err = k8sretry.Do(t.Context(), fails(unavailable(), notFound()).get, append(opts, k8sretry.WithName("not queued"))...)
		require.Error(t, err)
		of := map[any]int{}
		for _, line := range lines(t) {
			of[line["function"]]++
			if line["event"] == "k8s_api_call_queued" {
				assert.Equal(t, 1.0, line["queued_seconds"], "while it waits")
			} else if line["function"] == "queued" {
				assert.Equal(t, 2.5, line["queued_seconds"], line["event"])
			} else {
				assert.NotContains(t, line, "queued_seconds", line["event"])
			}
		}
		assert.Equal(t, map[any]int{"queued": 4, "not queued": 2}, of, "one is of the Limiter, which opens")
	})
}

func TestLogFieldOfTheErrorType(t *testing.T) {
	for want, fail := range map[string]error{
		"*errors.StatusError":           fmt.Errorf("sync: %w", aggregate(notFound())),
		"*net.OpError":                  fmt.Errorf("sync: %w", network("dial", syscall.ECONNREFUSED)),
		"*errors.errorString":           fmt.Errorf("sync: %w", errPlain),
		"http2.StreamError":             errors.Join(errPlain, fmt.Errorf("sync: %w", http2.StreamError{})),
		"context.deadlineExceededError": fmt.Errorf("sync: %w", context.DeadlineExceeded),
		"*fs.PathError":                 fmt.Errorf("sync: %w", &fs.PathError{Op: "open", Path: "token", Err: errPlain}),
	} {
		logger, lines := jsonLogs()
		_, err := k8sretry.Do(t.Context(), fails(fail).get, logger, k8sretry.WithMaxRetries(0))
		require.Error(t, err)
		assert.Equal(t, want, lines(t)[0]["error_type"])
	}
}

func TestLogFieldOfTheErrorTextIsBounded(t *testing.T) {
	for name, page := range map[string]string{"HTML": strings.Repeat("<p>bad gateway</p>", 10_000), "wide runes": "x" + strings.Repeat("€", 1000), "wide runes, 1 byte on": "xx" + strings.Repeat("€", 1000), "wide runes, 2 bytes on": strings.Repeat("€", 1000)} {
		t.Run(name, func(t *testing.T) {
			logger, lines := jsonLogs()
			_, err := k8sretry.Do(t.Context(), fails(errors.New(page)).get, logger)
			require.Error(t, err)
			text := lines(t)[0]["error"].(string)
			assert.Less(t, len(text), 1100)
			assert.True(t, utf8.ValidString(text))
			assert.NotContains(t, text, "\uFFFD", "cut between runes")
			assert.Contains(t, text, fmt.Sprintf("... (%d bytes in all)", len(page)))
			assert.Equal(t, page, err.Error(), "the error itself is whole")
		})
	}
	logger, lines := jsonLogs()
	short := strings.Repeat("x", 1024)
	_, _ = k8sretry.Do(t.Context(), fails(errors.New(short)).get, logger)
	assert.Equal(t, short, lines(t)[0]["error"])

	t.Run("a nil pointer whose method panics", func(t *testing.T) {
		var none *apierrors.StatusError
		logger, lines := jsonLogs()
		_, err := k8sretry.Do(t.Context(), fails(none).get, logger, k8sretry.WithMaxRetries(0))
		require.ErrorAs(t, err, new(*apierrors.StatusError))
		assert.Equal(t, "<nil>", lines(t)[0]["error"])
	})
}

// textProbe records whether its text was asked for.
type textProbe struct {
	*apierrors.StatusError
	asked *bool
}

func (p textProbe) Error() string { *p.asked = true; return "text" }
