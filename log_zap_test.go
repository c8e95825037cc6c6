package k8sretry_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
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
