package k8sretry_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/k8sretry/k8sretry"
)

func TestTraceHooksOnce(t *testing.T) {
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	server.Config.ErrorLog = quiet
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { n.Add(1) }})
	attempts := 0
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		attempts++
		return post(ctx, client, server.URL, "application/json")
	}, k8sretry.WithVerb(k8sretry.VerbUpdate), k8sretry.WithInitialDelay(0))
	assert.EqualValues(t, attempts, n.Load())
}

func TestNestedJoinsLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		_ = k8sretry.Run(t.Context(), func(ctx context.Context) error {
			n++
			errs := k8sretry.Run(ctx, func(context.Context) error { return unavailable() }, k8sretry.WithMaxRetries(0))
			for range 7 {
				errs = errors.Join(errs, unavailable())
			}
			return errs
		})
		assert.Equal(t, 1, n, "inner gave up")
	})
}

type wideLoop struct{ n int }

func (*wideLoop) Error() string { return "wide" }
func (w *wideLoop) Unwrap() []error {
	all := make([]error, w.n)
	for i := range all {
		all[i] = w
	}
	return all
}

func TestWideCycle(t *testing.T) {
	logger, _ := logs()
	done := make(chan struct{})
	go func() {
		_ = k8sretry.Run(context.Background(), func(context.Context) error { return &wideLoop{12} }, logger)
		close(done)
	}()
	start := time.Now()
	<-done
	assert.Less(t, time.Since(start), time.Second)
}

func TestTypedNilErrors(t *testing.T) {
	for name, err := range nils() {
		t.Run("observer "+name, func(t *testing.T) {
			assert.NotPanics(t, func() {
				_ = k8sretry.Run(t.Context(), func(context.Context) error { return err }, k8sretry.WithObserver(new(recorder)))
			})
		})
		t.Run("logger "+name, func(t *testing.T) {
			assert.NotPanics(t, func() {
				core, _ := observer.New(zap.DebugLevel)
				_ = k8sretry.Run(t.Context(), func(context.Context) error { return err }, k8sretry.WithLogger(zap.New(core)))
			})
		})
		t.Run("cancelled "+name, func(t *testing.T) {
			assert.NotPanics(t, func() {
				ctx, cancel := context.WithCancel(t.Context())
				err := k8sretry.Run(ctx, func(context.Context) error { cancel(); return err })
				_ = err.Error()
			})
		})
	}
}

func TestPointerExponential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fails(tooMany(7), gatewayTimeout())
		_, _ = k8sretry.Do(t.Context(), s.get, k8sretry.WithBackoff(&k8sretry.Exponential{Initial: 2 * time.Second, Jitter: k8sretry.JitterNone}))
		assert.Equal(t, seconds(7, 2), s.waits())
	})
}

type wrapVal struct{ error }

func TestUncomparable(t *testing.T) {
	agg := utilerrors.NewAggregate([]error{errNo})
	ctx, cancel := context.WithCancelCause(t.Context())
	assert.NotPanics(t, func() {
		_ = k8sretry.Run(ctx, func(context.Context) error { cancel(wrapVal{agg}); return wrapVal{agg} })
	})
	ctx2, cancel2 := context.WithCancelCause(t.Context())
	assert.NotPanics(t, func() {
		err := k8sretry.Run(ctx2, func(context.Context) error { cancel2(wrapVal{agg}); return errNo })
		_ = err.Error()
		_ = errors.Is(err, context.Canceled)
	})
}

func TestOutcomeInLastEvent(t *testing.T) {
	var seen recorder
	// plain-text AlreadyExists: Classify says unknown
	err := apierrors.NewGenericServerResponse(409, "post", podResource, "web-0", "no JSON", 0, true)
	v := k8sretry.Classify(err)
	require.Equal(t, k8sretry.OutcomeUnknown, v.Outcome)
	got := k8sretry.Run(t.Context(), func(context.Context) error { return err }, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithObserver(&seen))
	assert.Equal(t, k8sretry.OutcomeUnknown, seen.last(t).Outcome)
	assert.ErrorIs(t, got, k8sretry.ErrOutcomeUnknown)
	seen.events = nil
	got = k8sretry.Run(t.Context(), func(context.Context) error { return &url.Error{Op: "Post", URL: "x", Err: context.Canceled} }, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithObserver(&seen))
	assert.Equal(t, k8sretry.OutcomeUnknown, seen.last(t).Outcome)
	assert.ErrorIs(t, got, k8sretry.ErrOutcomeUnknown, "a create cancelled in flight by somebody else")
}

func TestReadInsideIsNoDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(500*time.Millisecond, cancel)
		err := k8sretry.Run(ctx, func(ctx context.Context) error {
			return k8sretry.Run(ctx, func(context.Context) error { return unavailable() }, k8sretry.WithVerb(k8sretry.VerbGet))
		})
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
	})
}

func TestRetryAfterOfLastError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err := k8sretry.Run(ctx, func(ctx context.Context) error {
			if n++; n == 1 {
				return tooMany(7)
			}
			cancel()
			return ctx.Err()
		})
		assert.True(t, apierrors.IsTooManyRequests(err))
		assert.Equal(t, 7*time.Second, asError(t, err).RetryAfter)
	})
}

func TestErrorTypeInAggregate(t *testing.T) {
	logger, lines := jsonLogs()
	_ = k8sretry.Run(t.Context(), func(context.Context) error { return aggregate(unavailable()) }, logger, k8sretry.WithMaxRetries(0))
	assert.Equal(t, "*errors.StatusError", lines(t)[0]["error_type"])
	assert.Equal(t, 503.0, lines(t)[0]["status_code"])
}

func TestMaxDelayAndDisruption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fails(budgetSpent())
		_, _ = k8sretry.Do(t.Context(), s.get, k8sretry.WithMaxDelay(time.Second), exact)
		assert.LessOrEqual(t, s.waits()[0], time.Second)
	})
}

func TestH2CreateSentIsUnknown(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	server.Config.ErrorLog = quiet
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for range 3 {
		attempts := 0
		err := k8sretry.Run(t.Context(), func(ctx context.Context) error { attempts++; return post(ctx, server.Client(), server.URL, "a/b") }, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithInitialDelay(0))
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, 1, attempts)
	}
}

func TestUncomparable2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agg := utilerrors.NewAggregate([]error{errNo})
		ctx, cancel := context.WithCancelCause(t.Context())
		n := 0
		assert.NotPanics(t, func() {
			_ = k8sretry.Run(ctx, func(context.Context) error {
				if n++; n == 1 {
					return unavailable()
				}
				cancel(wrapVal{agg})
				return wrapVal{agg}
			})
		})
	})
}

func TestLoopWithLogger(t *testing.T) {
	logger, _ := logs()
	done := make(chan struct{})
	go func() {
		_ = k8sretry.Run(context.Background(), func(context.Context) error { return &loop{} }, logger)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		t.Error("hangs")
	}
}

func TestTraceRace(t *testing.T) {
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GetConn: func(string) {}})
	var wg sync.WaitGroup
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		wg.Go(func() {
			for range 1000 {
				httptrace.ContextClientTrace(ctx).GetConn("late dial of this attempt")
			}
		})
		return tooMany(0)
	}, k8sretry.WithVerb(k8sretry.VerbUpdate), k8sretry.WithInitialDelay(0))
	wg.Wait()
}
