// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/k8sretry/k8sretry"
)

const strayNote = "the request was not made with the context that the function was given"

// A closure that uses the context of the code around it made 16 requests over a Transport, four
// for each attempt.
func TestAnotherContextOverATransport(t *testing.T) {
	get := func(ctx context.Context, client kubernetes.Interface) error { return get(ctx, client) }
	create := func(ctx context.Context, client kubernetes.Interface) error {
		_, err := client.CoreV1().ConfigMaps("default").Create(ctx, configMap("a"), metav1.CreateOptions{})
		return err
	}
	unavailable := func(req *http.Request) (*http.Response, error) {
		return answer(req, 503, "application/json", statusJSON(503, metav1.StatusReasonServiceUnavailable, "not now")), nil
	}
	for situation, c := range map[string]struct {
		server roundTripper
		call   func(context.Context, kubernetes.Interface) error
		verb   k8sretry.Verb
		sends  int
		is     func(error) bool
	}{
		"a server that is not available": {unavailable, get, k8sretry.VerbGet, 4, apierrors.IsServiceUnavailable},
		"a lost connection": {func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, get, k8sretry.VerbGet, 4, func(err error) bool {
			return errors.Is(err, io.ErrUnexpectedEOF)
		}},
		"a throttling server": {func(req *http.Request) (*http.Response, error) {
			return answer(req, 429, "text/plain", "slow down", "Retry-After", "7"), nil
		}, get, k8sretry.VerbGet, 4, apierrors.IsTooManyRequests},
		"a create": {unavailable, create, k8sretry.VerbCreate, 1, apierrors.IsServiceUnavailable},
		"no answer": {func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}, get, k8sretry.VerbGet, 4, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
	} {
		for other, ctx := range map[string]func(context.Context) context.Context{
			"the caller's":       func(ctx context.Context) context.Context { return ctx },
			"context.Background": func(context.Context) context.Context { return context.Background() },
		} {
			t.Run(situation+", "+other, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sends := 0
					client := over(t, func(req *http.Request) (*http.Response, error) { sends++; return c.server(req) }, wrapper(t, k8sretry.WithLogger(nil)))
					logger, lines := jsonLogs()
					err := k8sretry.Run(t.Context(), func(context.Context) error { return c.call(ctx(t.Context()), client) }, logger, k8sretry.WithVerb(c.verb))
					assert.Equal(t, c.sends, sends)
					require.ErrorContains(t, err, strayNote)
					assert.True(t, c.is(err), "%v", err)
					require.Len(t, lines(t), c.sends)
					for _, line := range lines(t) {
						assert.Contains(t, line["error"], strayNote)
					}
				})
			})
		}
	}
}

// The context of the attempt, or no attempt: there is nothing to report.
func TestNoOtherContextOverATransport(t *testing.T) {
	type call = func(ctx context.Context, client kubernetes.Interface) error
	var unavailable roundTripper = func(req *http.Request) (*http.Response, error) {
		return answer(req, 503, "application/json", statusJSON(503, metav1.StatusReasonServiceUnavailable, "not now")), nil
	}
	for situation, c := range map[string]struct {
		call  call
		sends int
	}{
		"no Do": {func(ctx context.Context, client kubernetes.Interface) error { return get(ctx, client) }, 4},
		"a Do": {func(ctx context.Context, client kubernetes.Interface) error {
			return k8sretry.Run(ctx, func(ctx context.Context) error { return get(ctx, client) })
		}, 4},
		"a Do with a timeout for a part": {func(ctx context.Context, client kubernetes.Interface) error {
			return k8sretry.Run(ctx, func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				return get(ctx, client)
			})
		}, 4},
		"a Do with a request that is to outlive it": {func(ctx context.Context, client kubernetes.Interface) error {
			return k8sretry.Run(ctx, func(ctx context.Context) error { return get(context.WithoutCancel(ctx), client) })
		}, 4},
		"a wrapped method": {func(ctx context.Context, client kubernetes.Interface) error {
			_, err := k8sretry.Wrap2(client.CoreV1().ConfigMaps("default").Get)(ctx, "a", metav1.GetOptions{})
			return err
		}, 4},
		"a safe write": {func(ctx context.Context, client kubernetes.Interface) error {
			_, err := k8sretry.Create(ctx, client.CoreV1().ConfigMaps("default"), configMap("a"), metav1.CreateOptions{})
			return err
		}, 8},
		"another goroutine": {func(ctx context.Context, client kubernetes.Interface) error {
			return k8sretry.Run(ctx, func(ctx context.Context) error {
				done := make(chan error)
				go func() { done <- get(ctx, client) }()
				return <-done
			})
		}, 4},
		"discovery": {func(ctx context.Context, client kubernetes.Interface) error {
			return k8sretry.Run(ctx, func(context.Context) error { _, err := client.Discovery().ServerVersion(); return err }, k8sretry.WithMaxRetries(0))
		}, 4},
		"an observer": {func(ctx context.Context, client kubernetes.Interface) error {
			_ = k8sretry.Run(ctx, func(context.Context) error { return notFound() }, k8sretry.WithObserver(observerFunc(func(ctx context.Context, _ k8sretry.Event) {
				_ = get(ctx, client)
			})))
			return get(ctx, client)
		}, 8},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sends := 0
				client := over(t, func(req *http.Request) (*http.Response, error) { sends++; return unavailable(req) }, wrapper(t, k8sretry.WithLogger(nil)))
				err := c.call(t.Context(), client)
				require.Error(t, err)
				assert.NotContains(t, err.Error(), strayNote)
				if situation != "a safe write" {
					assert.Equal(t, c.sends, sends)
				}
			})
		})
	}
	t.Run("a Transport that is made in the function", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for _, opt := range []k8sretry.Option{nil, k8sretry.WithAttemptTimeout(time.Minute)} {
				k8sretry.ForgetTransports()
				err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
					return get(ctx, over(t, unavailable, wrapper(t, k8sretry.WithLogger(nil))))
				}, k8sretry.WithMaxRetries(0), opt)
				require.Error(t, err)
				assert.NotContains(t, err.Error(), strayNote)
			}
		})
	})
}

// Without a Transport only a call with a verb that writes knows of its requests.
func TestAnotherContextWithoutATransport(t *testing.T) {
	server := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, _ int) { reset(w) })
	client := clientset(t, server.config())
	remove := func(ctx context.Context) error {
		return client.CoreV1().ConfigMaps("default").Delete(ctx, "a", metav1.DeleteOptions{})
	}
	lost := &url.Error{Op: "Delete", URL: "https://server/api", Err: &net.OpError{Op: "read", Err: io.EOF}}
	dialed := &url.Error{Op: "Delete", URL: "https://server/api", Err: &net.OpError{Op: "dial", Addr: new(net.TCPAddr), Source: new(net.TCPAddr), Err: io.EOF}}
	exec := &url.Error{Op: "Post", URL: "https://server/api/v1/namespaces/a/pods/b/exec?command=ls", Err: &net.OpError{Op: "read", Addr: new(net.TCPAddr), Source: new(net.TCPAddr), Err: io.EOF}}
	for situation, c := range map[string]struct {
		call  func(outer, inner context.Context) error
		noted bool
	}{
		"the context of the caller":         {func(outer, _ context.Context) error { return remove(outer) }, true},
		"the context of the attempt":        {func(_, inner context.Context) error { return remove(inner) }, false},
		"an error of a fake":                {func(context.Context, context.Context) error { return lost }, false},
		"an answer of a fake":               {func(context.Context, context.Context) error { return unavailable() }, false},
		"a connection that was not made":    {func(context.Context, context.Context) error { return dialed }, false},
		"a stream that dials by itself":     {func(context.Context, context.Context) error { return exec }, false},
		"an error of the caller's function": {func(context.Context, context.Context) error { return errPlain }, false},
		"a fake clientset": {func(outer, _ context.Context) error {
			return fake.NewClientset(&corev1.Pod{}).CoreV1().Pods("a").Delete(outer, "b", metav1.DeleteOptions{})
		}, false},
	} {
		t.Run(situation, func(t *testing.T) {
			logger, lines := jsonLogs()
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return c.call(t.Context(), ctx) },
				quickly, logger, k8sretry.WithVerb(k8sretry.VerbDelete), k8sretry.WithMaxRetries(1))
			require.Error(t, err)
			for _, text := range []any{err.Error(), lines(t)[0]["error"]} {
				if c.noted {
					assert.Contains(t, text, strayNote)
				} else {
					assert.NotContains(t, text, strayNote)
				}
			}
		})
	}
}
