package k8sretryotel_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// get sends a GET for a pod through a transport to a server that is overloaded once.
func get(ctx context.Context, t testing.TB, transport func(http.RoundTripper) http.RoundTripper) {
	t.Helper()
	codes := []int{http.StatusServiceUnavailable, http.StatusOK}
	next := roundTripper(func(req *http.Request) (*http.Response, error) {
		code := codes[0]
		codes = codes[1:]
		return &http.Response{StatusCode: code, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://10.0.0.1/api/v1/namespaces/default/pods/web-0", nil)
	require.NoError(t, err)
	resp, err := transport(next).RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
