// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// cluster answers in memory.
type cluster struct{}

func (cluster) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-0","namespace":"default"},"status":{"phase":"Running"}}`)
	response := w.Result()
	response.Request = req
	return response, nil
}

func TestARequestIsRetriedLoggedAndCounted(t *testing.T) {
	var faults k8sretrytest.Faults
	config := &rest.Config{Host: "http://in.memory", Transport: cluster{}}
	config.Wrap(faults.Transport)
	faults.FailNext(1, "get", "pods", k8sretrytest.ConnectionRefused())
	core, logs := observer.New(zap.InfoLevel)
	registry := prometheus.NewRegistry()
	clientset, err := connect(config, zap.New(core), registry)
	require.NoError(t, err)
	h := handler(clientset, registry)
	get := func(path string) string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		return w.Body.String()
	}

	assert.Equal(t, "Running", get("/phase/default/web-0"))
	assert.NotZero(t, logs.Len())
	assert.Contains(t, get("/metrics"), `k8sretry_attempts_total{function="get pods",verb="get"} 2`)
}
