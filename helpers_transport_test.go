package k8sretry_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

// Transports and clients.

// wrapper is a Transport with the given options. The tests of allocations that run later
// do not notice it.
func wrapper(t testing.TB, opts ...k8sretry.Option) func(http.RoundTripper) http.RoundTripper {
	t.Cleanup(k8sretry.ForgetTransports)
	return k8sretry.Transport(opts...)
}

// quickly makes the pauses short, for tests in real time.
var quickly = k8sretry.NewPolicy(k8sretry.WithInitialDelay(time.Millisecond), k8sretry.WithMaxDelay(2*time.Millisecond), k8sretry.WithLogger(nil))

// clientset is a real clientset with the given config.
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

// over is a clientset whose requests go to server without a network.
func over(t testing.TB, server roundTripper, wrappers ...func(http.RoundTripper) http.RoundTripper) *kubernetes.Clientset {
	return clientset(t, &rest.Config{Host: "https://server", Transport: server}, wrappers...)
}

func get(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.CoreV1().ConfigMaps("default").Get(ctx, "a", metav1.GetOptions{})
	return err
}

// post sends one request as client-go would.
func post(ctx context.Context, client *http.Client, url, contentType string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"kind":"Pod"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Responses.

// answer is a response of a server without a network.
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

// write responds with an object.
func write(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

// flush sends what was written so far.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// pause sleeps, but no longer than the request.
func pause(r *http.Request, d time.Duration) {
	select {
	case <-r.Context().Done():
	case <-time.After(d):
	}
}

// reset breaks the connection of an HTTP/1.1 request and the stream of an HTTP/2 request.
func reset(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
				conn = c.NetConn()
			}
			_ = conn.(interface{ SetLinger(int) error }).SetLinger(0)
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
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

// Servers without a network.

// roundTripper is a server without a network.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	return f(req)
}

// alwaysOK always responds with the same object.
func alwaysOK() roundTripper {
	body := string(mustJSON(settings("a")))
	return func(req *http.Request) (*http.Response, error) {
		return answer(req, 200, "application/json", body), nil
	}
}

// flaky can be switched off and on. While it is off it refuses connections.
type flaky struct {
	down  atomic.Bool
	sends atomic.Int32
}

func (s *flaky) serve(req *http.Request) (*http.Response, error) {
	s.sends.Add(1)
	if s.down.Load() {
		return nil, syscall.ECONNREFUSED
	}
	if req.URL.Query().Has("watch") {
		return answer(req, 200, "application/json", ""), nil
	}
	return answer(req, 200, "application/json", string(mustJSON(settings("a")))), nil
}

// listWatch serves lists and watches. Its n-th request, from 1, fails with the n-th fault.
type listWatch struct {
	faults []string // "" is none; "reset", "503", "429"; "cut" ends a watch after its event

	mu       sync.Mutex
	requests []string
}

func (s *listWatch) RoundTrip(req *http.Request) (*http.Response, error) {
	query := req.URL.Query()
	watch := query.Get("watch") == "true"
	s.mu.Lock()
	n := len(s.requests)
	fault := ""
	if n < len(s.faults) {
		fault = s.faults[n]
	}
	if watch {
		s.requests = append(s.requests, "watch "+fault)
	} else {
		s.requests = append(s.requests, "list "+fault)
	}
	s.mu.Unlock()
	switch {
	case fault == "reset":
		return nil, network("read", syscall.ECONNRESET)
	case fault == "503" || fault == "429":
		code := map[string]int{"503": 503, "429": 429}[fault]
		return answer(req, code, "text/plain", "not now", "Retry-After", "1"), nil
	case query.Get("sendInitialEvents") == "true":
		return answer(req, 422, "application/json", statusJSON(422, metav1.StatusReasonInvalid, "no streaming lists")), nil
	case !watch:
		list := &corev1.ConfigMapList{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMapList"},
			ListMeta: metav1.ListMeta{ResourceVersion: fmt.Sprint(100 + n)},
		}
		list.Items = []corev1.ConfigMap{*version("a", 10), *version("b", 20)}
		return answer(req, 200, "application/json", string(mustJSON(list))), nil
	}
	reader, writer := io.Pipe()
	go func() {
		event := fmt.Sprintf(`{"type":"MODIFIED","object":%s}`+"\n", mustJSON(version("a", 1000+n)))
		_, _ = io.WriteString(writer, event)
		if fault == "cut" {
			_ = writer.CloseWithError(io.ErrUnexpectedEOF)
			return
		}
		<-req.Context().Done()
		_ = writer.CloseWithError(req.Context().Err())
	}()
	resp := answer(req, 200, "application/json", "")
	resp.Body, resp.ContentLength = reader, -1
	return resp, nil
}

func (s *listWatch) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

func version(name string, v int) *corev1.ConfigMap {
	o := settings(name)
	o.ResourceVersion = fmt.Sprint(v)
	return o
}

// Servers with a network.

const (
	protoHTTP1 = "HTTP/1.1"
	protoHTTP2 = "HTTP/2"
)

// api is a test server that counts the requests and connections that reach it.
type api struct {
	*httptest.Server
	sends atomic.Int32
	conns atomic.Int32
	dial  func(context.Context, string, string) (net.Conn, error) // nil on a real network

	mu       sync.Mutex
	requests []string // method and body
	header   []http.Header
}

// serve starts a server on loopback; n is the number of the request, from 1.
func serve(t testing.TB, proto string, handle func(w http.ResponseWriter, r *http.Request, n int)) *api {
	t.Helper()
	a := new(api)
	a.Server = httptest.NewUnstartedServer(nil)
	a.start(t, proto, handle)
	return a
}

// serveInMemory is serve on a network in memory. In a bubble of synctest nothing depends
// on how fast the machine is: timers fire only when all goroutines wait.
func serveInMemory(t testing.TB, proto string, handle func(w http.ResponseWriter, r *http.Request, n int)) *api {
	t.Helper()
	l := listenInMemory()
	a := &api{dial: l.dial, Server: &httptest.Server{Listener: l, Config: new(http.Server)}}
	a.start(t, proto, handle)
	return a
}

func (a *api) start(t testing.TB, proto string, handle func(w http.ResponseWriter, r *http.Request, n int)) {
	a.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := int(a.sends.Add(1))
		a.mu.Lock()
		a.requests = append(a.requests, r.Method+" "+string(body))
		a.header = append(a.header, r.Header)
		a.mu.Unlock()
		handle(w, r, n)
	})
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
	if a.dial != nil {
		a.Client().Transport = transportInMemory(t, a.Certificate(), a.dial)
	}
}

// config is a rest.Config for the server.
func (a *api) config() *rest.Config {
	if a.dial != nil {
		return &rest.Config{Host: a.URL, Transport: a.Client().Transport}
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	return &rest.Config{Host: a.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

func (a *api) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.requests...)
}

// frames is a server that speaks HTTP/2 frame by frame, on a network in memory. It counts
// the requests that reach it, including those that net/http repeats by itself.
type frames struct {
	requests atomic.Int32
	cfg      *rest.Config
}

// frameServer calls handle for the n-th request, which writes frames to the stream. The
// whole request was read by then: if the server closed the connection earlier, the client
// might fail to write before it reads what the server has said.
func frameServer(t *testing.T, handle func(f *http2.Framer, conn net.Conn, stream uint32, n int)) *frames {
	t.Helper()
	certificates := serveInMemory(t, protoHTTP2, nil)
	config := &tls.Config{Certificates: certificates.TLS.Certificates, NextProtos: []string{"h2"}}
	s := new(frames)
	l := listenInMemory()
	s.cfg = &rest.Config{Host: "https://" + l.Addr().String(), Transport: transportInMemory(t, certificates.Certificate(), l.dial)}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { _ = conn.Close() })
			go s.serve(tls.Server(conn, config), handle)
		}
	}()
	return s
}

func (s *frames) serve(conn net.Conn, handle func(*http2.Framer, net.Conn, uint32, int)) {
	defer conn.Close()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return
	}
	f := http2.NewFramer(conn, conn)
	_ = f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = f.WritePing(true, frame.Data)
			}
		case *http2.HeadersFrame:
			if s.requests.Add(1) > 20 {
				return // a client that does not stop by itself
			}
			if frame.StreamEnded() {
				handle(f, conn, frame.StreamID, int(s.requests.Load()))
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				handle(f, conn, frame.StreamID, int(s.requests.Load()))
			}
		}
	}
}

// respondOK responds to a request with an object.
func respondOK(f *http2.Framer, stream uint32) {
	var head bytes.Buffer
	e := hpack.NewEncoder(&head)
	_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = e.WriteField(hpack.HeaderField{Name: "content-type", Value: "application/json"})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true})
	_ = f.WriteData(stream, true, mustJSON(settings("a")))
}

// A network in memory.

// memoryListener is a server's end of a network in memory.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func listenInMemory() *memoryListener {
	return &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is an address that the certificate of httptest is valid for.
func (l *memoryListener) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}
}

func (l *memoryListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := newMemoryHalf(), newMemoryHalf()
	select {
	case l.conns <- &memoryConn{in: a, out: b}:
		return &memoryConn{in: b, out: a}, nil
	case <-l.closed:
		return nil, memoryError("dial", syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// transportInMemory is what client-go makes of a rest.Config, on a network in memory.
func transportInMemory(t testing.TB, server *x509.Certificate, dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(server)
	transport := utilnet.SetTransportDefaults(&http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		Proxy:           func(*http.Request) (*url.URL, error) { return nil, nil },
		DialContext:     dial,
	})
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// memoryConn is one end of a connection in memory. Its writes do not block.
type memoryConn struct {
	in, out *memoryHalf
	abort   atomic.Bool // Close resets the connection
}

// memoryHalf is one direction of a connection.
type memoryHalf struct {
	mu       sync.Mutex
	changed  *sync.Cond
	data     bytes.Buffer
	ended    bool // no more data will be written
	readErr  error
	writeErr error
	deadline time.Time // of reads
	timer    *time.Timer
}

func newMemoryHalf() *memoryHalf {
	h := new(memoryHalf)
	h.changed = sync.NewCond(&h.mu)
	return h
}

func (h *memoryHalf) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.changed.Broadcast()
}

func memoryError(op string, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: "tcp", Err: err}
}

func (c *memoryConn) Read(p []byte) (int, error) {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readErr != nil:
			return 0, memoryError("read", h.readErr)
		case !h.deadline.IsZero() && !time.Now().Before(h.deadline):
			return 0, memoryError("read", os.ErrDeadlineExceeded)
		case h.data.Len() > 0:
			return h.data.Read(p)
		case h.ended:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

func (c *memoryConn) Write(p []byte) (int, error) {
	h := c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.writeErr != nil {
		return 0, memoryError("write", h.writeErr)
	}
	defer h.changed.Broadcast()
	return h.data.Write(p)
}

func (c *memoryConn) Close() error {
	abort := c.abort.Load()
	c.out.change(func() {
		c.out.ended, c.out.writeErr = true, net.ErrClosed
		if abort && c.out.readErr == nil {
			c.out.readErr = syscall.ECONNRESET
		}
	})
	c.in.change(func() {
		c.in.readErr = net.ErrClosed
		if c.in.writeErr == nil {
			c.in.writeErr = syscall.EPIPE
		}
		if c.in.timer != nil {
			c.in.timer.Stop()
		}
	})
	return nil
}

// SetLinger is that of a *net.TCPConn: with 0, Close resets the connection.
func (c *memoryConn) SetLinger(sec int) error {
	c.abort.Store(sec == 0)
	return nil
}

func (c *memoryConn) SetReadDeadline(at time.Time) error {
	h := c.in
	h.change(func() {
		if h.timer != nil {
			h.timer.Stop()
		}
		h.deadline = at
		if wait := time.Until(at); !at.IsZero() && wait > 0 {
			h.timer = time.AfterFunc(wait, h.changed.Broadcast)
		}
	})
	return nil
}

func (c *memoryConn) SetDeadline(at time.Time) error   { return c.SetReadDeadline(at) }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }
func (c *memoryConn) LocalAddr() net.Addr              { return new(net.TCPAddr) }
func (c *memoryConn) RemoteAddr() net.Addr             { return new(net.TCPAddr) }

// protobufOf returns an object as typed clients send it.
func protobufOf(t *testing.T, obj runtime.Object) []byte {
	t.Helper()
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	require.True(t, ok)
	content, err := runtime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion), obj)
	require.NoError(t, err)
	return content
}
