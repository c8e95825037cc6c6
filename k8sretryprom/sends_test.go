package k8sretryprom_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryprom"
)

// fakeServer answers with the codes, one each; 0 is a connection that fails.
type fakeServer struct {
	codes []int
	idle  int
}

func answers(codes ...int) *fakeServer { return &fakeServer{codes: codes} }

func (s *fakeServer) CloseIdleConnections() { s.idle++ }

func (s *fakeServer) RoundTrip(req *http.Request) (*http.Response, error) {
	code := s.codes[0]
	s.codes = s.codes[1:]
	if code == 0 {
		return nil, errors.New("connection reset by peer")
	}
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
}

func request(t testing.TB) *http.Request {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://server/api/v1/namespaces/default/pods/web-0", nil)
	require.NoError(t, err)
	return req
}

// One call, three sends: below the Transport both are seen.
func TestSendsBelowATransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := k8sretryprom.New()
		rt := k8sretry.Transport(k8sretry.WithObserver(c), k8sretry.WithLogger(nil))(c.CountSends(answers(503, 429, 200)))

		resp, err := rt.RoundTrip(request(t))

		require.NoError(t, err)
		assert.Equal(t, 200, resp.StatusCode)
		assert.Equal(t, []string{
			"attempts_total{function=get pods,verb=get} 3",
			"calls_total{function=get pods,result=succeeded_after_retry,verb=get} 1",
			"sends_total{code=200,method=GET} 1",
			"sends_total{code=429,method=GET} 1",
			"sends_total{code=503,method=GET} 1",
		}, values(t, c, "attempts_total", "calls_total", "sends_total"))
	})
}

func TestSendsOfAnyKind(t *testing.T) {
	c := k8sretryprom.New()
	rt := c.CountSends(answers(0, 777, 200))
	for _, method := range []string{http.MethodPost, "BREW", ""} {
		req := request(t)
		req.Method = method
		_, _ = rt.RoundTrip(req)
	}
	assert.Equal(t, []string{
		"sends_total{code=200,method=GET} 1", "sends_total{code=none,method=POST} 1", "sends_total{code=other,method=other} 1",
	}, values(t, c, "sends_total"))
}

// client-go reaches through wrappers for the transport at the bottom.
func TestSendsPassOn(t *testing.T) {
	server := answers(200)
	rt := k8sretryprom.New().CountSends(server)
	utilnet.CloseIdleConnectionsFor(rt)
	assert.Equal(t, 1, server.idle)
	assert.Same(t, server, rt.(utilnet.RoundTripperWrapper).WrappedRoundTripper())

	var none *k8sretryprom.Collector
	_, err := none.CountSends(server).RoundTrip(request(t))
	assert.NoError(t, err)
	assert.Equal(t, http.DefaultTransport, none.CountSends(nil).(utilnet.RoundTripperWrapper).WrappedRoundTripper())
}
