// SPDX-License-Identifier: Apache-2.0

//lint:file-ignore SA1019 What client-go uses, and the errors that it returns.

package faultproxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers every request with its method, path and body, and counts requests.
type server struct {
	*httptest.Server
	served atomic.Int64
}

func (s *server) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func newServer(t *testing.T, handler http.HandlerFunc) *server {
	s := &server{}
	if handler == nil {
		handler = func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			s.served.Add(1)
			w.Header().Set("Retry-After", "7")
			_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), body)
		}
	}
	s.Server = httptest.NewTLSServer(handler)
	t.Cleanup(s.Close)
	return s
}

// setup returns a server, a proxy and a client for one protocol.
func setup(t *testing.T, http1 bool, handler http.HandlerFunc) (*server, *faultproxy.Proxy, *http.Client) {
	s := newServer(t, handler)
	p := faultproxy.Start(t, s.URL, s.ca(), faultproxy.Options{HTTP1: http1})
	return s, p, newClient(t, p)
}

func newClient(t *testing.T, p *faultproxy.Proxy) *http.Client {
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(p.CA()))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	_, err := http2.ConfigureTransports(transport) // as client-go does
	require.NoError(t, err)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: faultproxy.TagCalls(transport)}
}

func post(ctx context.Context, c *http.Client, url, body string) (*http.Response, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	resp, err := c.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp, string(got), err
}

func protocols(t *testing.T, test func(t *testing.T, http1 bool)) {
	t.Run("http2", func(t *testing.T) { test(t, false) })
	t.Run("http1", func(t *testing.T) { test(t, true) })
}

func TestRequestsAreForwardedUnchanged(t *testing.T) {
	protocols(t, func(t *testing.T, http1 bool) {
		s, p, client := setup(t, http1, nil)
		big := strings.Repeat("x", 300<<10)
		ctx := faultproxy.WithCall(t.Context(), "a")
		for range 3 {
			resp, body, err := post(ctx, client, p.URL()+"/path%2Fescaped?q=1", big)
			require.NoError(t, err)
			assert.Equal(t, 200, resp.StatusCode)
			assert.Equal(t, "7", resp.Header.Get("Retry-After"))
			assert.Equal(t, "POST /path%2Fescaped?q=1 "+big, body)
			assert.Equal(t, !http1, resp.ProtoMajor == 2)
		}
		assert.EqualValues(t, 3, s.served.Load())
		assert.Equal(t, 1, p.Conns(), "the connection is reused")
		sends := p.Sends()
		require.Len(t, sends, 3)
		assert.Equal(t, faultproxy.Send{
			Call: "a", Method: "POST", Path: "/path/escaped", Query: "q=1", Proto: proto(http1), Nth: 2, Fault: "pass", Status: 200,
		}, sends[2])
		p.ClearSends()
		assert.Empty(t, p.Sends())
	})
}

func proto(http1 bool) string {
	if http1 {
		return "HTTP/1.1"
	}
	return "HTTP/2.0"
}

func TestAnswerReplacesTheServer(t *testing.T) {
	protocols(t, func(t *testing.T, http1 bool) {
		s, p, client := setup(t, http1, nil)
		date := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
		for _, value := range []string{"1", "0", "-1", date, ""} {
			for _, status := range []int{429, 503, 504} {
				p.SetRule(faultproxy.Always(faultproxy.Answer(status).RetryAfter(value)))
				resp, body, err := post(t.Context(), client, p.URL(), "")
				require.NoError(t, err)
				assert.Equal(t, status, resp.StatusCode)
				assert.Equal(t, value, resp.Header.Get("Retry-After"))
				assert.Equal(t, http.StatusText(status)+"\n", body)
			}
		}
		p.SetRule(faultproxy.Always(faultproxy.Answer(502).HTML()))
		resp, body, err := post(t.Context(), client, p.URL(), "")
		require.NoError(t, err)
		assert.Equal(t, "text/html", resp.Header.Get("Content-Type"))
		assert.Contains(t, body, "<title>502 Bad Gateway</title>")
		assert.Zero(t, s.served.Load(), "the request was not forwarded")
	})
}

// Each fault gives the client its error, before or after the server has carried out the
// request.
func TestFaultsBeforeAndAfterCommit(t *testing.T) {
	isEOF := func(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
	// A socket reports its reset once. If a write of the client got it, the read gets EOF.
	isReset := func(err error) bool { return errors.Is(err, syscall.ECONNRESET) || isEOF(err) }
	isCut := func(err error) bool {
		var stream http2.StreamError
		return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &stream) && stream.Code == http2.ErrCodeInternal
	}
	isTimeout := func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }
	isGone := func(err error) bool {
		var gone http2.GoAwayError
		return errors.As(err, &gone) && gone.ErrCode == http2.ErrCodeEnhanceYourCalm || isEOF(err)
	}
	isStream := func(err error) bool {
		var stream http2.StreamError
		return errors.As(err, &stream) && stream.Code == http2.ErrCodeCancel || isEOF(err)
	}
	tests := []struct {
		fault faultproxy.Fault
		is    func(error) bool
		done  bool
	}{
		{faultproxy.Close(), isEOF, false},
		{faultproxy.Close().AfterCommit(), isEOF, true},
		{faultproxy.Reset(), isReset, false},
		{faultproxy.Reset().AfterCommit(), isReset, true},
		{faultproxy.Truncate(), isCut, true},
		{faultproxy.Hang(), isTimeout, false},
		{faultproxy.Hang().AfterCommit(), isTimeout, true},
		{faultproxy.ResetStream(http2.ErrCodeCancel), isStream, false},
		{faultproxy.ResetStream(http2.ErrCodeCancel).AfterCommit(), isStream, true},
		{faultproxy.GoAway(http2.ErrCodeEnhanceYourCalm).AfterCommit(), isGone, true},
	}
	for _, test := range tests {
		t.Run(test.fault.String(), func(t *testing.T) {
			protocols(t, func(t *testing.T, http1 bool) {
				s, p, client := setup(t, http1, nil)
				p.SetRule(faultproxy.Next(1, test.fault))
				limit := 20 * time.Second
				if strings.HasPrefix(test.fault.String(), "hang") {
					limit = 300 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				_, _, err := post(ctx, client, p.URL(), "body")
				require.Error(t, err)
				assert.True(t, test.is(err), "%v (%T)", err, errors.Unwrap(err))
				assert.Eventually(t, func() bool {
					sends := p.Sends()
					return len(sends) == 1 && sends[0].Fault == test.fault.String() && sends[0].Committed() == test.done
				}, 5*time.Second, time.Millisecond)
				assert.Equal(t, test.done, s.served.Load() == 1)

				_, _, err = post(t.Context(), client, p.URL(), "body")
				assert.NoError(t, err, "the next request is not affected")
			})
		})
	}
}

func TestAnswerAfterCommit(t *testing.T) {
	s, p, client := setup(t, false, nil)
	p.SetRule(faultproxy.Next(1, faultproxy.Answer(504).AfterCommit()))
	resp, _, err := post(t.Context(), client, p.URL(), "")
	require.NoError(t, err)
	assert.Equal(t, 504, resp.StatusCode)
	assert.Empty(t, resp.Header.Get("Retry-After"), "the header of the server's answer is discarded")
	assert.EqualValues(t, 1, s.served.Load())
}

// net/http repeats requests that an HTTP/2 server reports as unprocessed.
func TestUnprocessedRequestsAreRepeated(t *testing.T) {
	for _, fault := range []faultproxy.Fault{
		faultproxy.ResetStream(http2.ErrCodeRefusedStream),
		faultproxy.GoAway(http2.ErrCodeNo),
	} {
		t.Run(fault.String(), func(t *testing.T) {
			s, p, client := setup(t, false, nil)
			p.SetRule(faultproxy.Next(1, fault))
			_, body, err := post(t.Context(), client, p.URL(), "body")
			require.NoError(t, err)
			assert.Equal(t, "POST / body", body)
			assert.EqualValues(t, 1, s.served.Load())
			assert.Len(t, p.Sends(), 2)
		})
	}
}

func TestDrainMakesTheClientReconnect(t *testing.T) {
	protocols(t, func(t *testing.T, http1 bool) {
		s, p, client := setup(t, http1, nil)
		p.SetRule(faultproxy.Next(2, faultproxy.Drain()))
		for range 4 {
			_, _, err := post(t.Context(), client, p.URL(), "body")
			require.NoError(t, err)
		}
		assert.EqualValues(t, 4, s.served.Load())
		assert.Equal(t, 3, p.Conns())
	})
}

// With concurrent requests and all kinds of faults on shared connections, a request that is
// reported as unprocessed has never reached the server.
func TestUnprocessedRequestsNeverReachTheServer(t *testing.T) {
	protocols(t, func(t *testing.T, http1 bool) {
		var mu sync.Mutex
		served := map[string]int{}
		_, p, client := setup(t, http1, func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			served[r.URL.Path]++
		})
		p.SetRule(faultproxy.Share(0.4, 7,
			faultproxy.ResetStream(http2.ErrCodeRefusedStream), faultproxy.GoAway(http2.ErrCodeNo), faultproxy.Drain(),
			faultproxy.Answer(429), faultproxy.Close(), faultproxy.Reset(), faultproxy.Close().AfterCommit(),
			faultproxy.GoAway(http2.ErrCodeNo).AfterCommit(), faultproxy.Truncate()))
		const calls = 400
		var ok atomic.Int64
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := range calls / 8 {
					path := fmt.Sprintf("/%d-%d", worker, i)
					resp, _, err := post(t.Context(), client, p.URL()+path, "body")
					mu.Lock()
					n := served[path]
					mu.Unlock()
					if err == nil && resp.StatusCode == 200 {
						ok.Add(1)
						assert.Equal(t, 1, n, path)
					}
					assert.LessOrEqual(t, n, 1, path)
				}
			})
		}
		wg.Wait()
		// A broken HTTP/2 connection also fails other requests.
		assert.Greater(t, ok.Load(), int64(calls/10))
		assert.Less(t, ok.Load(), int64(calls))
	})
}
