// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	ctrlzap "sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// lines returns a logger and the lines that it has written.
func lines(verbosity int) (logr.Logger, *[]string) {
	var written []string
	return funcr.New(func(prefix, args string) { written = append(written, strings.TrimSpace(prefix+" "+args)) }, funcr.Options{Verbosity: verbosity}), &written
}

// giveUp makes a call of a client that fails twice and gives up.
func giveUp(ctx context.Context, opts ...k8sretry.Option) error {
	f := &faults{err: unknownOutcome, fail: 1000}
	c := k8sretryctrl.NewClient(f.in(cluster()), append(opts, k8sretry.WithMaxRetries(1))...)
	return c.Get(ctx, key("x"), &corev1.ConfigMap{})
}

func TestEventsAreLoggedToTheLoggerOfTheContext(t *testing.T) {
	inVirtualTime(t, "a call that is retried and gives up", func(t *testing.T) {
		logger, written := lines(0)
		ctx := log.IntoContext(t.Context(), logger.WithName("reconciler").WithValues("namespace", "default"))
		require.Error(t, giveUp(ctx))
		require.Len(t, *written, 2)
		for i, parts := range [][]string{
			{`reconciler`, `"level"=0`, `"msg"="k8s_api_call_failed_retrying"`, `"namespace"="default"`, `"function"="get configmaps"`, `"attempt"=1`, `"error"="the server was unable`},
			{`reconciler`, `"msg"="k8s_api_call_failed_max_retries"`, `"namespace"="default"`, `"error"="the server was unable`, `"status_code"=504`},
		} {
			for _, part := range parts {
				assert.Contains(t, (*written)[i], part)
			}
		}
		assert.NotContains(t, (*written)[1], `"level"`, "an error")
		assert.Equal(t, 1, strings.Count((*written)[1], `"error"=`))
	})
	inVirtualTime(t, "a logger without verbosity writes errors", func(t *testing.T) {
		logger, written := lines(-1)
		require.Error(t, giveUp(log.IntoContext(t.Context(), logger)))
		require.Len(t, *written, 1)
		assert.Contains(t, (*written)[0], "k8s_api_call_failed_max_retries")
	})
	inVirtualTime(t, "a success at once writes nothing", func(t *testing.T) {
		logger, written := lines(10)
		require.NoError(t, k8sretryctrl.NewClient(cluster()).Get(log.IntoContext(t.Context(), logger), key("x"), &corev1.ConfigMap{}))
		assert.Empty(t, *written)
	})
	inVirtualTime(t, "Modify, too", func(t *testing.T) {
		logger, written := lines(0)
		f := &faults{only: "Update", err: notExecuted, fail: 1}
		var c client.Client = f.in(cluster())
		require.NoError(t, k8sretryctrl.Modify(log.IntoContext(t.Context(), logger), c, configMap("x"), plusOne))
		require.Len(t, *written, 2)
		assert.Contains(t, (*written)[0], `"function"="modify configmaps"`)
	})
	inVirtualTime(t, "the caller's logger takes precedence", func(t *testing.T) {
		logger, written := lines(0)
		core, seen := observer.New(zap.DebugLevel)
		require.Error(t, giveUp(log.IntoContext(t.Context(), logger), k8sretry.WithLogger(zap.New(core))))
		assert.Equal(t, 2, seen.Len())
		assert.Empty(t, *written)
		require.Error(t, giveUp(log.IntoContext(t.Context(), logger), k8sretry.WithLogger(nil)))
		assert.Empty(t, *written)
	})
}

// The logger of a manager adds a location to each line, and a stack to that of a call that gives up.
func TestLinesOfTheLoggerOfTheContextAreLocatedAtTheCaller(t *testing.T) {
	for situation, call := range map[string]func(context.Context) error{
		"a method of the client": func(ctx context.Context) error { return giveUp(ctx) },
		"Modify": func(ctx context.Context) error {
			f := &faults{err: unknownOutcome, fail: 1000}
			return k8sretryctrl.Modify(ctx, f.in(cluster()), configMap("x"), plusOne, k8sretry.WithMaxRetries(1))
		},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			var out bytes.Buffer
			logger := ctrlzap.New(ctrlzap.WriteTo(&out), ctrlzap.JSONEncoder(), ctrlzap.RawZapOpts(zap.AddCaller()))
			require.Error(t, call(log.IntoContext(t.Context(), logger)))
			written := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
			require.Len(t, written, 2)
			for _, text := range written {
				var line map[string]any
				require.NoError(t, json.Unmarshal(text, &line))
				assert.Contains(t, line["caller"], "k8sretryctrl/log_test.go:")
				if line["level"] == "error" {
					assert.Regexp(t, `^github.com/k8sretry/k8sretry/k8sretryctrl_test\.`, line["stacktrace"])
				}
			}
		})
	}
}

// The logger of log.SetLogger cannot be unset, so each situation is a process of its own.
func TestACallThatGivesUpIsSeenWithoutSetUp(t *testing.T) {
	const variable = "K8SRETRYCTRL_LOG_TEST"
	if situation := os.Getenv(variable); situation != "" {
		var text bytes.Buffer
		slog.SetDefault(slog.New(slog.NewTextHandler(&text, nil)))
		logger, written := lines(0)
		core, seen := observer.New(zap.DebugLevel)
		switch situation {
		case "log.SetLogger":
			log.SetLogger(logger)
		case "a logger that discards":
			log.SetLogger(logr.Discard())
		case "zap.ReplaceGlobals":
			zap.ReplaceGlobals(zap.New(core))
		}
		inVirtualTime(t, situation, func(t *testing.T) { require.Error(t, giveUp(t.Context())) })
		switch situation {
		case "log.SetLogger":
			assert.Len(t, *written, 2)
			assert.Empty(t, text.String())
		case "zap.ReplaceGlobals":
			assert.Equal(t, 2, seen.Len())
			assert.Empty(t, text.String())
		default:
			assert.Equal(t, 1, strings.Count(text.String(), "\n"), "the end of the call, but no retry")
			assert.Contains(t, text.String(), "level=ERROR msg=k8s_api_call_failed_max_retries")
		}
		return
	}
	program, err := os.Executable()
	require.NoError(t, err)
	for _, situation := range []string{"no set-up", "log.SetLogger", "a logger that discards", "zap.ReplaceGlobals"} {
		t.Run(situation, func(t *testing.T) {
			command := exec.Command(program, "-test.run=^"+strings.SplitN(t.Name(), "/", 2)[0]+"$")
			command.Env = append(os.Environ(), variable+"="+situation)
			out, err := command.CombinedOutput()
			assert.NoError(t, err, "%s", out)
		})
	}
}
