// SPDX-License-Identifier: Apache-2.0

package logging_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/go-logr/zapr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"
	ctrlzap "sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// globalOutput is the output of controller-runtime's global logger, which can be set only once.
var globalOutput bytes.Buffer

func TestMain(m *testing.M) {
	log.SetLogger(ctrlzap.New(ctrlzap.WriteTo(&globalOutput)))
	goleak.VerifyTestMain(m)
}

// The Go code in logging.md is identical to code in this file.
func TestCodeInPageIsTested(t *testing.T) {
	page, err := os.ReadFile("../logging.md")
	require.NoError(t, err)
	here, err := os.ReadFile("logging_test.go")
	require.NoError(t, err)
	compiled := squeeze(string(here))
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		for piece := range strings.SplitSeq(block[1], "\n\n") {
			assert.True(t, strings.Contains(compiled, squeeze(piece)), piece)
		}
	}
	for _, inline := range regexp.MustCompile("`(With[^`]*)`").FindAllStringSubmatch(string(page), -1) {
		option := regexp.MustCompile(`\b(With|Slog|ContextSlog)`).ReplaceAllString(inline[1], "k8sretry.$1")
		assert.True(t, strings.Contains(compiled, option), option)
	}
}

// squeeze removes indentation and empty lines.
func squeeze(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// failNotFound makes a call that fails with 404, without a retry.
func failNotFound(ctx context.Context, opts ...k8sretry.Option) {
	_ = k8sretry.Run(ctx, func(context.Context) error { return k8sretrytest.Status(404) }, opts...)
}

// succeedAfterRetry makes a call that fails with 503 and then succeeds.
func succeedAfterRetry(ctx context.Context, opts ...k8sretry.Option) {
	attempts := 0
	_ = k8sretry.Run(ctx, func(context.Context) error {
		if attempts++; attempts == 1 {
			return k8sretrytest.Status(503)
		}
		return nil
	}, opts...)
}

// observeGlobal replaces zap's global logger and returns what is written to it.
func observeGlobal(t *testing.T) *observer.ObservedLogs {
	core, written := observer.New(zapcore.DebugLevel)
	t.Cleanup(zap.ReplaceGlobals(zap.New(core)))
	return written
}

type loggerKey struct{}

func requestLogger(ctx context.Context) *zap.Logger {
	logger, _ := ctx.Value(loggerKey{}).(*zap.Logger)
	return logger // if it is nil, zap.L() is used
}

var policy = k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithContextLogger(requestLogger))

func TestZapLoggerInContext(t *testing.T) {
	global := observeGlobal(t)
	core, written := observer.New(zapcore.DebugLevel)
	ctx := context.WithValue(t.Context(), loggerKey{}, zap.New(core).With(zap.String("request", "r-1")))
	failNotFound(ctx, policy)
	require.Equal(t, 1, written.Len())
	assert.Equal(t, "r-1", written.All()[0].ContextMap()["request"])
	assert.Zero(t, global.Len())
	failNotFound(t.Context(), policy)
	assert.Equal(t, 1, global.Len())
}

func TestSlogObserverReplacesZap(t *testing.T) {
	global := observeGlobal(t)
	stderr := os.Stderr
	defer func() { os.Stderr = stderr }()
	file, err := os.Create(t.TempDir() + "/log")
	require.NoError(t, err)
	defer file.Close()
	os.Stderr = file

	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithObserver(k8sretry.SlogObserver(logger)), k8sretry.WithLogger(nil))

	failNotFound(t.Context(), policy)
	written, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	assert.Equal(t, 1, bytes.Count(written, []byte("k8s_api_call_failed_non_retryable")))
	assert.Zero(t, global.Len())
}

func reconcileLogger(ctx context.Context) *zap.Logger {
	sink, _ := log.FromContext(ctx).GetSink().(zapr.Underlier)
	if sink == nil {
		return nil
	}
	return sink.GetUnderlying()
}

// reconcileContext returns a context as controller-runtime passes it to Reconcile. Its
// logger is derived from the given one.
func reconcileContext(ctx context.Context, logger logr.Logger) context.Context {
	return log.IntoContext(ctx, logger.WithValues("controller", "database", "name", "db-1").WithValues("reconcileID", "7f3a"))
}

func decode(t *testing.T, out *bytes.Buffer) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(out.String()) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		lines = append(lines, fields)
	}
	return lines
}

// Both options write the same lines, with the fields of the reconcile and of the event.
func TestControllerWithZap(t *testing.T) {
	byZap := k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.WithContextLogger(reconcileLogger))
	byLogr := k8sretry.NewPolicy(k8sretry.ForWrite(),
		k8sretry.WithObserver(k8sretry.ContextSlogObserver(logr.FromContextAsSlogLogger)), k8sretry.WithLogger(nil))
	for name, policy := range map[string]*k8sretry.Policy{"WithContextLogger": byZap, "ContextSlogObserver": byLogr} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				global := observeGlobal(t)
				var out bytes.Buffer
				ctx := reconcileContext(t.Context(), ctrlzap.New(ctrlzap.WriteTo(&out)))
				succeedAfterRetry(ctx, policy, k8sretry.WithName("create_database"), k8sretry.WithJitter(k8sretry.JitterNone))
				lines := decode(t, &out)
				require.Len(t, lines, 2)
				first := lines[0]
				for field, want := range map[string]any{
					"level": "warn", "msg": "k8s_api_call_failed_retrying", "controller": "database", "name": "db-1", "reconcileID": "7f3a",
					"function": "create_database", "attempt": 1.0, "delay_seconds": 2.0, "status_code": 503.0, "error_type": "*errors.StatusError",
				} {
					assert.Equal(t, want, first[field], field)
				}
				assert.Zero(t, global.Len())
			})
		})
	}

	t.Run("contexts without a zap logger", func(t *testing.T) {
		policy := k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.WithContextLogger(reconcileLogger))

		globalOutput.Reset()
		failNotFound(t.Context(), policy)
		assert.Len(t, decode(t, &globalOutput), 1, "outside of a reconcile, the global logger is used")

		global := observeGlobal(t)
		failNotFound(reconcileContext(t.Context(), funcr.New(func(string, string) {}, funcr.Options{})), policy)
		assert.Equal(t, 1, global.Len(), "another logr sink")
	})
}

func TestControllerWithAnyLogger(t *testing.T) {
	policy := k8sretry.NewPolicy(k8sretry.ForWrite(),
		k8sretry.WithObserver(k8sretry.ContextSlogObserver(logr.FromContextAsSlogLogger)), k8sretry.WithLogger(nil))

	var out bytes.Buffer
	logger := funcr.NewJSON(func(line string) { out.WriteString(line + "\n") }, funcr.Options{})
	synctest.Test(t, func(t *testing.T) { succeedAfterRetry(reconcileContext(t.Context(), logger), policy) })
	lines := decode(t, &out)
	require.Len(t, lines, 2)
	assert.Equal(t, "7f3a", lines[0]["reconcileID"])
	assert.Equal(t, "k8s_api_call_failed_retrying", lines[0]["msg"])
	assert.EqualValues(t, 0, lines[0]["level"], "logr has no warnings")

	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(logr.ToSlogHandler(logger)))
	out.Reset()
	failNotFound(t.Context(), policy)
	assert.Len(t, decode(t, &out), 1, "a context without a logger")

	bridged := k8sretry.SlogObserver(slog.New(logr.ToSlogHandler(logger)))

	out.Reset()
	_ = k8sretry.Run(t.Context(), func(context.Context) error { return k8sretrytest.Status(503) }, k8sretry.WithMaxRetries(0), k8sretry.WithObserver(bridged))
	require.Equal(t, 1, strings.Count(out.String(), "k8s_api_call_failed_max_retries"))
	assert.Contains(t, out.String(), `"error":null`, "the nil error of the sink")
	assert.Contains(t, out.String(), `"error":"the server is currently unable to handle the request`)
}

func TestKlogWritesTheEvents(t *testing.T) {
	var out bytes.Buffer
	klog.LogToStderr(false)
	klog.SetOutput(&out)
	defer klog.LogToStderr(true)
	failNotFound(t.Context(), k8sretry.WithObserver(k8sretry.SlogObserver(slog.New(logr.ToSlogHandler(klog.Background())))), k8sretry.WithLogger(nil))
	klog.Flush()
	assert.Contains(t, out.String(), `"k8s_api_call_failed_non_retryable"`)
}

func TestLevelFiltersInfoLines(t *testing.T) {
	core, written := observer.New(zapcore.DebugLevel)
	logger := zap.New(core)

	quiet := k8sretry.WithLogger(logger.WithOptions(zap.IncreaseLevel(zap.WarnLevel)))

	failNotFound(t.Context(), quiet)
	assert.Zero(t, written.Len())
}

func TestExpectedErrorsAreLoggedAtDebug(t *testing.T) {
	core, written := observer.New(zapcore.DebugLevel)

	policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithExpected(apierrors.IsNotFound))

	failNotFound(t.Context(), policy, k8sretry.WithLogger(zap.New(core)))
	require.Equal(t, 1, written.Len())
	assert.Equal(t, zapcore.DebugLevel, written.All()[0].Level)
}

func TestMultiObserverCallsEachObserver(t *testing.T) {
	metrics, traces := new(k8sretrytest.Recorder), new(k8sretrytest.Recorder)

	both := k8sretry.MultiObserver(metrics, traces)

	failNotFound(t.Context(), k8sretry.WithObserver(both))
	assert.Len(t, metrics.Events(), 1)
	assert.Equal(t, metrics.Events(), traces.Events())
}

// The options in the table at the top of the page.
func TestOptionsInTable(t *testing.T) {
	core, written := observer.New(zapcore.DebugLevel)
	t.Run("zap", func(t *testing.T) {
		from := func(context.Context) *zap.Logger { return zap.New(core) }
		failNotFound(t.Context(), k8sretry.WithContextLogger(from))
		assert.Equal(t, 1, written.Len())
	})
	t.Run("log/slog", func(t *testing.T) {
		var out bytes.Buffer
		from := func(context.Context) *slog.Logger { return slog.New(slog.NewJSONHandler(&out, nil)) }
		failNotFound(t.Context(), k8sretry.WithObserver(k8sretry.ContextSlogObserver(from)), k8sretry.WithLogger(nil))
		assert.Len(t, decode(t, &out), 1)
	})
	t.Run("one logger", func(t *testing.T) {
		logger := zap.New(core)
		failNotFound(t.Context(), k8sretry.WithLogger(logger))
		assert.Equal(t, 2, written.Len())
	})
}
