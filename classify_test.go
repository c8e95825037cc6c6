// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

func TestCodeDecidesIsRetryableK8sError(t *testing.T) {
	retryable := map[int32]bool{408: true, 429: true, 500: true, 502: true, 503: true, 504: true}
	for code := int32(-1); code < 700; code++ {
		for _, reason := range []metav1.StatusReason{"", metav1.StatusReasonConflict, metav1.StatusReasonTooManyRequests} {
			assert.Equal(t, retryable[code], k8sretry.IsRetryableK8sError(failure(code, reason, "")), "%d %q", code, reason)
		}
	}
}

func TestIsRetryableK8sErrorSearchesTheChain(t *testing.T) {
	for name, err := range chains(failure(503, metav1.StatusReasonServiceUnavailable, "")) {
		assert.True(t, k8sretry.IsRetryableK8sError(err), "503 %s", name)
	}
	for name, err := range chains(failure(404, metav1.StatusReasonNotFound, "")) {
		assert.False(t, k8sretry.IsRetryableK8sError(err), "404 %s", name)
	}
	for name, err := range chains(embedding{failure(502, "", ""), 1}) {
		assert.True(t, k8sretry.IsRetryableK8sError(err), "embedded 502 %s", name)
	}
	for name, err := range chains(&carrier{504}) {
		assert.True(t, k8sretry.IsRetryableK8sError(err), "504 of another type %s", name)
	}
}

func TestFirstStatusDecidesIsRetryableK8sError(t *testing.T) {
	notFound, unavailable, empty := failure(404, "", ""), failure(503, "", ""), failure(0, "", "")
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"404 before 503", errors.Join(notFound, unavailable), false},
		{"503 before 404", errors.Join(unavailable, notFound), true},
		{"depth first", errors.Join(fmt.Errorf("a: %w", errors.Join(io.EOF, notFound)), unavailable), false},
		{"a status without a code decides", errors.Join(empty, unavailable), false},
		{"an aggregate before a status", errors.Join(aggregate(unavailable), notFound), true},
		{"an Error of this package", errors.Join(&k8sretry.Error{Err: notFound}, unavailable), false},
	} {
		assert.Equal(t, c.want, k8sretry.IsRetryableK8sError(c.err), c.name)
	}
	// The predicates of apierrors use the same order.
	assert.True(t, apierrors.IsNotFound(errors.Join(fmt.Errorf("a: %w", apierrors.NewNotFound(pods, "a")), unavailable)))
}

func TestErrorWithoutStatusIsNoRetryableK8sError(t *testing.T) {
	for _, err := range []error{nil, io.EOF, context.DeadlineExceeded, errors.New("503"), errors.Join(io.EOF), &k8sretry.Error{}} {
		assert.False(t, k8sretry.IsRetryableK8sError(err), "%v", err)
	}
}

func TestStatusOrCancellationIsNoConnectionError(t *testing.T) {
	reset := call("read", "read", syscall.ECONNRESET)
	for name, err := range map[string]error{
		"a status":                    errors.Join(reset, failure(503, "", "")),
		"a status with another class": errors.Join(reset, failure(429, "", "")),
		"a cancellation":              errors.Join(reset, context.Canceled),
		"a certificate":               errors.Join(reset, x509.UnknownAuthorityError{}),
	} {
		assert.False(t, k8sretry.IsRetryableConnectionError(err), name)
	}
	assert.True(t, k8sretry.IsRetryableConnectionError(errors.Join(errors.New("caller"), reset)))

}

func TestNilIsNoFailure(t *testing.T) {
	assert.Zero(t, k8sretry.Classify(nil))
	assert.False(t, k8sretry.IsRetryableK8sError(nil))
	assert.False(t, k8sretry.IsRetryableConnectionError(nil))
}

// A call stores the verdict on each of its failures in the same Verdict.
func TestNothingRemainsOfThePreviousFailure(t *testing.T) {
	refusal := &url.Error{Op: "Get", Err: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
	for _, err := range []error{
		unavailable(), fmt.Errorf("get: %w", unavailable()), refusal, &url.Error{Op: "Get", Err: io.EOF},
		fmt.Errorf("get: %w", io.EOF), errors.New("caller"), (*apierrors.StatusError)(nil),
	} {
		synctest.Test(t, func(t *testing.T) {
			var seen recorder
			_, _ = k8sretry.Do(t.Context(), fails(tooMany(7), err).get, k8sretry.WithMaxRetries(1), k8sretry.WithObserver(&seen))
			e, v := seen.events[1], k8sretry.Classify(err)
			assert.Equal(t, k8sretry.Verdict{Class: e.Class, Outcome: e.Outcome, StatusCode: e.StatusCode, RetryAfter: e.RetryAfter, Detail: e.Detail}, exported(v), "%v", err)
		})
	}
}

// exported is v with its exported fields alone, to compare it with a literal.
func exported(v k8sretry.Verdict) k8sretry.Verdict {
	return k8sretry.Verdict{Class: v.Class, Outcome: v.Outcome, StatusCode: v.StatusCode, RetryAfter: v.RetryAfter, Detail: v.Detail}
}

// A text for logs decides nothing, neither in a Verdict of Classify nor in one that a
// classifier makes.
func TestDetailDecidesNothing(t *testing.T) {
	details := map[string]bool{"": true, "own": true}
	for _, section := range errorsPage {
		for _, row := range section.rows {
			details[k8sretry.Classify(row.err).Detail] = true
		}
	}
	for _, section := range errorsPage {
		for _, row := range section.rows {
			made := k8sretry.Classify(row.err)
			for _, original := range []k8sretry.Verdict{made, exported(made)} {
				for detail := range details {
					v := original
					v.Detail = detail
					for verb := range k8sretry.VerbDeleteCollection + 1 {
						assert.Equal(t, original.Retryable(verb), v.Retryable(verb), "%s with the detail %q, %v", original.Detail, detail, verb)
					}
				}
			}
		}
	}
}

// The only code that looks at a Detail writes it to a log: events.go makes the fields of the lines.
func TestNoDecisionReadsADetail(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir("internal", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
		return nil // there may be no such folder
	}))
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "log_") || file == "events.go" {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, 0)
		require.NoError(t, err)
		reads := func(n ast.Node) {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return
			}
			of, _ := s.X.(*ast.Ident)
			ofMeaning := of != nil && strings.HasPrefix(of.Name, "means")
			assert.False(t, s.Sel.Name == "Detail" || ofMeaning && s.Sel.Name == "detail", "%v reads a detail", set.Position(n.Pos()))
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				reads(n.X)
				reads(n.Y)
			case *ast.SwitchStmt:
				reads(n.Tag)
			case *ast.CaseClause:
				for _, e := range n.List {
					reads(e)
				}
			case *ast.IndexExpr:
				reads(n.Index)
			case *ast.CallExpr:
				for _, e := range n.Args {
					reads(e)
				}
			}
			return true
		})
	}
}

// The server processes the objects of a deletecollection one by one. A Verdict of Classify
// knows which failures came before the first; a Verdict of a caller that says "not
// executed" means the whole call.
func TestDeleteCollectionIsRepeatedIfNothingWasDeleted(t *testing.T) {
	const collection = k8sretry.VerbDeleteCollection
	early, late := tooMany(0), failure(500, metav1.StatusReasonInternalError, "Internal error occurred: failed calling webhook")
	assert.True(t, k8sretry.Classify(early).Retryable(collection))
	assert.False(t, k8sretry.Classify(late).Retryable(collection))
	assert.False(t, k8sretry.Classify(aggregate(early, late)).Retryable(collection), "one of several was late")
	assert.True(t, k8sretry.Verdict{Class: server, StatusCode: 500, Detail: "own"}.Retryable(collection))
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name     string
			fails    error
			classify func(error) k8sretry.Verdict
			attempts int
		}{
			{"a Verdict of the caller", status(500, ""), func(error) k8sretry.Verdict {
				return k8sretry.Verdict{Class: server, StatusCode: 500, Detail: "own"}
			}, 2},
			{"a Verdict of Classify without its Detail", late, func(err error) k8sretry.Verdict {
				v := k8sretry.Classify(err)
				v.Detail = ""
				return v
			}, 1},
		} {
			attempts := 0
			_ = k8sretry.Run(t.Context(), func(context.Context) error {
				attempts++
				return c.fails
			}, k8sretry.WithVerb(collection), k8sretry.WithMaxRetries(1),
				k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) { return c.classify(err), true }))
			assert.Equal(t, c.attempts, attempts, c.name)
		}
	})
}

// A failing webhook, quota or backend does not mean that the server fails.
func TestFailureBesideTheServerDoesNotOpenABreaker(t *testing.T) {
	beside := map[string]bool{
		"failed calling webhook": true, "conversion webhook failed": true, "aggregated API server unavailable": true,
		"service has no endpoints": true, "peer server not found": true, "backend unreachable": true,
		"conflict on the status of a quota": true, "conflict on the status of a disruption budget": true,
		"resource version too large": true, "quota evaluation timed out": true, "connection upgrade failed": true,
		"API discovery failed": true, "stale API discovery": true, "deadline exceeded in the client's rate limiter": true,
	}
	found := 0
	for _, section := range errorsPage {
		for _, row := range section.rows {
			v := k8sretry.Classify(row.err)
			if v.Class != server && v.Class != timeout {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				breaker := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3})
				for range 20 {
					testkit.Sleep(time.Second)
					_ = k8sretry.Run(t.Context(), func(context.Context) error { return row.err },
						k8sretry.WithBreaker(breaker), k8sretry.WithMaxRetries(0))
				}
				assert.Equal(t, beside[v.Detail], breaker.State() == k8sretry.BreakerClosed, v.Detail)
			})
			if beside[v.Detail] {
				found++
			}
		}
	}
	assert.GreaterOrEqual(t, found, len(beside))
	// The assumption was that what ends an attempt before its deadline is the server.
	synctest.Test(t, func(t *testing.T) {
		breaker := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3})
		for range 20 {
			testkit.Sleep(time.Second)
			err := k8sretry.Run(t.Context(), func(context.Context) error {
				return errors.New("rate: Wait(n=1) would exceed context deadline")
			}, k8sretry.WithBreaker(breaker), k8sretry.WithMaxRetries(0), k8sretry.WithAttemptTimeout(time.Second))
			assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		}
		assert.Equal(t, k8sretry.BreakerClosed, breaker.State(), "the rate limiter of the client has no room")
	})
}

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
	forgetBubbles()
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	cfg := &tls.Config{RootCAs: pool}
	bundled := &http.Transport{TLSClientConfig: cfg.Clone(), ForceAttemptHTTP2: true}
	defer bundled.CloseIdleConnections()
	separate := &http.Transport{TLSClientConfig: cfg.Clone()}
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

// consistent fails if a Verdict is invalid, or if the three functions contradict each
// other.
func consistent(t *testing.T, err error) k8sretry.Verdict {
	t.Helper()
	v := k8sretry.Classify(err)
	if v.Class == k8sretry.ClassNone || v.Class > k8sretry.ClassCanceled || v.Outcome > k8sretry.OutcomeExecuted ||
		v.RetryAfter < 0 || v.RetryAfter%time.Second != 0 || v.Detail == "" {
		t.Errorf("invalid verdict: %+v of %v", v, err)
	}
	if v.Class.String() == "invalid" || v.Outcome.String() == "invalid" {
		t.Errorf("verdict without a name: %+v", v)
	}
	if k8sretry.IsRetryableConnectionError(err) {
		if !v.Retryable(k8sretry.VerbGet) || v.StatusCode != 0 {
			t.Errorf("a connection error that is not retryable: %+v of %v", v, err)
		}
		if k8sretry.IsRetryableK8sError(err) {
			t.Errorf("a connection error with a status: %v", err)
		}
	}
	return v
}

func retryableCode(code int32) bool {
	return slices.Contains([]int32{408, 429, 500, 502, 503, 504}, code)
}

func FuzzClassifyStatus(f *testing.F) {
	f.Add(int32(503), "ServiceUnavailable", "apiserver is shutting down", "", "", "", int32(1))
	f.Add(int32(429), "TooManyRequests", "Cannot evict pod", "pods", "DisruptionBudget", "x", int32(0))
	f.Add(int32(409), "Conflict", `Operation cannot be fulfilled on pods/binding "a": etcdserver: request timed out`, "pods/binding", "", "", int32(-5))
	f.Add(int32(404), "NotFound", "", "", "UnexpectedServerResponse", "404 page not found", int32(1<<31-1))
	f.Add(int32(400), "", `admission webhook "x" denied the request: no`, "resourcequotas", "NamespaceTerminating", "", int32(0))
	f.Add(int32(500), "InternalError", "Internal error occurred: failed calling webhook", "", "FieldManagerConflict", "", int32(0))
	f.Add(int32(0), "", "", "", "", "", int32(0))
	// A little beside the most frequent statuses.
	f.Add(int32(503), "ServiceUnavailable", "the server is currently unable to handle the request", "", "", "", int32(0))
	f.Add(int32(503), "ServiceUnavailable", "the request has been made before all known HTTP paths have been installed", "", "", "", int32(0))
	f.Add(int32(503), "", "the server is currently unable to handle the request", "", "", "", int32(0))
	f.Add(int32(503), "InternalError", "the server is currently unable to handle the request", "", "", "", int32(0))
	f.Add(int32(503), "ServiceUnavailable", "the server could not", "", "UnexpectedServerResponse", "service unavailable", int32(0))
	f.Add(int32(404), "NotFound", `namespaces "a" not found`, "namespaces", "", "", int32(0))
	f.Add(int32(404), "", `pods "a" not found`, "pods", "", "", int32(0))
	f.Add(int32(404), "Expired", "", "", "", "", int32(0))
	f.Add(int32(409), "AlreadyExists", "the server reported a conflict", "pods", "UnexpectedServerResponse", "", int32(0))
	f.Add(int32(409), "AlreadyExists", `admission webhook "x" denied the request: no`, "pods", "", "", int32(0))
	f.Add(int32(429), "TooManyRequests", `admission webhook "x" denied the request: no`, "", "", "", int32(1))
	f.Add(int32(404), "NotFound", `admission webhook "x" denied the request: no`, "pods", "", "", int32(0))
	f.Add(int32(504), "Timeout", `admission webhook "x" denied the request: no`, "pods", "", "", int32(0))
	f.Add(int32(504), "Timeout", "", "", "ResourceVersionTooLarge", "", int32(1))
	f.Add(int32(504), "NotFound", "", "", "", "", int32(1))
	f.Fuzz(func(t *testing.T, code int32, reason, message, kind, cause, causeMessage string, seconds int32) {
		status := metav1.Status{Code: code, Reason: metav1.StatusReason(reason), Message: message}
		if kind != "" || cause != "" || seconds != 0 {
			status.Details = &metav1.StatusDetails{Kind: kind, RetryAfterSeconds: seconds}
		}
		if cause != "" {
			status.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseType(cause), Message: causeMessage}}
		}
		err := &apierrors.StatusError{ErrStatus: status}
		v := consistent(t, err)
		if v.StatusCode != int(code) {
			t.Errorf("code %d became %d", code, v.StatusCode)
		}
		if want := time.Duration(max(0, seconds)) * time.Second; v.RetryAfter != want {
			t.Errorf("delay %v instead of %v", v.RetryAfter, want)
		}
		if k8sretry.IsRetryableK8sError(err) != retryableCode(code) {
			t.Errorf("IsRetryableK8sError does not depend on the code %d", code)
		}
		if k8sretry.IsRetryableConnectionError(err) {
			t.Error("a status is no connection error")
		}
		if w := k8sretry.Classify(fmt.Errorf("x: %w", err)); w != v {
			t.Errorf("wrapping changes %+v to %+v", v, w)
		}
		if w := k8sretry.Classify(embedding{err, 1}); w != v {
			t.Errorf("embedding changes %+v to %+v", v, w)
		}
	})
}

// build makes an error from bytes: one byte selects an error or a wrapper, the rest makes
// what it wraps. It also returns the code of the first status, -1 if there is none.
func build(b []byte) (code int32, rest []byte, err error) {
	if len(b) == 0 {
		return -1, nil, io.EOF
	}
	head, b := b[0], b[1:]
	leaf := func(err error) (int32, []byte, error) { return -1, b, err }
	next := func() int32 {
		if len(b) == 0 {
			return 0
		}
		n := int32(b[0])
		b = b[1:]
		return n
	}
	wrap := func(w func(error) error) (int32, []byte, error) {
		code, rest, inner := build(b)
		return code, rest, w(inner)
	}
	join := func(j func(...error) error) (int32, []byte, error) {
		first, rest, x := build(b)
		second, rest, y := build(rest)
		if first == -1 {
			first = second
		}
		return first, rest, j(x, y)
	}
	switch head % 32 {
	case 0:
		return leaf(errors.New("plain"))
	case 1:
		return leaf(context.Canceled)
	case 2:
		return leaf(context.DeadlineExceeded)
	case 3:
		return leaf(syscall.Errno(next()))
	case 4:
		n := next()
		return leaf(&net.DNSError{IsNotFound: n&1 != 0, IsTemporary: n&2 != 0, IsTimeout: n&4 != 0})
	case 5:
		return leaf(http2.StreamError{Code: http2.ErrCode(next())})
	case 6:
		return leaf(http2.ConnectionError(next()))
	case 7:
		n := int(next())
		return leaf(errors.New(string(b[:min(len(b), n)])))
	case 8:
		return leaf((*apierrors.StatusError)(nil))
	case 9:
		return leaf((*single)(nil))
	case 10:
		return leaf((*several)(nil))
	case 11:
		return leaf(embedding{})
	case 12:
		return leaf(&slow{"slow"})
	case 13:
		return leaf(&loop{})
	case 14:
		return leaf(&plain{"plain"})
	case 15:
		return leaf(errors.New("rate: Wait(n=1) would exceed context deadline"))
	case 16:
		return wrap(func(err error) error { return fmt.Errorf("a: %w", err) })
	case 17:
		return wrap(func(err error) error { return &url.Error{Op: "Get", Err: err} })
	case 18:
		ops := []string{"dial", "read", "write", "proxyconnect", "remote error", "local error"}
		o := ops[int(next())%len(ops)]
		return wrap(func(err error) error { return &net.OpError{Op: o, Err: err} })
	case 19:
		return wrap(func(err error) error { return os.NewSyscallError("read", err) })
	case 20:
		return wrap(func(err error) error { return &single{err} })
	case 21:
		return wrap(func(err error) error { return aggregate(err) })
	case 22:
		return wrap(func(err error) error { return &k8sretry.Error{Err: err} })
	case 23:
		return join(errors.Join)
	case 24:
		return join(aggregate)
	case 25:
		return join(func(errs ...error) error { return fmt.Errorf("%w, %w", errs[0], errs[1]) })
	case 26:
		return join(func(errs ...error) error { return &multierror{errs} })
	default:
		code := 100 + 2*next() + int32(head&1)
		s := failure(code, metav1.StatusReason([]string{"", "Conflict", "Timeout", "InternalError"}[next()%4]), "message")
		err := delayed(s, next())
		return code, b, err
	}
}

func FuzzClassifyChain(f *testing.F) {
	f.Add([]byte{17, 18, 0, 19, 3, 111})
	f.Add([]byte{23, 8, 23, 11, 27, 200, 0, 1})
	f.Add([]byte{22, 24, 17, 1, 28, 150, 1, 9})
	f.Add([]byte{20, 25, 9, 26, 13, 27, 205, 3, 0})
	f.Add([]byte{17, 18, 4, 0})
	f.Add([]byte{17, 18, 1, 19, 3, 111})
	f.Add([]byte{18, 0, 19, 3, 111})
	f.Add([]byte{17, 18, 4, 19, 3, 111})
	f.Add([]byte{17, 18, 0, 19, 3, 104})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1000 {
			return
		}
		code, _, err := build(b)
		v := consistent(t, err)
		endless := v.Detail == "error chain too long" || slices.ContainsFunc(b, func(c byte) bool { return c%32 == 13 })
		if !endless && k8sretry.IsRetryableK8sError(err) != retryableCode(code) {
			t.Errorf("IsRetryableK8sError does not depend on the first code, %d, of %v", code, v)
		}
		if !endless && (code == -1) != (v.StatusCode == 0) {
			t.Errorf("the first code is %d, the code of the verdict %d", code, v.StatusCode)
		}
		for name, wrapped := range map[string]error{
			"%w": fmt.Errorf("a: %w", err), "join": errors.Join(err), "aggregate": aggregate(err), "Error": &k8sretry.Error{Err: err},
			"sentinel": fmt.Errorf("%w: %w", errors.New("sentinel"), err),
		} {
			if w := k8sretry.Classify(wrapped); w != v && !endless {
				t.Errorf("%s changes %+v to %+v", name, v, w)
			}
			if k8sretry.IsRetryableConnectionError(wrapped) != k8sretry.IsRetryableConnectionError(err) && !endless {
				t.Errorf("%s changes IsRetryableConnectionError", name)
			}
		}
	})
}

// commonErrors are the shapes that most failed calls have.
func commonErrors() []struct {
	name string
	err  error
} {
	pods := schema.GroupResource{Resource: "pods"}
	notFound := apierrors.NewNotFound(pods, "web-0")
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	return []struct {
		name string
		err  error
	}{
		{"404", notFound},
		{"409", apierrors.NewConflict(pods, "web-0", errors.New("the object has been modified"))},
		{"429", apierrors.NewTooManyRequests("slow down", 1)},
		{"503", apierrors.NewServiceUnavailable("apiserver not ready")},
		{"503_generic", apierrors.NewGenericServerResponse(http.StatusServiceUnavailable, http.MethodGet, pods, "web-0", "no healthy upstream", 0, true)},
		{"404_wrapped", fmt.Errorf("reading pod web-0: %w", notFound)},
		{"404_wrapped_twice", fmt.Errorf("reconciling: %w", fmt.Errorf("reading pod web-0: %w", notFound))},
		{"refused", &url.Error{Op: "Get", URL: "https://10.0.0.1", Err: refused}},
	}
}

func TestCommonErrorsAreClassifiedWithoutAllocation(t *testing.T) {
	for _, c := range commonErrors() {
		t.Run(c.name, func(t *testing.T) {
			assert.Zero(t, testing.AllocsPerRun(100, func() { k8sretry.Classify(c.err) }), "Classify")
			assert.Zero(t, testing.AllocsPerRun(100, func() { k8sretry.IsRetryableK8sError(c.err) }), "IsRetryableK8sError")
			assert.Zero(t, testing.AllocsPerRun(100, func() { k8sretry.IsRetryableConnectionError(c.err) }), "IsRetryableConnectionError")
		})
	}
}

func BenchmarkClassify(b *testing.B) {
	for _, c := range commonErrors() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k8sretry.Classify(c.err)
			}
		})
	}
}

func BenchmarkIsRetryableK8sError(b *testing.B) {
	for _, c := range commonErrors() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k8sretry.IsRetryableK8sError(c.err)
			}
		})
	}
}
