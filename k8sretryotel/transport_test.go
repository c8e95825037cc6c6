package k8sretryotel_test

import (
	"context"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/k8sretry/k8sretry"
)

// get sends a GET for a pod through what wraps the way to a server that is overloaded once.
func get(ctx context.Context, t testing.TB, wrap func(http.RoundTripper) http.RoundTripper) {
	t.Helper()
	codes := []int{http.StatusServiceUnavailable, http.StatusOK}
	next := roundTripper(func(req *http.Request) (*http.Response, error) {
		code := codes[0]
		codes = codes[1:]
		return &http.Response{StatusCode: code, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://10.0.0.1/api/v1/namespaces/default/pods/web-0", nil)
	require.NoError(t, err)
	resp, err := wrap(next).RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// An instrumented RoundTripper below a Transport has a span for each send, above it one
// for the call: of two that wrap a config, the later is above.
func TestSpansOfSends(t *testing.T) {
	for name, c := range map[string]struct {
		order func(cfg *rest.Config, instrumented, retries transport.WrapperFunc)
		want  []string
	}{
		"below": {func(cfg *rest.Config, instrumented, retries transport.WrapperFunc) {
			cfg.Wrap(instrumented)
			cfg.Wrap(retries)
		}, []string{"503", "200"}},
		"above": {func(cfg *rest.Config, instrumented, retries transport.WrapperFunc) {
			cfg.Wrap(retries)
			cfg.Wrap(instrumented)
		}, []string{"200"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSDK(t, sdktrace.AlwaysSample())
				instrumented := func(next http.RoundTripper) http.RoundTripper {
					return roundTripper(func(req *http.Request) (*http.Response, error) {
						_, span := s.tracer.Start(req.Context(), "GET")
						defer span.End()
						resp, err := next.RoundTrip(req)
						if err == nil {
							span.SetName(strconv.Itoa(resp.StatusCode))
						}
						return resp, err
					})
				}
				caller := s.inSpan(t, func(ctx context.Context) {
					get(ctx, t, func(server http.RoundTripper) http.RoundTripper {
						cfg := &rest.Config{Transport: server}
						c.order(cfg, instrumented, k8sretry.Transport(k8sretry.WithObserver(s.Observer)))
						rt, err := rest.TransportFor(cfg)
						require.NoError(t, err)
						return rt
					})
				})
				var sends []string
				for _, span := range s.spans.GetSpans() {
					if span.Name != "reconcile" {
						sends = append(sends, span.Name)
						assert.Equal(t, caller.SpanContext.SpanID(), span.Parent.SpanID())
					}
				}
				assert.Equal(t, c.want, sends)
				assert.Len(t, s.measured(t), 4, "one call with one retry")
			})
		})
	}
}
