// SPDX-License-Identifier: Apache-2.0

package seam

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestFaults(t *testing.T) {
	t.Setenv(EnvCounts, filepath.Join(t.TempDir(), "counts"))
	t.Setenv(EnvFaults, "1")
	sent := 0
	next := roundTripper(func(r *http.Request) (*http.Response, error) {
		sent++
		w := httptest.NewRecorder()
		_, _ = io.WriteString(w, "0123456789")
		return w.Result(), nil
	})
	get := func(rt http.RoundTripper, url string) (status int, body string, failed bool) {
		resp, err := rt.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody))
		if err != nil {
			return 0, "", true
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text), err != nil
	}
	status, _, _ := get(RoundTripper(next), "/before")
	assert.Equal(t, http.StatusOK, status, "no faults before Begin")
	Begin()

	kinds := map[string]int{}
	for range 200 {
		sent = 0
		status, body, failed := get(RoundTripper(next), "/api/v1/pods")
		switch {
		case status == 0:
			assert.True(t, failed)
			kinds["reset"]++
		case status == http.StatusOK:
			assert.True(t, failed, "truncated")
			assert.Equal(t, "01234", body)
			assert.Equal(t, 1, sent)
			kinds["truncated"]++
		default:
			assert.False(t, failed)
			assert.Equal(t, status == http.StatusGatewayTimeout, sent == 1)
			kinds[http.StatusText(status)]++
		}
	}
	assert.Len(t, kinds, 5, "%v", kinds)

	sent = 0
	for range 50 {
		_, _, _ = get(RoundTripper(next), "/api/v1/pods?watch=true")
	}
	assert.Zero(t, sent, "the end of a watch is not waited for")
}

func TestTheFaultsOfASeedAreTheSame(t *testing.T) {
	Begin()
	faultsOf := func(seed uint64) string {
		mu.Lock()
		seen = map[string]int{}
		mu.Unlock()
		var names []string
		f := &faulty{share: 0.3, seed: seed}
		for range 30 {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/y", http.NoBody)
			require.NoError(t, err)
			kind, _ := f.pick(r)
			names = append(names, kind.name)
		}
		return strings.Join(names, ",")
	}
	assert.Equal(t, faultsOf(7), faultsOf(7))
	assert.NotEqual(t, faultsOf(7), faultsOf(8))
}
