// SPDX-License-Identifier: Apache-2.0

package k8sretryprom_test

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryprom"
)

func TestSendsAreCountedBelowATransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := k8sretryprom.New()
		rt := k8sretry.Transport(k8sretry.WithObserver(c), k8sretry.WithLogger(nil))(c.CountSends(responses(503, 429, 200)))

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

func TestMethodsAndCodesAreLimited(t *testing.T) {
	c := k8sretryprom.New()
	rt := c.CountSends(responses(0, 777, 200))
	for _, method := range []string{http.MethodPost, "BREW", ""} {
		req := request(t)
		req.Method = method
		_, _ = rt.RoundTrip(req)
	}
	assert.Equal(t, []string{
		"sends_total{code=200,method=GET} 1", "sends_total{code=none,method=POST} 1", "sends_total{code=other,method=other} 1",
	}, values(t, c, "sends_total"))
}

func TestCountSendsForwardsToNext(t *testing.T) {
	server := responses(200)
	rt := k8sretryprom.New().CountSends(server)
	utilnet.CloseIdleConnectionsFor(rt)
	assert.Equal(t, 1, server.idle)
	assert.Same(t, server, rt.(utilnet.RoundTripperWrapper).WrappedRoundTripper())

	var none *k8sretryprom.Collector
	_, err := none.CountSends(server).RoundTrip(request(t))
	assert.NoError(t, err)
	assert.Equal(t, http.DefaultTransport, none.CountSends(nil).(utilnet.RoundTripperWrapper).WrappedRoundTripper())
}
