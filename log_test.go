// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

func TestDefaultLoggerIsTheGlobalOne(t *testing.T) {
	for _, way := range ways {
		_, err := way.call(t.Context(), fails(notFound()).get, nil) // silent
		require.Error(t, err)

		core, written := newObserver()
		restore := zap.ReplaceGlobals(zap.New(core))
		_, err = way.call(t.Context(), fails(notFound()).get, nil)
		require.Error(t, err)
		assert.Equal(t, []string{"k8s_api_call_failed_non_retryable"}, messages(written), "%s: looked up for each event", way.name)

		_, err = way.call(t.Context(), fails(notFound()).get, []k8sretry.Option{k8sretry.WithLogger(nil)})
		require.Error(t, err)
		assert.Len(t, written.All(), 1, "%s: nil silences", way.name)
		restore()
	}
}

// The level is checked before fields are built.
func TestLevelIsCheckedFirst(t *testing.T) {
	core, written := newObserver()
	logger := zap.New(core, zap.IncreaseLevel(zapcore.WarnLevel))
	asked := false
	_, err := k8sretry.Do(t.Context(), fails(textProbe{status(404, metav1.StatusReasonNotFound), &asked}).get, k8sretry.WithLogger(logger))
	require.Error(t, err)
	assert.False(t, asked)
	assert.Empty(t, written.All(), "the way to drop the lines of permanent errors")

	synctest.Test(t, func(t *testing.T) {
		for name, opt := range map[string]k8sretry.Option{"without an observer": nil, "with an observer": k8sretry.WithObserver(new(silentObserver))} {
			_, err = k8sretry.Do(t.Context(), fails(unavailable()).get, k8sretry.WithLogger(logger), opt)
			require.NoError(t, err)
			assert.Len(t, written.TakeAll(), 1, "%s: the retry, not the success", name)
		}
	})
}

type loggerKey struct{}

// loggerOf finds the logger that a service keeps in its contexts.
func loggerOf(ctx context.Context) *zap.Logger {
	l, _ := ctx.Value(loggerKey{}).(*zap.Logger)
	return l
}

func TestContextLogger(t *testing.T) {
	core, written := newObserver()
	global, globally := newObserver()
	defer zap.ReplaceGlobals(zap.New(global))()
	reconcile := context.WithValue(t.Context(), loggerKey{}, zap.New(core).With(zap.String("reconcileID", "7f3a")))
	fromContext := k8sretry.WithContextLogger(loggerOf)

	for _, c := range []struct {
		name            string
		ctx             context.Context
		opts            []k8sretry.Option
		context, global int // lines of a NotFound at once
	}{
		{"a logger in the context", reconcile, []k8sretry.Option{fromContext}, 1, 0},
		{"before a preset", reconcile, []k8sretry.Option{fromContext, k8sretry.ForWrite()}, 1, 0},
		{"none in the context", t.Context(), []k8sretry.Option{fromContext}, 0, 1},
		{"no WithContextLogger", reconcile, nil, 0, 1},
		{"nil", reconcile, []k8sretry.Option{k8sretry.WithContextLogger(nil)}, 0, 1},
		{"after WithLogger", reconcile, []k8sretry.Option{k8sretry.WithLogger(nil), fromContext}, 1, 0},
		{"before WithLogger", reconcile, []k8sretry.Option{fromContext, k8sretry.WithLogger(nil)}, 0, 0},
		{"a Policy of each", reconcile, []k8sretry.Option{k8sretry.NewPolicy(fromContext), k8sretry.NewPolicy(k8sretry.WithLogger(nil))}, 0, 0},
	} {
		for _, way := range ways {
			t.Run(c.name+", "+way.name, func(t *testing.T) {
				written.TakeAll()
				globally.TakeAll()
				_, err := way.call(c.ctx, fails(notFound()).get, c.opts)
				require.Error(t, err)
				lines := written.TakeAll()
				assert.Len(t, lines, c.context)
				for _, line := range lines {
					assert.Equal(t, "k8s_api_call_failed_non_retryable", line.Message)
					assert.Equal(t, "7f3a", line.ContextMap()["reconcileID"])
				}
				assert.Len(t, globally.TakeAll(), c.global)
			})
		}
	}
}

// The logger is looked up at most twice for each event, and not for a success at once.
func TestContextLoggerIsLookedUpForEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, written := newObserver()
		warnings := zap.New(core, zap.IncreaseLevel(zapcore.WarnLevel))
		asked := 0
		from := k8sretry.WithContextLogger(func(context.Context) *zap.Logger { asked++; return warnings })
		for _, opt := range []k8sretry.Option{nil, k8sretry.WithObserver(new(recorder))} {
			_, err := k8sretry.Do(t.Context(), fails().get, from, opt)
			require.NoError(t, err)
			assert.Zero(t, asked, "a success at once")
		}
		_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, from)
		require.NoError(t, err)
		assert.Equal(t, []string{"k8s_api_call_failed_retrying"}, messages(written), "its level counts")
		assert.Equal(t, 3, asked, "twice for the line, once for the one that is not written")
	})
}

// The requests of a clientset carry the caller's context to a Transport.
func TestContextLoggerOfATransport(t *testing.T) {
	core, written := newObserver()
	missing := roundTripper(func(req *http.Request) (*http.Response, error) {
		return answer(req, http.StatusNotFound, "text/plain", "404 page not found"), nil
	})
	transport := wrapper(t, k8sretry.WithContextLogger(loggerOf))(missing)
	ctx := context.WithValue(t.Context(), loggerKey{}, zap.New(core))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://10.0.0.1/api/v1/namespaces/default/pods/web-0", nil)
	require.NoError(t, err)
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, []string{"k8s_api_call_failed_non_retryable"}, messages(written))
}

// asZap makes a handler write as the zap logger of jsonLogs does.
func asZap(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case slog.TimeKey:
		return slog.Attr{}
	case slog.MessageKey:
		a.Key = "event"
	case slog.LevelKey:
		a.Value = slog.StringValue(strings.ToLower(a.Value.String()))
	}
	return a
}

// jsonSlog returns an Observer that writes JSON, and what it has written.
func jsonSlog() (k8sretry.Observer, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return k8sretry.SlogObserver(slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{ReplaceAttr: asZap}))), out
}

// Both loggers write the same events with the same fields, types, values and levels.
func TestSlogWritesWhatZapWrites(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		fails  []error
		opts   []k8sretry.Option
		queued bool // behind another call
	}{
		"retries and a success": {fails: []error{tooMany(7), badGateway()}},
		"max retries":           {fails: times(4, unavailable())},
		"non-retryable":         {fails: []error{notFound()}},
		"a long text":           {fails: []error{status(400, metav1.StatusReason(strings.Repeat("<p>", 1000)))}},
		"no answer":             {fails: []error{errPlain}},
		"Retry-After too long":  {fails: []error{tooMany(999)}},
		"outcome unknown":       {fails: []error{gatewayTimeout()}, opts: []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate)}},
		"max elapsed":           {fails: []error{tooMany(9)}, opts: []k8sretry.Option{k8sretry.WithMaxElapsed(time.Second)}},
		"canceled":              {ctx: canceled},
		"a Breaker that opens": {fails: times(3, unavailable()), opts: []k8sretry.Option{
			k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 2})), k8sretry.WithInitialDelay(time.Minute), k8sretry.WithMaxDelay(time.Minute),
		}},
		"a Limiter that limits": {fails: []error{noConnection()}, opts: []k8sretry.Option{k8sretry.WithLimiter(k8sretry.NewLimiter())}},
		"a queue timeout":       {queued: true, fails: []error{noConnection()}, opts: []k8sretry.Option{k8sretry.WithMaxQueueTime(time.Second)}},
		"a success at once":     {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, lines := jsonLogs()
				observer, out := jsonSlog()
				if c.ctx == nil {
					c.ctx = t.Context()
				}
				if c.queued {
					c.opts = append(c.opts, k8sretry.WithLimiter(busy(t, time.Minute)))
				}
				_, _ = k8sretry.Do(c.ctx, fails(c.fails...).get, append(c.opts, logger, k8sretry.WithObserver(observer), k8sretry.WithName("f"))...)
				testkit.Sleep(time.Hour) // the other call ends
				want := lines(t)
				assert.Equal(t, want, decodeLines(t, out.String()))
				assert.Equal(t, name == "a success at once", len(want) == 0)
			})
		})
	}
}

// handler is a slog.Handler that records its calls.
type handler struct {
	slog.Handler
	least   slog.Level
	asked   []slog.Level
	handled []string
	ctx     context.Context
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool {
	h.asked = append(h.asked, l)
	return l >= h.least
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.ctx, h.handled = ctx, append(h.handled, r.Message)
	return nil
}

func TestSlogObserver(t *testing.T) {
	t.Run("the level is checked before fields are built", func(t *testing.T) {
		h, asked := &handler{least: slog.LevelWarn}, false
		_, err := k8sretry.Do(t.Context(), fails(textProbe{status(404, metav1.StatusReasonNotFound), &asked}).get,
			k8sretry.WithObserver(k8sretry.SlogObserver(slog.New(h))))
		require.True(t, apierrors.IsNotFound(err))
		assert.Equal(t, []slog.Level{slog.LevelInfo}, h.asked)
		assert.False(t, asked)
		assert.Empty(t, h.handled)
	})
	t.Run("the handler gets the caller's context", func(t *testing.T) {
		h := new(handler)
		ctx := context.WithValue(t.Context(), loggerKey{}, "span")
		_, err := k8sretry.Do(ctx, fails(notFound()).get, k8sretry.WithObserver(k8sretry.SlogObserver(slog.New(h))))
		require.Error(t, err)
		assert.Equal(t, "span", h.ctx.Value(loggerKey{}))
	})
	t.Run("nil writes nothing", func(t *testing.T) {
		h := new(handler)
		defer slog.SetDefault(slog.Default())
		slog.SetDefault(slog.New(h))
		_, err := k8sretry.Do(t.Context(), fails(notFound()).get, k8sretry.WithObserver(k8sretry.SlogObserver(nil)))
		require.Error(t, err)
		assert.Empty(t, h.handled)
	})
	t.Run("WithLogger(nil) keeps an event from being logged twice", func(t *testing.T) {
		core, written := newObserver()
		defer zap.ReplaceGlobals(zap.New(core))()
		h := new(handler)
		policy := k8sretry.NewPolicy(k8sretry.WithObserver(k8sretry.SlogObserver(slog.New(h))), k8sretry.WithLogger(nil))
		_, err := k8sretry.Do(t.Context(), fails(notFound()).get, policy)
		require.Error(t, err)
		assert.Equal(t, []string{"k8s_api_call_failed_non_retryable"}, h.handled)
		assert.Empty(t, written.All())
	})
	t.Run("an event without a name is not logged", func(t *testing.T) {
		h := new(handler)
		k8sretry.SlogObserver(slog.New(h)).Observe(t.Context(), k8sretry.Event{Kind: 99})
		k8sretry.SlogObserver(slog.New(h)).Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1})
		assert.Empty(t, h.asked)
	})
}

func TestContextSlogObserver(t *testing.T) {
	reconcile, global := new(handler), new(handler)
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(global))
	ctx := context.WithValue(t.Context(), loggerKey{}, slog.New(reconcile))
	from := func(ctx context.Context) *slog.Logger {
		l, _ := ctx.Value(loggerKey{}).(*slog.Logger)
		return l
	}
	for _, c := range []struct {
		name              string
		ctx               context.Context
		from              func(context.Context) *slog.Logger
		context, globally int
	}{
		{"a logger in the context", ctx, from, 1, 0},
		{"none", t.Context(), from, 0, 1},
		{"nil", ctx, nil, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			reconcile.handled, global.handled = nil, nil
			_, err := k8sretry.Do(c.ctx, fails(notFound()).get, k8sretry.WithObserver(k8sretry.ContextSlogObserver(c.from)))
			require.Error(t, err)
			assert.Len(t, reconcile.handled, c.context)
			assert.Len(t, global.handled, c.globally)
		})
	}
}

// A Get that looks whether an object exists is an everyday call.
func TestExpectedErrors(t *testing.T) {
	for _, c := range []struct {
		situation string
		fails     []error
		opts      []k8sretry.Option
		level     zapcore.Level
		expected  bool
	}{
		{"an expected error", []error{notFound()}, nil, zapcore.DebugLevel, true},
		{"an expected error after a retry", []error{unavailable(), notFound()}, []k8sretry.Option{k8sretry.ForRead()}, zapcore.DebugLevel, true},
		{"another permanent error", []error{forbidden("web-0")}, nil, zapcore.InfoLevel, false},
		{"retries that are used up", []error{unavailable()}, []k8sretry.Option{k8sretry.WithMaxRetries(0)}, zapcore.ErrorLevel, false},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, written := newObserver()
				var seen recorder
				asked := 0
				expected := k8sretry.WithExpected(func(err error) bool { asked++; return apierrors.IsNotFound(err) || apierrors.IsServiceUnavailable(err) })
				_, err := k8sretry.Do(t.Context(), fails(c.fails...).get, append(c.opts, expected, k8sretry.WithLogger(zap.New(core)), k8sretry.WithObserver(&seen))...)
				require.Error(t, err)
				last := seen.events[len(seen.events)-1]
				assert.Equal(t, k8sretry.EventFailure, last.Kind)
				assert.Equal(t, c.expected, last.Expected)
				assert.Equal(t, c.level, written.All()[len(written.All())-1].Level)
				assert.LessOrEqual(t, asked, 1)
			})
		})
	}
	t.Run("the line is not written above debug", func(t *testing.T) {
		core, written := newObserver()
		logger := zap.New(core, zap.IncreaseLevel(zapcore.InfoLevel))
		_, err := k8sretry.Do(t.Context(), fails(notFound()).get, k8sretry.WithExpected(apierrors.IsNotFound), k8sretry.WithLogger(logger))
		assert.True(t, apierrors.IsNotFound(err))
		assert.Empty(t, written.All())
	})
}

// The assumption was that the function that writes a line is the one that a reader looks for.
func TestLinesAreLocatedAtTheCaller(t *testing.T) {
	ways := map[string]func(ctx context.Context, opts ...k8sretry.Option){
		"Do": func(ctx context.Context, opts ...k8sretry.Option) {
			_, _ = k8sretry.Do(ctx, fails(unavailable()).get, opts...)
		},
		"Run": func(ctx context.Context, opts ...k8sretry.Option) {
			_ = k8sretry.Run(ctx, func(context.Context) error { return notFound() }, opts...)
		},
		"a permanent error": func(ctx context.Context, opts ...k8sretry.Option) {
			_, _ = k8sretry.Do(ctx, fails(notFound()).get, opts...)
		},
		"a safe write": func(ctx context.Context, opts ...k8sretry.Option) {
			_, _ = k8sretry.Modify(ctx, fake.NewClientset().CoreV1().Pods("default"), "web-0", func(*corev1.Pod) error { return nil }, opts...)
		},
		"a client on a Transport": func(ctx context.Context, opts ...k8sretry.Option) {
			cfg := &rest.Config{Host: "http://in.memory", Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
				return answer(req, http.StatusNotFound, "text/plain", "404 page not found"), nil
			})}
			cfg.Wrap(wrapper(t, opts...))
			_, _ = kubernetes.NewForConfigOrDie(cfg).CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
		},
	}
	for name, call := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, written := newObserver()
				call(t.Context(), k8sretry.WithLogger(zap.New(core, zap.AddCaller(), zap.AddStacktrace(zap.DebugLevel))))
				for _, entry := range written.All() {
					assert.Contains(t, entry.Caller.File, "log_test.go")
					assert.Regexp(t, `^github.com/k8sretry/k8sretry_test\.TestLinesAreLocatedAtTheCaller`, entry.Stack)
				}
				assert.NotEmpty(t, written.All())

				var out bytes.Buffer
				observer := k8sretry.SlogObserver(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{AddSource: true})))
				call(t.Context(), k8sretry.WithLogger(nil), k8sretry.WithObserver(observer))
				assert.Contains(t, out.String(), "log_test.go:")
			})
		})
	}
	t.Run("without a location in the logger", func(t *testing.T) {
		core, written := newObserver()
		_, err := k8sretry.Do(t.Context(), fails(notFound()).get, k8sretry.WithLogger(zap.New(core)))
		require.Error(t, err)
		assert.False(t, written.All()[0].Caller.Defined)
		assert.Empty(t, written.All()[0].Stack)
	})
}
