package k8sretry_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

// dead is a loopback address without a listener.
func dead(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// silent discards the error log of a test server.
func silent(s *httptest.Server) *httptest.Server {
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	return s
}

// client is a typed client of core/v1 whose server is h.
func client(t *testing.T, h http.HandlerFunc, change ...func(*rest.Config)) typedcorev1.PodInterface {
	t.Helper()
	s := silent(httptest.NewUnstartedServer(h))
	s.Start()
	t.Cleanup(s.Close)
	cfg := &rest.Config{Host: s.URL, QPS: -1}
	for _, c := range change {
		c(cfg)
	}
	cs, err := typedcorev1.NewForConfig(cfg)
	require.NoError(t, err)
	return cs.Pods("a")
}

func create(ctx context.Context, c typedcorev1.PodInterface) error {
	_, err := c.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0"}}, metav1.CreateOptions{})
	return err
}

func reply(code int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// hijack takes over the connection of a request.
func hijack(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	return c, rw
}

func TestErrorsOfATypedClient(t *testing.T) {
	ctx := context.Background()
	status := func(s string) string { return `{"kind":"Status","apiVersion":"v1","status":"Failure",` + s + `}` }
	reset := func(w http.ResponseWriter, _ *http.Request) {
		c, _ := hijack(w)
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	closed := func(w http.ResponseWriter, _ *http.Request) {
		c, _ := hijack(w)
		_ = c.Close()
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		c, rw := hijack(w)
		_, _ = rw.WriteString("HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"kind\"")
		_ = rw.Flush()
		_ = c.Close()
	}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		class   k8sretry.Class
		outcome k8sretry.Outcome
		code    int
		network bool
	}{
		{"status", reply(409, "application/json", status(`"code":409,"reason":"AlreadyExists"`)), permanent, never, 409, false},
		{"status that contradicts the code of the response", reply(500, "application/json", status(`"code":404,"reason":"NotFound"`)), permanent, never, 404, false},
		{"status with 200", reply(200, "application/json", status(`"code":500,"message":"etcdserver: request timed out"`)), server, maybe, 500, false},
		{"409 in text", reply(409, "text/plain", "conflict"), permanent, maybe, 409, false},
		{"503 in text", reply(503, "text/plain", "service unavailable\n"), server, never, 503, false},
		{"404 in text", http.NotFound, blocked, never, 404, false},
		{"404 in HTML", reply(404, "text/html", "<html>"), permanent, never, 404, false},
		{"502 in JSON without a kind", reply(502, "application/json", `{"error":"x"}`), server, maybe, 502, false},
		{"created, but the response is HTML", reply(201, "application/json", "<html>"), unusable, did, 0, false},
		{"created, but the response is empty", reply(201, "application/json", ""), unusable, did, 0, false},
		{"created, but the response is of another kind", reply(201, "application/json", `{"kind":"Web","apiVersion":"example.com/v1"}`), unusable, did, 0, false},
		{"created, but a field has another type", reply(201, "application/json", `{"kind":"Pod","apiVersion":"v1","spec":"x"}`), unusable, did, 0, false},
		{"created, but the response is of an unknown type", reply(201, "text/html", "<html>"), server, maybe, 0, false},
		{"content type malformed", reply(201, "a/b/c", "x"), server, maybe, 500, false},
		{"closed before the response", closed, connection, maybe, 0, true},
		{"reset before the response", reset, connection, maybe, 0, true},
		{"response truncated", cut, connection, maybe, 0, true},
		{"response is no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			c, rw := hijack(w)
			_, _ = rw.WriteString("\x15\x03\x01\x00\x02\x02\x16")
			_ = rw.Flush()
			_ = c.Close()
		}, permanent, never, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := create(ctx, client(t, c.handler))
			require.Error(t, err)
			v := k8sretry.Classify(err)
			assert.Equal(t, c.class, v.Class, "%T %v: %v", err, err, v)
			assert.Equal(t, c.outcome, v.Outcome, "%T %v: %v", err, err, v)
			assert.Equal(t, c.code, v.StatusCode, "%v: %v", err, v)
			assert.Equal(t, c.network, k8sretry.IsRetryableConnectionError(err), "%v", err)
		})
	}
}

func TestErrorsOfADynamicClient(t *testing.T) {
	for name, body := range map[string]string{"HTML": "<html>", "truncated": `{"kind":"Pod"`, "no kind": `{}`, "empty": ""} {
		s := silent(httptest.NewServer(reply(200, "application/json", body)))
		c, err := dynamic.NewForConfig(&rest.Config{Host: s.URL})
		require.NoError(t, err)
		_, err = c.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace("a").Get(context.Background(), "web-0", metav1.GetOptions{})
		s.Close()
		require.Error(t, err, name)
		v := k8sretry.Classify(err)
		assert.Equal(t, unusable, v.Class, "%s: %T %v: %v", name, err, err, v)
		assert.Equal(t, did, v.Outcome, "%s: %v", name, v)
	}
}

func TestTimeoutsOfAClient(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	headers := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	short := func(c *rest.Config) { c.Timeout = 20 * time.Millisecond }
	for name, h := range map[string]http.HandlerFunc{"before the response": hang, "in the response": headers} {
		err := create(context.Background(), client(t, h, short))
		v := k8sretry.Classify(err)
		assert.Equal(t, timeout, v.Class, "%s: %v: %v", name, err, v)
		assert.Equal(t, maybe, v.Outcome, name)
		assert.True(t, k8sretry.IsRetryableConnectionError(err), name)

		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(20*time.Millisecond, cancel)
		err = create(ctx, client(t, h))
		v = k8sretry.Classify(err)
		assert.Equal(t, canceled, v.Class, "%s: %v: %v", name, err, v)
		assert.Equal(t, maybe, v.Outcome, name)
		assert.False(t, k8sretry.IsRetryableConnectionError(err), name)
	}
	header := &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: 20 * time.Millisecond}}
	s := silent(httptest.NewServer(http.HandlerFunc(hang)))
	defer s.Close()
	defer header.CloseIdleConnections()
	_, err := header.Get(s.URL)
	assert.Equal(t, timeout, k8sretry.Classify(err).Class, "%v", err)
}

func TestRateLimiterOfAClient(t *testing.T) {
	c := client(t, reply(200, "application/json", `{"kind":"Pod","apiVersion":"v1"}`), func(c *rest.Config) { c.QPS, c.Burst = 0.001, 1 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := c.Get(ctx, "web-0", metav1.GetOptions{})
	require.NoError(t, err)
	_, err = c.Get(ctx, "web-0", metav1.GetOptions{})
	require.ErrorContains(t, err, "would exceed context deadline")
	v := k8sretry.Classify(err)
	assert.Equal(t, canceled, v.Class)
	assert.Equal(t, never, v.Outcome)
	require.NoError(t, ctx.Err())
}

func TestErrorsOfDialsAndHandshakes(t *testing.T) {
	plainServer := silent(httptest.NewServer(http.HandlerFunc(http.NotFound)))
	defer plainServer.Close()
	tlsServer := silent(httptest.NewUnstartedServer(http.HandlerFunc(http.NotFound)))
	tlsServer.StartTLS()
	defer tlsServer.Close()
	mutual := silent(httptest.NewUnstartedServer(http.HandlerFunc(http.NotFound)))
	mutual.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: tls.VersionTLS12}
	mutual.StartTLS()
	defer mutual.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer mute.Close()
	refusing := silent(httptest.NewServer(reply(503, "text/plain", "")))
	defer refusing.Close()
	demanding := silent(httptest.NewServer(reply(407, "text/plain", "")))
	defer demanding.Close()

	through := func(proxy string) *http.Transport {
		u, err := url.Parse(proxy)
		require.NoError(t, err)
		return &http.Transport{Proxy: http.ProxyURL(u)}
	}
	for _, c := range []struct {
		name      string
		transport *http.Transport
		url       string
		class     k8sretry.Class
		network   bool
	}{
		{"refused", &http.Transport{}, "http://" + dead(t), refused, true},
		{"proxy refused", through("http://" + dead(t)), "https://127.0.0.1:1", refused, true},
		{"SOCKS proxy refused", through("socks5://" + dead(t)), "https://127.0.0.1:1", refused, true},
		{"proxy responses 503 to CONNECT", through(refusing.URL), "https://127.0.0.1:1", refused, true},
		{"proxy responses 407 to CONNECT", through(demanding.URL), "https://127.0.0.1:1", permanent, false},
		{"dial timeout", &http.Transport{DialContext: (&net.Dialer{Timeout: time.Nanosecond}).DialContext}, plainServer.URL, timeout, true},
		{"handshake timeout", &http.Transport{TLSHandshakeTimeout: 20 * time.Millisecond}, "https://" + mute.Addr().String(), timeout, true},
		{"unknown authority", &http.Transport{}, tlsServer.URL, permanent, false},
		{"HTTP on the TLS port", &http.Transport{}, "https://" + plainServer.Listener.Addr().String(), permanent, false},
		{"client certificate demanded", &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, mutual.URL, permanent, false},
		{"no DNS server", &http.Transport{DialContext: (&net.Dialer{Resolver: unreachableResolver(t)}).DialContext}, "http://api.example.com", refused, true},
		{"malformed URL", &http.Transport{}, "http://[::1", permanent, false},
		{"unknown scheme", &http.Transport{}, "ftp://127.0.0.1", permanent, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer c.transport.CloseIdleConnections()
			resp, err := (&http.Client{Transport: c.transport}).Get(c.url)
			if err == nil {
				_ = resp.Body.Close()
			}
			require.Error(t, err)
			v := k8sretry.Classify(err)
			assert.Equal(t, c.class, v.Class, "%T %v: %v", errors.Unwrap(err), err, v)
			assert.Equal(t, never, v.Outcome, "%v: %v", err, v)
			assert.Equal(t, c.network, k8sretry.IsRetryableConnectionError(err), "%v", err)
		})
	}
}

// unreachableResolver asks a DNS server that does not exist.
func unreachableResolver(t *testing.T) *net.Resolver {
	address := dead(t)
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}}
}

// A client uses the HTTP/2 of net/http or that of x/net.
func TestErrorsOfBothHTTP2Implementations(t *testing.T) {
	s := silent(httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cut" {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	})))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	cfg := &tls.Config{RootCAs: pool}
	bundled := &http.Transport{TLSClientConfig: cfg.Clone(), ForceAttemptHTTP2: true}
	defer bundled.CloseIdleConnections()
	separate := &http.Transport{TLSClientConfig: cfg.Clone()}
	//lint:ignore SA1019 client-go does the same
	_, err := http2.ConfigureTransports(separate)
	require.NoError(t, err)
	defer separate.CloseIdleConnections()
	for name, rt := range map[string]http.RoundTripper{"net/http": bundled, "x/net": separate} {
		resp, err := (&http.Client{Transport: rt}).Get(s.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		require.Error(t, err, name)
		v := k8sretry.Classify(err)
		assert.Equal(t, "HTTP/2 stream reset", v.Detail, "%s: %v", name, err)
		assert.Equal(t, connection, v.Class)
		assert.Equal(t, maybe, v.Outcome)

		resp, err = (&http.Client{Transport: rt}).Get(s.URL + "/cut")
		require.NoError(t, err, name)
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		require.Error(t, err, name)
		assert.Equal(t, connection, k8sretry.Classify(bodyCut(err)).Class, "%s: %v", name, err)
		assert.True(t, k8sretry.IsRetryableConnectionError(bodyCut(err)), "%s: %v", name, err)
	}
}
