package k8sretry_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

// wrapper is a Transport with the given options, which the tests of allocations that
// follow do not see.
func wrapper(t testing.TB, opts ...k8sretry.Option) func(http.RoundTripper) http.RoundTripper {
	t.Cleanup(k8sretry.ForgetTransports)
	return k8sretry.Transport(opts...)
}

// roundTripper is a server without a network, for virtual time.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	return f(req)
}

// answer is a response of such a server.
func answer(req *http.Request, code int, contentType, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {contentType}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

// clientset is a real clientset over the given config.
func clientset(t testing.TB, cfg *rest.Config, wrappers ...func(http.RoundTripper) http.RoundTripper) *kubernetes.Clientset {
	t.Helper()
	cfg.QPS = -1
	for _, w := range wrappers {
		cfg.Wrap(w)
	}
	client, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	return client
}

// over is a clientset without a network.
func over(t testing.TB, server roundTripper, wrappers ...func(http.RoundTripper) http.RoundTripper) *kubernetes.Clientset {
	return clientset(t, &rest.Config{Host: "https://server", Transport: server}, wrappers...)
}

// api is a test server that counts what reaches it.
type api struct {
	*httptest.Server
	sends atomic.Int32
	conns atomic.Int32

	mu       sync.Mutex
	requests []string // method and body
	header   []http.Header
}

const (
	protoHTTP1 = "HTTP/1.1"
	protoHTTP2 = "HTTP/2"
)

// serve starts a server that answers as handle says; n is the number of the request,
// from 1.
func serve(t testing.TB, proto string, handle func(w http.ResponseWriter, r *http.Request, n int)) *api {
	t.Helper()
	a := new(api)
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := int(a.sends.Add(1))
		a.mu.Lock()
		a.requests = append(a.requests, r.Method+" "+string(body))
		a.header = append(a.header, r.Header)
		a.mu.Unlock()
		handle(w, r, n)
	}))
	a.Config.ErrorLog = quiet
	a.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			a.conns.Add(1)
		}
	}
	a.EnableHTTP2 = proto == protoHTTP2
	a.StartTLS()
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

// config is a rest.Config for the server.
func (a *api) config() *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	return &rest.Config{Host: a.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

func (a *api) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.requests...)
}

// write answers with an object.
func write(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

func settings(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: "u", ResourceVersion: "1"},
	}
}

func mustJSON(object any) []byte {
	b, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return b
}

// statusJSON is a failure as the API server writes it.
func statusJSON(code int, reason metav1.StatusReason, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code)
}

// reset breaks the connection: a reset over HTTP/1.1, of the stream over HTTP/2.
func reset(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			if tcp, ok := conn.(interface{ NetConn() net.Conn }); ok {
				_ = tcp.NetConn().(*net.TCPConn).SetLinger(0)
				_ = tcp.NetConn().Close()
				return
			}
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// quickly makes the waits of real networks short.
var quickly = k8sretry.NewPolicy(k8sretry.WithInitialDelay(time.Millisecond), k8sretry.WithMaxDelay(2*time.Millisecond), k8sretry.WithLogger(nil))
