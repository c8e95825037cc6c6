package k8sretry_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// The time that a refusal tells is the one after which the breaker lets an attempt through,
// however old the error is that it was opened by, and whatever that asked for.
func TestBreakerTellsWhenToComeBack(t *testing.T) {
	for situation, asked := range map[string]int32{"no wait": 0, "half a minute": 30, "a day": 86400} {
		t.Run("the server asks for "+situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := k8sretry.NewBreaker(k8sretry.BreakerConfig{})
				sick := status(503, "")
				sick.ErrStatus.Details = tooMany(asked).(apierrors.APIStatus).Status().Details
				call := func() error {
					_, err := k8sretry.Do(t.Context(), fails(sick).get, k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))
					return err
				}
				for b.State() != k8sretry.BreakerOpen {
					_ = call()
					time.Sleep(500 * time.Millisecond)
				}
				first := asError(t, call())
				time.Sleep(first.RetryAfter / 2)
				second := asError(t, call())
				assert.Equal(t, first.RetryAfter-first.RetryAfter/2, second.RetryAfter)
				time.Sleep(second.RetryAfter - time.Nanosecond)
				assert.ErrorIs(t, call(), k8sretry.ErrBreakerOpen)
				time.Sleep(time.Nanosecond)
				assert.NotErrorIs(t, call(), k8sretry.ErrBreakerOpen, "it lets an attempt through")
			})
		})
	}
}

// An open time beyond the usual longest one is not cut.
func TestBreakerWithALongOpenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBreaker(k8sretry.BreakerConfig{OpenDuration: 5 * time.Minute})
		call := func() error {
			return k8sretry.Run(t.Context(), func(context.Context) error { return unavailable() }, k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))
		}
		for b.State() != k8sretry.BreakerOpen {
			_ = call()
			time.Sleep(500 * time.Millisecond)
		}
		assert.Greater(t, asError(t, call()).RetryAfter, 4*time.Minute)
	})
}

// Who listens may panic: the place of the probe is given back.
func TestBreakerWhoseListenerPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBreaker(k8sretry.BreakerConfig{MaxOpenDuration: time.Hour})
		sick := func(context.Context) error { return unavailable() }
		for b.State() != k8sretry.BreakerOpen {
			_ = k8sretry.Run(t.Context(), sick, k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		assert.Panics(t, func() {
			_ = k8sretry.Run(t.Context(), sick, k8sretry.WithBreaker(b), k8sretry.WithObserver(observerFunc(func(context.Context, k8sretry.Event) {
				panic("of the listener")
			})))
		})
		assert.Equal(t, k8sretry.BreakerHalfOpen, b.State())
		assert.NoError(t, k8sretry.Run(t.Context(), func(context.Context) error { return nil }, k8sretry.WithBreaker(b)))
		assert.Equal(t, k8sretry.BreakerClosed, b.State())
	})
}

// A lasting error that comes far too late is told of at the level of warnings, though the
// error itself is worth no line there.
func TestLimiterIsToldOfByALogOfWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, written := observer.New(zapcore.WarnLevel)
		defer zap.ReplaceGlobals(zap.New(core))()
		g, name := k8sretry.NewLimiter(), k8sretry.WithName("get pods")
		for range 20 {
			require.NoError(t, one(t.Context(), g, 10*time.Millisecond, nil, name))
		}
		_, err := k8sretry.Do(t.Context(), func(context.Context) (int, error) {
			time.Sleep(20 * time.Second)
			return 0, notFound()
		}, k8sretry.WithLimiter(g), name)
		assert.True(t, apierrors.IsNotFound(err))
		assert.True(t, g.State().Limited)
		assert.Equal(t, []string{"k8s_api_limiter_limiting"}, messages(written))
	})
}

// The lines of a new state say what brought it about, if that was a failure.
func TestNewStatesSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, lines := jsonLogs()
		b, g := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 1}), k8sretry.NewLimiter()
		guards := []k8sretry.Option{k8sretry.WithBreaker(b), k8sretry.WithLimiter(g), logger, k8sretry.WithName("f"), k8sretry.WithMaxRetries(0)}
		for range 10 {
			_, _ = k8sretry.Do(t.Context(), fails(unavailable()).get, guards...)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		for range 3 {
			_, err := k8sretry.Do(t.Context(), fails().get, guards...)
			require.NoError(t, err)
		}
		told := map[any]bool{}
		for _, line := range lines(t) {
			switch event := line["event"]; event {
			case "k8s_api_breaker_open", "k8s_api_limiter_limiting":
				told[event] = true
				assert.Equal(t, "the server said so", line["error"], event)
				assert.Equal(t, 503.0, line["status_code"], event)
				assert.Equal(t, "server", line["class"], event)
			case "k8s_api_breaker_half_open", "k8s_api_breaker_closed", "k8s_api_limiter_open":
				told[event] = true
				assert.NotContains(t, line, "error", event)
			}
		}
		assert.Len(t, told, 5)
	})
}

// A call that never got beyond the gate has no error of the API; its line and its text say
// what there is to say.
func TestWhatTheLimiterHeldBackTells(t *testing.T) {
	for _, c := range []struct {
		event, text string
		opt         k8sretry.Option
		cancel      bool
	}{
		{"k8s_api_call_failed_queue_timeout", "get pods: held back, not sent after 0 attempts", k8sretry.WithMaxQueueTime(time.Second), false},
		{"k8s_api_call_failed_max_elapsed", "get pods: max elapsed time reached after 0 attempts, held back, not sent", k8sretry.WithMaxElapsed(time.Second), false},
		{"k8s_api_call_failed_canceled", "get pods: canceled after 0 attempts, held back, not sent", nil, true},
	} {
		t.Run(c.event, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := busy(t, 10*time.Second)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.cancel {
					time.AfterFunc(time.Second, cancel)
				}
				logger, lines := jsonLogs()
				_, err := k8sretry.Do(ctx, fails().get, k8sretry.WithLimiter(g), logger, k8sretry.WithName("get pods"), c.opt)
				assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
				assert.EqualError(t, err, c.text)
				line := lines(t)[0]
				assert.Equal(t, c.event, line["event"])
				assert.Equal(t, k8sretry.ErrQueueTimeout.Error(), line["error"])
				assert.Equal(t, "not_executed", line["outcome"])
				assert.NotContains(t, line, "status_code")
				time.Sleep(time.Minute)
			})
		})
	}
}

// Below a Do, a Transport with guards of its own tells the same.
func TestNewStatesOfATransportSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen recorder
		client := over(t, func(req *http.Request) (*http.Response, error) {
			return answer(req, 504, "application/json", statusJSON(504, metav1.StatusReasonTimeout, "too late")), nil
		}, wrapper(t, k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithObserver(&seen)))
		err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, k8sretry.WithMaxRetries(0))
		require.Error(t, err)
		e := seen.events[0]
		assert.Equal(t, "k8s_api_limiter_limiting", e.Name())
		assert.Equal(t, k8sretry.ClassTimeout, e.Class)
		assert.Equal(t, 504, e.StatusCode)
		time.Sleep(time.Minute)
	})
}

// A call that only reads is never in doubt, in no line.
func TestNewStatesOfReadsHaveNoDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen recorder
		_, err := k8sretry.Do(t.Context(), fails(gatewayTimeout()).get, k8sretry.ForRead(), k8sretry.WithMaxRetries(0),
			k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithObserver(&seen))
		require.Error(t, err)
		require.Len(t, seen.events, 2)
		assert.Equal(t, k8sretry.EventLimiter, seen.events[0].Kind)
		assert.Equal(t, k8sretry.OutcomeNotExecuted, seen.events[0].Outcome)
		time.Sleep(time.Minute)
	})
}
