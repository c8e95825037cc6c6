package k8sretry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

// sick is a server without a network that can be switched off and on.
type sick struct {
	down  atomic.Bool
	sends atomic.Int32
}

func (s *sick) serve(req *http.Request) (*http.Response, error) {
	s.sends.Add(1)
	if s.down.Load() {
		return nil, syscall.ECONNREFUSED
	}
	if req.URL.Query().Has("watch") {
		return answer(req, 200, "application/json", ""), nil
	}
	return answer(req, 200, "application/json", string(mustJSON(settings("a")))), nil
}

// The two ways to a Transport: with its own loop, and as what one attempt of a Do sends.
func eachWay(t *testing.T, run func(t *testing.T, call func(context.Context, kubernetes.Interface) error)) {
	t.Run("the loop of the Transport", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { run(t, get) })
	})
	t.Run("inside a Do", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			run(t, func(ctx context.Context, client kubernetes.Interface) error {
				return k8sretry.Run(ctx, func(ctx context.Context) error { return get(ctx, client) }, k8sretry.ForRead())
			})
		})
	})
}

// While the server is down, calls wait in line and the server sees next to none of them;
// when it is back, all of them get through.
func TestTransportWithALimiter(t *testing.T) {
	eachWay(t, func(t *testing.T, call func(context.Context, kubernetes.Interface) error) {
		var server sick
		gate := k8sretry.NewLimiter()
		client := over(t, server.serve, wrapper(t, k8sretry.ForWrite(), k8sretry.WithLimiter(gate)))
		server.down.Store(true)
		time.AfterFunc(20*time.Second, func() { server.down.Store(false) })

		var all sync.WaitGroup
		var failed atomic.Int32
		for i := range 100 {
			time.Sleep(100 * time.Millisecond)
			all.Go(func() {
				if call(t.Context(), client) != nil {
					failed.Add(1)
				}
			})
			if i == 99 {
				assert.True(t, gate.State().Limited)
				assert.Less(t, server.sends.Load(), int32(15), "one for each rest")
			}
		}
		all.Wait()
		assert.Less(t, failed.Load(), int32(3), "but for those who were asked in between")
		assert.False(t, gate.State().Limited)
		assert.Zero(t, gate.State().InFlight)
	})
}

// Each server has a gate of its own: the trouble of one holds up nobody else.
func TestTransportKeepsServersApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var one, other sick
		gate := k8sretry.NewLimiter()
		wrap := wrapper(t, k8sretry.ForRead(), k8sretry.WithLimiter(gate), k8sretry.WithMaxQueueTime(0))
		a := clientset(t, &rest.Config{Host: "https://one", Transport: roundTripper(one.serve)}, wrap)
		b := clientset(t, &rest.Config{Host: "https://other", Transport: roundTripper(other.serve)}, wrap)
		one.down.Store(true)
		assert.Error(t, get(t.Context(), a))
		assert.True(t, gate.State().Limited)

		err := get(t.Context(), a)
		require.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
		sent := one.sends.Load()
		assert.ErrorIs(t, get(t.Context(), a), k8sretry.ErrQueueTimeout)
		assert.Equal(t, sent, one.sends.Load(), "held back, not sent")
		assert.NoError(t, get(t.Context(), b))
	})
}

// What lives long passes by.
func TestTransportLetsWatchesPassTheLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server sick
		gate := k8sretry.NewLimiter()
		client := over(t, server.serve, wrapper(t, k8sretry.ForRead(), k8sretry.WithLimiter(gate), k8sretry.WithMaxQueueTime(0)))
		server.down.Store(true)
		assert.Error(t, get(t.Context(), client))
		require.ErrorIs(t, get(t.Context(), client), k8sretry.ErrQueueTimeout)
		server.down.Store(false)
		w, err := client.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		w.Stop()
		assert.Zero(t, gate.State().InFlight)
	})
}

// A Do with a gate or a breaker of its own asks that one alone.
func TestDoWithALimiterOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server sick
		below, above := k8sretry.NewLimiter(), k8sretry.NewLimiter()
		client := over(t, server.serve, wrapper(t, k8sretry.ForRead(), k8sretry.WithLimiter(below)))
		server.down.Store(true)
		_ = k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) },
			k8sretry.ForRead(), k8sretry.WithLimiter(above))
		assert.True(t, above.State().Limited)
		assert.False(t, below.State().Limited)
	})
}

// A breaker below a Do: the Do gives up with what the breaker says.
func TestTransportWithABreaker(t *testing.T) {
	eachWay(t, func(t *testing.T, call func(context.Context, kubernetes.Interface) error) {
		var server sick
		breaker := k8sretry.NewBreaker(k8sretry.BreakerConfig{})
		client := over(t, server.serve, wrapper(t, k8sretry.ForRead(), k8sretry.WithBreaker(breaker)))
		server.down.Store(true)
		var err error
		for breaker.State() != k8sretry.BreakerOpen {
			err = call(t.Context(), client)
			require.Error(t, err)
		}
		sent := server.sends.Load()
		err = call(t.Context(), client)
		require.ErrorIs(t, err, k8sretry.ErrBreakerOpen)
		assert.ErrorIs(t, err, syscall.ECONNREFUSED, "what keeps it open")
		var e *k8sretry.Error
		require.True(t, errors.As(err, &e))
		assert.Positive(t, e.RetryAfter)
		assert.Equal(t, sent, server.sends.Load())

		server.down.Store(false)
		time.Sleep(e.RetryAfter)
		for range 10 {
			_ = call(t.Context(), client)
		}
		assert.Equal(t, k8sretry.BreakerClosed, breaker.State())
		assert.NoError(t, call(t.Context(), client))
	})
}

// A Do without a budget spends that of the Transport below.
func TestTransportLendsItsBudget(t *testing.T) {
	eachWay(t, func(t *testing.T, call func(context.Context, kubernetes.Interface) error) {
		var server sick
		budget := k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 2})
		client := over(t, server.serve, wrapper(t, k8sretry.ForRead(), k8sretry.WithBudget(budget)))
		server.down.Store(true)
		assert.ErrorIs(t, call(t.Context(), client), k8sretry.ErrBudgetExhausted)
		assert.EqualValues(t, 3, server.sends.Load())
		server.down.Store(false)
		assert.NoError(t, call(t.Context(), client))
		assert.Positive(t, budget.State().Refused)
	})
}

// Nothing is kept when the request was not let through, or when what is below panics.
func TestTransportGivesBackWhatItGot(t *testing.T) {
	eachWay(t, func(t *testing.T, call func(context.Context, kubernetes.Interface) error) {
		gate := k8sretry.NewLimiter()
		broken := func(*http.Request) (*http.Response, error) { panic("broken") }
		client := over(t, broken, wrapper(t, k8sretry.ForRead(), k8sretry.WithLimiter(gate)))
		assert.Panics(t, func() { _ = call(t.Context(), client) })
		assert.Zero(t, gate.State().InFlight)
	})
	t.Run("the body of what is not sent is closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var server sick
			server.down.Store(true)
			transport := wrapper(t, k8sretry.ForRead(), k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithMaxQueueTime(0))(roundTripper(server.serve))
			send := func(ctx context.Context, body io.ReadCloser) error {
				req, err := http.NewRequestWithContext(ctx, "POST", "https://server/api/v1/namespaces/default/configmaps", nil)
				require.NoError(t, err)
				req.Body = body
				resp, err := transport.RoundTrip(req)
				if resp != nil {
					resp.Body.Close()
				}
				return err
			}
			for range 3 {
				_ = send(t.Context(), http.NoBody)
			}
			body, inside := &closable{}, &closable{}
			require.ErrorIs(t, send(t.Context(), body), k8sretry.ErrQueueTimeout)
			assert.True(t, body.closed)
			_ = k8sretry.Run(t.Context(), func(ctx context.Context) error { return send(ctx, inside) }, k8sretry.WithMaxRetries(0))
			assert.True(t, inside.closed, "inside a Do")
		})
	})
}

type closable struct{ closed bool }

func (*closable) Read([]byte) (int, error) { return 0, io.EOF }
func (c *closable) Close() error           { c.closed = true; return nil }

// A refusal of a write sends nothing, and so leaves no doubt.
func TestHeldBackWritesLeaveNoDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server sick
		server.down.Store(true)
		client := over(t, server.serve, wrapper(t, k8sretry.ForRead(), k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithMaxQueueTime(0)))
		_ = get(t.Context(), client)
		_, err := k8sretry.Create(t.Context(), client.CoreV1().ConfigMaps("default"),
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "b"}}, metav1.CreateOptions{})
		require.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.False(t, apierrors.IsNotFound(err))
	})
}
