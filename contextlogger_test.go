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

	"github.com/k8sretry/k8sretry"
)

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
		{"in a policy", reconcile, []k8sretry.Option{k8sretry.NewPolicy(fromContext)}, 1, 0},
		{"overlaid by a preset", reconcile, []k8sretry.Option{fromContext, k8sretry.ForWrite()}, 1, 0},
		{"none in the context", t.Context(), []k8sretry.Option{fromContext}, 0, 1},
		{"not asked for", reconcile, nil, 0, 1},
		{"nil", reconcile, []k8sretry.Option{k8sretry.WithContextLogger(nil)}, 0, 1},
		{"after WithLogger", reconcile, []k8sretry.Option{k8sretry.WithLogger(nil), fromContext}, 1, 0},
		{"before WithLogger", reconcile, []k8sretry.Option{fromContext, k8sretry.WithLogger(nil)}, 0, 0},
		{"a policy of either", reconcile, []k8sretry.Option{k8sretry.NewPolicy(fromContext), k8sretry.NewPolicy(k8sretry.WithLogger(nil))}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			written.TakeAll()
			globally.TakeAll()
			_, err := k8sretry.Do(c.ctx, fails(notFound()).get, c.opts...)
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

// Each event asks anew, and a success at once does not ask.
func TestContextLoggerIsAskedForEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, written := newObserver()
		warned := zap.New(core, zap.IncreaseLevel(zapcore.WarnLevel))
		asked := 0
		from := k8sretry.WithContextLogger(func(context.Context) *zap.Logger { asked++; return warned })
		for _, opt := range []k8sretry.Option{nil, k8sretry.WithObserver(new(recorder))} {
			_, err := k8sretry.Do(t.Context(), fails().get, from, opt)
			require.NoError(t, err)
			assert.Zero(t, asked, "a success at once")
		}
		_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, from)
		require.NoError(t, err)
		assert.Equal(t, []string{"k8s_api_call_failed_retrying"}, messages(written), "its level counts")
		assert.Equal(t, 3, asked, "twice for the line, once for the one that is not wanted")
	})
}

// The requests of a clientset carry the caller's context down to a Transport.
func TestContextLoggerBelowAClientset(t *testing.T) {
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
