// SPDX-License-Identifier: Apache-2.0

package k8sretryprom_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryprom"
)

// gather returns the metrics of a scrape of the Collector.
func gather(t testing.TB, c *k8sretryprom.Collector) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	families, err := registry.Gather()
	require.NoError(t, err)
	return families
}

// values returns the series of the named metrics, one per line, except for those that are
// 0. The value of a histogram is its count and its sum.
func values(t testing.TB, c *k8sretryprom.Collector, names ...string) []string {
	t.Helper()
	lines := []string{}
	for _, family := range gather(t, c) {
		if !slices.Contains(names, strings.TrimPrefix(family.GetName(), "k8sretry_")) {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetValue() != "" {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
			}
			line := fmt.Sprintf("%s{%s} ", strings.TrimPrefix(family.GetName(), "k8sretry_"), strings.Join(labels, ","))
			switch h := m.GetHistogram(); {
			case h != nil && h.GetSampleCount() > 0:
				lines = append(lines, fmt.Sprintf("%s%d calls, %v attempts", line, h.GetSampleCount(), h.GetSampleSum()))
			case m.GetCounter().GetValue()+m.GetGauge().GetValue() != 0:
				lines = append(lines, fmt.Sprint(line, m.GetCounter().GetValue()+m.GetGauge().GetValue()))
			}
		}
	}
	return lines
}

// withCause returns the lines of one cause.
func withCause(lines []string, cause string) (found []string) {
	for _, line := range lines {
		if strings.Contains(line, "cause="+cause) {
			found = append(found, line)
		}
	}
	return found
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// full returns a Collector that has values for all of its metrics.
func full(t testing.TB) *k8sretryprom.Collector {
	c := k8sretryprom.New(
		k8sretryprom.WithBudget("default", k8sretry.NewBudget(k8sretry.BudgetConfig{})),
		k8sretryprom.WithBreaker("default", k8sretry.NewBreaker(k8sretry.BreakerConfig{})),
		k8sretryprom.WithLimiter("default", k8sretry.NewLimiter()),
	)
	success(t, c, "f", k8sretry.VerbGet)
	c.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1, Function: "f", Hedges: 1})
	c.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventRetry, Attempt: 1, Function: "f", Class: k8sretry.ClassServer, StatusCode: 503})
	_, _ = c.CountSends(responses(200)).RoundTrip(request(t))
	return c
}

func success(t testing.TB, c *k8sretryprom.Collector, function string, verb k8sretry.Verb) {
	c.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1, Function: function, Verb: verb})
}

// fakeServer responds with one code per request. The code 0 is a failed connection.
type fakeServer struct {
	codes []int
	idle  int
}

func responses(codes ...int) *fakeServer { return &fakeServer{codes: codes} }

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
