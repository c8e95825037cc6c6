package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/k8sretry/k8sretry"
)

func afterGC(t *testing.T, use func(ctx context.Context, closed chan struct{})) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	closed := make(chan struct{})
	require.NoError(t, k8sretry.Run(ctx, func(ctx context.Context) error { use(ctx, closed); return nil }, k8sretry.WithAttemptTimeout(time.Minute)))
	collect()
	cancel()
	select {
	case <-closed:
	case <-time.After(2 * time.Second):
		t.Error("the caller's context has ended and nobody told")
	}
}

func TestAfterFuncAfterGC(t *testing.T) {
	afterGC(t, func(ctx context.Context, closed chan struct{}) { context.AfterFunc(ctx, func() { close(closed) }) })
}
func TestDerivedGoroutineAfterGC(t *testing.T) {
	afterGC(t, func(ctx context.Context, closed chan struct{}) {
		d, stop := context.WithCancel(ctx)
		t.Cleanup(stop)
		go func() { <-d.Done(); close(closed) }()
	})
}
func TestSelectAfterGC(t *testing.T) {
	afterGC(t, func(ctx context.Context, closed chan struct{}) {
		ev := make(chan int)
		go func() {
			for {
				select {
				case <-ev:
				case <-ctx.Done():
					close(closed)
					return
				}
			}
		}()
	})
}

func TestStreamAfterGC(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprint(h2), func(t *testing.T) {
			gone := make(chan struct{})
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				close(gone)
			}))
			server.EnableHTTP2 = h2
			server.StartTLS()
			defer server.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			resp, err := k8sretry.Do(ctx, func(ctx context.Context) (*http.Response, error) {
				req, _ := http.NewRequestWithContext(ctx, "GET", server.URL, nil)
				return server.Client().Do(req)
			}, k8sretry.WithAttemptTimeout(time.Minute))
			require.NoError(t, err)
			body := resp.Body
			resp = nil
			collect()
			cancel()
			select {
			case <-gone:
			case <-time.After(3 * time.Second):
				t.Error("stream lives")
			}
			_ = body.Close()
			server.Client().CloseIdleConnections()
		})
	}
}

func TestCancelIsSeenAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := k8sretry.Run(ctx, func(ctx context.Context) error { cancel(); return ctx.Err() }, k8sretry.WithAttemptTimeout(time.Minute))
	assert.ErrorIs(t, err, context.Canceled)
}

func TestErrIsStable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var first context.Context
		_ = k8sretry.Run(ctx, func(ctx context.Context) error { first = ctx; return notFound() }, k8sretry.WithAttemptTimeout(time.Second))
		before := first.Err()
		time.Sleep(time.Minute)
		assert.Equal(t, before, first.Err())
	})
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

func TestRaceAttemptContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_ = k8sretry.Run(ctx, func(ctx context.Context) error {
				d, c := context.WithTimeout(ctx, time.Millisecond)
				defer c()
				go func() { <-ctx.Done(); _ = ctx.Err(); _, _ = ctx.Deadline(); _ = context.Cause(ctx) }()
				<-d.Done()
				return d.Err()
			}, k8sretry.WithAttemptTimeout(time.Millisecond), k8sretry.WithInitialDelay(0), k8sretry.WithVerb(k8sretry.VerbUpdate))
		})
	}
	wg.Wait()
}

func TestPrintContextRace(t *testing.T) {
	_ = k8sretry.Run(t.Context(), func(ctx context.Context) error {
		for ctx.Err() == nil {
			_ = fmt.Sprintf("%v", ctx)
		}
		return nil
	}, k8sretry.WithAttemptTimeout(5*time.Millisecond))
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
