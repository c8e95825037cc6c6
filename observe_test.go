package k8sretry_test

import (
	"bytes"
	"context"
	"encoding/json"
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
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/net/http2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// jsonLogs returns a logger that writes as a service does, and what it has written.
func jsonLogs() (k8sretry.Option, func(*testing.T) []map[string]any) {
	var out bytes.Buffer
	encoding := zapcore.EncoderConfig{MessageKey: "event", LevelKey: "level", EncodeLevel: zapcore.LowercaseLevelEncoder}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(encoding), zapcore.AddSync(&out), zapcore.DebugLevel)
	return k8sretry.WithLogger(zap.New(core)), func(t *testing.T) []map[string]any {
		t.Helper()
		var lines []map[string]any
		for line := range strings.Lines(out.String()) {
			var fields map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
			lines = append(lines, fields)
		}
		return lines
	}
}

// The fields of the four fixed events, each with name and type.
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
			delete(line, "detail") // words for people, free to change
		}
		assert.Equal(t, want, got)
	})
}

// How long a call has waited in line at a Limiter is in all of its lines, and in no line of a
// call that has not.
func TestLogFieldOfTheWaitInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, lines := jsonLogs()
		opts := []k8sretry.Option{exact, logger, k8sretry.WithLimiter(busy(t, 2500*time.Millisecond))}
		_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, append(opts, k8sretry.WithName("waits"))...)
		require.NoError(t, err)
		_, err = k8sretry.Do(t.Context(), fails(unavailable(), notFound()).get, append(opts, k8sretry.WithName("goes at once"))...)
		require.Error(t, err)
		of := map[any]int{}
		for _, line := range lines(t) {
			of[line["function"]]++
			if line["function"] == "waits" {
				assert.Equal(t, 2.5, line["queued_seconds"], line["event"])
			} else {
				assert.NotContains(t, line, "queued_seconds", line["event"])
			}
		}
		assert.Equal(t, map[any]int{"waits": 3, "goes at once": 2}, of, "the third is of the Limiter, which opens")
	})
}

// Every other stop has its event, its level, and function, attempt and error in it.
func TestOtherStopsAreLogged(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		event, level string
		ctx          context.Context
		fail         error
		opt          k8sretry.Option
		attempt      float64
	}{
		{"k8s_api_call_failed_retry_after_too_long", "error", nil, tooMany(999), nil, 1},
		{"k8s_api_call_failed_max_elapsed", "error", nil, tooMany(9), k8sretry.WithMaxElapsed(time.Second), 1},
		{"k8s_api_call_failed_outcome_unknown", "error", nil, gatewayTimeout(), k8sretry.WithVerb(k8sretry.VerbCreate), 1},
		{"k8s_api_call_failed_canceled", "info", canceled, nil, nil, 0},
	} {
		t.Run(c.event, func(t *testing.T) {
			logger, lines := jsonLogs()
			if c.ctx == nil {
				c.ctx = t.Context()
			}
			_, err := k8sretry.Do(c.ctx, fails(c.fail).get, logger, c.opt, k8sretry.WithName("f"))
			require.Error(t, err)
			line := lines(t)[0]
			assert.Equal(t, c.event, line["event"])
			assert.Equal(t, c.level, line["level"])
			assert.Equal(t, "f", line["function"])
			assert.Equal(t, c.attempt, line["attempt"])
			assert.NotEmpty(t, line["error"])
		})
	}
}

func TestErrorType(t *testing.T) {
	for want, fail := range map[string]error{
		"*errors.StatusError":           fmt.Errorf("sync: %w", notFound()),
		"*net.OpError":                  fmt.Errorf("sync: %w", network("dial", syscall.ECONNREFUSED)),
		"*errors.errorString":           fmt.Errorf("sync: %w", errNo),
		"http2.StreamError":             errors.Join(errNo, fmt.Errorf("sync: %w", http2.StreamError{})),
		"context.deadlineExceededError": fmt.Errorf("sync: %w", context.DeadlineExceeded),
		"*fs.PathError":                 fmt.Errorf("sync: %w", &fs.PathError{Op: "open", Path: "token", Err: errNo}),
	} {
		logger, lines := jsonLogs()
		_, err := k8sretry.Do(t.Context(), fails(fail).get, logger, k8sretry.WithMaxRetries(0))
		require.Error(t, err)
		assert.Equal(t, want, lines(t)[0]["error_type"])
	}
}

func TestErrorTextInALogIsBounded(t *testing.T) {
	for name, page := range map[string]string{"HTML": strings.Repeat("<p>bad gateway</p>", 10_000), "wide runes": "x" + strings.Repeat("€", 1000)} {
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
}

func TestDefaultLoggerIsTheGlobalOne(t *testing.T) {
	_, err := k8sretry.Do(t.Context(), fails(notFound()).get) // silent
	require.Error(t, err)

	core, written := newObserver()
	defer zap.ReplaceGlobals(zap.New(core))()
	_, err = k8sretry.Do(t.Context(), fails(notFound()).get)
	require.Error(t, err)
	assert.Equal(t, []string{"k8s_api_call_failed_non_retryable"}, messages(written), "asked at each event, not at start")

	_, err = k8sretry.Do(t.Context(), fails(notFound()).get, k8sretry.WithLogger(nil))
	require.Error(t, err)
	_, err = k8sretry.Do(t.Context(), fails(notFound()).get, k8sretry.NewPolicy(k8sretry.WithLogger(nil)))
	require.Error(t, err)
	assert.Len(t, written.All(), 1, "nil silences")
}

// Fields are built only for a level that somebody wants.
func TestLevelIsCheckedFirst(t *testing.T) {
	core, written := newObserver()
	logger := zap.New(core, zap.IncreaseLevel(zapcore.WarnLevel))
	asked := false
	_, err := k8sretry.Do(t.Context(), fails(untold{status(404, metav1.StatusReasonNotFound), &asked}).get, k8sretry.WithLogger(logger))
	require.Error(t, err)
	assert.False(t, asked)
	assert.Empty(t, written.All(), "the way to drop the lines for lasting errors")
}

// untold knows whether its text was asked for.
type untold struct {
	*apierrors.StatusError
	asked *bool
}

func (u untold) Error() string { *u.asked = true; return "text" }

func TestObserver(t *testing.T) {
	type key struct{}
	t.Run("a success at once is told, without a name to look up", func(t *testing.T) {
		var seen recorder
		_, err := k8sretry.Do(t.Context(), fails().get, k8sretry.WithObserver(&seen), k8sretry.WithVerb(k8sretry.VerbGet))
		require.NoError(t, err)
		assert.Equal(t, []k8sretry.Event{{Kind: k8sretry.EventSuccess, Attempt: 1, MaxRetries: 3, Verb: k8sretry.VerbGet}}, seen.events)
		assert.Empty(t, seen.events[0].Name(), "and not logged")
		seen.events = nil
		_, err = k8sretry.Wrap(fails().get, k8sretry.WithObserver(&seen), k8sretry.WithName("get"))(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "get", seen.events[0].Function)
	})
	t.Run("one event for each decision, in order, with all that is known", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var seen recorder
			_, err := k8sretry.Do(t.Context(), fails(tooMany(7), notFound()).get, exact,
				k8sretry.WithObserver(&seen), k8sretry.WithName("get"), k8sretry.WithVerb(k8sretry.VerbDelete))
			require.Error(t, err)
			for i := range seen.events {
				seen.events[i].Detail = ""
			}
			assert.Equal(t, []k8sretry.Event{
				{
					Kind: k8sretry.EventRetry, Function: "get", Verb: k8sretry.VerbDelete, Attempt: 1, MaxRetries: 3, Delay: 7 * time.Second,
					Class: k8sretry.ClassThrottled, StatusCode: 429, RetryAfter: 7 * time.Second, Err: tooMany(7),
				},
				{
					Kind: k8sretry.EventFailure, Function: "get", Verb: k8sretry.VerbDelete, Attempt: 2, MaxRetries: 3, Elapsed: 7 * time.Second,
					Class: k8sretry.ClassPermanent, StatusCode: 404, StopReason: k8sretry.StopNonRetryable, Err: err,
				},
			}, seen.events)
		})
	})
	t.Run("the caller's context is handed on", func(t *testing.T) {
		ctx := context.WithValue(t.Context(), key{}, "span")
		var got any
		_, err := k8sretry.Do(ctx, fails(notFound()).get, k8sretry.WithObserver(observerFunc(func(ctx context.Context, _ k8sretry.Event) { got = ctx.Value(key{}) })))
		require.Error(t, err)
		assert.Equal(t, "span", got)
	})
	t.Run("an observer may call the library itself", func(t *testing.T) {
		var once sync.Once
		o := observerFunc(func(ctx context.Context, _ k8sretry.Event) {
			once.Do(func() { _, _ = k8sretry.Do(ctx, fails(notFound()).get, k8sretry.ForRead()) })
		})
		_, err := k8sretry.Do(t.Context(), fails(notFound()).get, k8sretry.WithObserver(o))
		require.Error(t, err)
	})
}

type observerFunc func(context.Context, k8sretry.Event)

func (f observerFunc) Observe(ctx context.Context, e k8sretry.Event) { f(ctx, e) }

func TestUnknownEventHasNoName(t *testing.T) {
	assert.Empty(t, k8sretry.Event{Kind: 99}.Name())
	assert.Empty(t, k8sretry.Event{Kind: k8sretry.EventFailure, StopReason: 99}.Name())
}
