// SPDX-License-Identifier: Apache-2.0

package faultproxy_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
)

func TestVerbOfARequest(t *testing.T) {
	tests := []struct{ method, target, verb string }{
		{"GET", "/api/v1/namespaces/a/pods/b", "get"},
		{"GET", "/api/v1/namespaces/a/pods/b/status", "get"},
		{"GET", "/api/v1/namespaces/a/pods", "list"},
		{"GET", "/api/v1/pods", "list"},
		{"GET", "/api/v1/namespaces", "list"},
		{"GET", "/api/v1/namespaces/a", "get"},
		{"GET", "/apis/apps/v1/namespaces/a/deployments?watch=true", "watch"},
		{"GET", "/apis/apps/v1/deployments", "list"},
		{"GET", "/apis/example.com/v1/things/x", "get"},
		{"GET", "/readyz", "get"},
		{"POST", "/api/v1/namespaces/a/pods", "create"},
		{"PUT", "/api/v1/namespaces/a/pods/b", "update"},
		{"PATCH", "/api/v1/namespaces/a/pods/b", "patch"},
		{"DELETE", "/api/v1/namespaces/a/pods/b", "delete"},
		{"DELETE", "/api/v1/namespaces/a/pods", "deletecollection"},
	}
	for _, test := range tests {
		assert.Equal(t, test.verb, faultproxy.Verb(httptest.NewRequest(test.method, test.target, nil)), "%s %s", test.method, test.target)
	}
}

func TestRulesReturnTheirFaults(t *testing.T) {
	a, b, none := faultproxy.Close(), faultproxy.Answer(503), faultproxy.Fault{}
	get, create := httptest.NewRequest("GET", "/api/v1/pods", nil), httptest.NewRequest("POST", "/api/v1/pods", nil)
	apply := func(rule faultproxy.Rule, requests ...*http.Request) (got []faultproxy.Fault) {
		for _, r := range requests {
			got = append(got, rule(r))
		}
		return got
	}
	assert.Equal(t, []faultproxy.Fault{a, b, a, none}, apply(faultproxy.Next(3, a, b), get, get, get, get))
	assert.Equal(t, []faultproxy.Fault{none, a, none}, apply(faultproxy.When(faultproxy.Verbs("create"), faultproxy.Next(1, a)), get, create, create))
	assert.Equal(t, []faultproxy.Fault{a, b, b}, apply(faultproxy.First(faultproxy.Next(1, a), faultproxy.Always(b)), get, get, get))
	assert.Equal(t, []faultproxy.Fault{a}, apply(faultproxy.When(faultproxy.Path("/pods"), faultproxy.Always(a)), get))
}

func TestShareDependsOnTheSeed(t *testing.T) {
	const requests = 10_000
	draw := func(seed uint64) (n int, faults []faultproxy.Fault) {
		rule := faultproxy.Share(0.2, seed, faultproxy.LostAnswers()...)
		for i := range requests {
			f := rule(httptest.NewRequest("POST", "/api/v1/namespaces/a/configmaps/"+strconv.Itoa(i), nil))
			faults = append(faults, f)
			if f != (faultproxy.Fault{}) {
				n++
			}
		}
		return n, faults
	}
	n, first := draw(1)
	assert.InDelta(t, 0.2*requests, n, 0.06*requests)
	_, again := draw(1)
	assert.Equal(t, first, again, "the same seed gives the same faults")
	_, other := draw(2)
	assert.NotEqual(t, first, other)
	assert.Zero(t, faultproxy.Share(0, 1, faultproxy.Close())(httptest.NewRequest("GET", "/", nil)))
	assert.Equal(t, faultproxy.Close(), faultproxy.Share(1, 1, faultproxy.Close())(httptest.NewRequest("GET", "/", nil)))
}

func TestIsolatedFaultsOverHTTP2ResetStreams(t *testing.T) {
	names := func(faults []faultproxy.Fault) (names []string) {
		for _, f := range faults {
			names = append(names, f.String())
		}
		return names
	}
	s := newServer(t, nil)
	http1 := faultproxy.Start(t, s.URL, s.ca(), faultproxy.Options{HTTP1: true})
	assert.Equal(t, faultproxy.LostAnswers(), http1.Isolated(faultproxy.LostAnswers()))
	http2 := faultproxy.Start(t, s.URL, s.ca(), faultproxy.Options{})
	assert.Equal(t, []string{
		"reset-stream INTERNAL_ERROR after commit", "reset-stream CANCEL after commit",
		"truncate after commit", "504 after commit", "hang after commit",
	}, names(http2.Isolated(faultproxy.LostAnswers())))
	assert.Equal(t, "close after commit", faultproxy.LostAnswers()[0].String(), "the argument is not modified")
}
