package k8sretry_test

import (
	"context"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// fixed is a server without a network that always answers with the same object.
func fixed() roundTripper {
	body := string(mustJSON(settings("a")))
	return func(req *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"application/json"}},
			Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
		}, nil
	}
}

// A healthy call through a Transport costs at most twelve allocations, alone and in a Do.
// Half of them are those of httptrace.WithClientTrace on top of the hooks of client-go.
func TestAllocationsOfATransport(t *testing.T) {
	// client-go and net/http keep their buffers in pools, which a garbage collection
	// empties: what is refilled is not the call's.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	least := func(call func()) float64 {
		n := testing.AllocsPerRun(100, call)
		for range 4 {
			n = min(n, testing.AllocsPerRun(100, call))
		}
		return n
	}
	count := func(wrappers ...func(http.RoundTripper) http.RoundTripper) (bare, done float64) {
		client := over(t, fixed(), wrappers...)
		ctx := t.Context()
		one := func(ctx context.Context) error { return get(ctx, client) }
		bare = least(func() { _ = one(ctx) })
		done = least(func() { _ = k8sretry.Run(ctx, one) })
		return bare, done
	}
	bare, done := count()
	with, withDone := count(wrapper(t, k8sretry.ForRead()))
	assert.LessOrEqual(t, with, bare+12)
	assert.LessOrEqual(t, withDone, done+12)
	t.Log("allocations of a Get:", bare, "through a Transport:", with, "and in a Do:", withDone)
}

// The body of a success is handed on as it is: nothing is spent per byte.
func TestSuccessesAreNotTouched(t *testing.T) {
	body := io.NopCloser(strings.NewReader("x"))
	for _, code := range []int{200, 201, 204, 206, 304} {
		transport := wrapper(t)(roundTripper(func(req *http.Request) (*http.Response, error) {
			resp := answer(req, code, "application/json", "", "Retry-After", "1")
			resp.Body = body
			return resp, nil
		}))
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://server/api/v1/pods", nil)
		assert.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		assert.NoError(t, err)
		assert.Equal(t, body, resp.Body)
		assert.Equal(t, "1", resp.Header.Get("Retry-After"))
	}
}

func BenchmarkGet(b *testing.B) {
	for _, c := range []struct {
		name     string
		wrappers []func(http.RoundTripper) http.RoundTripper
	}{
		{"plain", nil},
		{"Transport", []func(http.RoundTripper) http.RoundTripper{k8sretry.Transport(k8sretry.ForRead())}},
	} {
		b.Run(c.name, func(b *testing.B) {
			maps := over(b, fixed(), c.wrappers...).CoreV1().ConfigMaps("default")
			b.ReportAllocs()
			for b.Loop() {
				_, _ = maps.Get(b.Context(), "a", metav1.GetOptions{})
			}
		})
	}
	// The Transport without the client, to see its own share.
	b.Run("RoundTrip", func(b *testing.B) {
		resp := &http.Response{StatusCode: 200}
		next := roundTripper(func(*http.Request) (*http.Response, error) { return resp, nil })
		transport := k8sretry.Transport(k8sretry.ForRead())(next)
		req, _ := http.NewRequestWithContext(b.Context(), "GET", "https://server/api/v1/namespaces/default/configmaps/a", nil)
		b.ReportAllocs()
		for b.Loop() {
			_, _ = transport.RoundTrip(req)
		}
	})
	k8sretry.ForgetTransports()
}
