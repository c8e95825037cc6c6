package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/k8sretry/k8sretry"
)

// closing counts whether the bodies it gives are closed.
type closing struct {
	io.Reader
	closed *atomic.Int32
}

func (c closing) Close() error { c.closed.Add(1); return nil }

// A request is sent again only with its whole body, and once if it has no GetBody.
func TestBodiesAreRewound(t *testing.T) {
	const body = `{"kind":"ConfigMap","metadata":{"name":"a"}}`
	for _, c := range []struct {
		situation string
		rewind    bool
		sends     int
	}{{"with GetBody", true, 4}, {"without", false, 1}} {
		for _, proto := range []string{protoHTTP1, protoHTTP2} {
			t.Run(proto+", "+c.situation, func(t *testing.T) {
				server := serve(t, proto, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusServiceUnavailable) })
				transport := wrapper(t, quickly)(server.Client().Transport)
				var opened, closed atomic.Int32
				open := func() io.ReadCloser {
					opened.Add(1)
					return closing{strings.NewReader(body), &closed}
				}
				req, err := http.NewRequestWithContext(t.Context(), "PUT", server.URL+"/api/v1/namespaces/default/configmaps/a", open())
				require.NoError(t, err)
				req.ContentLength = int64(len(body))
				if c.rewind {
					req.GetBody = func() (io.ReadCloser, error) { return open(), nil }
				}
				resp, err := transport.RoundTrip(req)
				require.NoError(t, err)
				_, _ = io.Copy(io.Discard, resp.Body)
				require.NoError(t, resp.Body.Close())
				assert.Equal(t, 503, resp.StatusCode)
				assert.Len(t, server.seen(), c.sends)
				for _, seen := range server.seen() {
					assert.Equal(t, "PUT "+body, seen)
				}
				assert.Eventually(t, func() bool { return opened.Load() == closed.Load() }, 5*time.Second, time.Millisecond, "every body is closed")
				for _, h := range server.header {
					assert.Empty(t, h.Values("Transfer-Encoding"))
					assert.Empty(t, h.Values("Idempotency-Key"))
					assert.Empty(t, h.Values("X-Idempotency-Key"))
				}
			})
		}
	}
}

// The caller's request stays as it was, and the answer belongs to it.
func TestRequestsAreNotChanged(t *testing.T) {
	server := serve(t, protoHTTP2, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n < 3 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		write(w, 200, settings("a"))
	})
	req, err := http.NewRequestWithContext(t.Context(), "PUT", server.URL+"/api/v1/namespaces/default/configmaps/a?fieldManager=x", strings.NewReader("{}"))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	before, header, url, body := *req, req.Header.Clone(), *req.URL, req.Body
	resp, err := wrapper(t, quickly)(server.Client().Transport).RoundTrip(req)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	require.NoError(t, resp.Body.Close())
	assert.Same(t, req, resp.Request)
	assert.Equal(t, header, req.Header)
	assert.Equal(t, url, *req.URL)
	assert.Same(t, before.URL, req.URL)
	assert.Equal(t, body, req.Body)
	assert.Equal(t, before.ContentLength, req.ContentLength)
	assert.Equal(t, before.Context(), req.Context())
}

// The last answer is the server's, whatever was read of it: also one that is longer
// than what is looked at, and one that breaks off.
func TestLastAnswerIsTheServers(t *testing.T) {
	for size, cut := range map[int]bool{0: false, 100: false, 8 << 10: false, 100 << 10: false, 5000: true, 50_000: true} {
		t.Run(fmt.Sprint(size, cut), func(t *testing.T) {
			page := strings.Repeat("x", size)
			server := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, _ int) {
				w.Header().Set("Retry-After", "0")
				w.Header().Set("X-Trace", "1")
				w.Header().Set("Content-Type", "text/html")
				if cut {
					w.Header().Set("Content-Length", fmt.Sprint(size+1))
				}
				w.WriteHeader(http.StatusBadGateway)
				_, _ = io.WriteString(w, page)
				if cut {
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				}
			})
			client := &http.Client{Transport: wrapper(t, quickly)(server.Client().Transport)}
			resp, err := client.Get(server.URL + "/version")
			require.NoError(t, err)
			defer resp.Body.Close()
			assert.Equal(t, 502, resp.StatusCode)
			assert.Equal(t, "1", resp.Header.Get("X-Trace"))
			assert.Empty(t, resp.Header.Get("Retry-After"), "hidden until the body is read")
			got, err := io.ReadAll(resp.Body)
			if cut {
				assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
			} else {
				assert.NoError(t, err)
			}
			assert.Equal(t, page, string(got))
			assert.Equal(t, "0", resp.Header.Get("Retry-After"))
			assert.EqualValues(t, 4, server.sends.Load())
		})
	}
}

// 1,000 retried calls use no more connections than 1,000 plain ones.
func TestConnectionsAreReused(t *testing.T) {
	const calls = 1000
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			server := serve(t, proto, func(w http.ResponseWriter, _ *http.Request, n int) {
				if n%2 == 1 {
					w.WriteHeader(http.StatusServiceUnavailable)
					_, _ = io.WriteString(w, strings.Repeat("<html>", n%40*512)) // up to 120 KiB
					return
				}
				write(w, 200, settings("a"))
			})
			client := clientset(t, server.config(), wrapper(t, k8sretry.WithInitialDelay(0), k8sretry.WithLogger(nil)))
			for range calls {
				require.NoError(t, get(t.Context(), client))
			}
			assert.EqualValues(t, 2*calls, server.sends.Load())
			if proto == protoHTTP2 {
				assert.EqualValues(t, 1, server.conns.Load())
			} else {
				// What is longer than 72 KiB is cheaper to throw away than to read.
				assert.LessOrEqual(t, int(server.conns.Load()), calls/2)
			}
		})
	}
	t.Run("answers of the usual size", func(t *testing.T) {
		server := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, n int) {
			if n%2 == 1 {
				http.Error(w, strings.Repeat("<html>", 5<<10), http.StatusServiceUnavailable) // 30 KiB, chunked
				return
			}
			write(w, 200, settings("a"))
		})
		client := clientset(t, server.config(), wrapper(t, k8sretry.WithInitialDelay(0), k8sretry.WithLogger(nil)))
		for range calls {
			require.NoError(t, get(t.Context(), client))
		}
		assert.EqualValues(t, 1, server.conns.Load())
	})
}

// The end of a context ends the call at once, whatever it is waiting for, and the
// error tells both: the end, and what the server said before.
func TestTransportEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := over(t, func(req *http.Request) (*http.Response, error) {
			return answer(req, 503, "application/json", statusJSON(503, metav1.StatusReasonServiceUnavailable, "no")), nil
		}, wrapper(t, k8sretry.WithInitialDelay(time.Minute), k8sretry.WithMaxDelay(time.Minute)))

		reason := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(reason) })
		start := time.Now()
		err := get(ctx, client)
		assert.Equal(t, time.Second, time.Since(start))
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, reason)
		assert.True(t, apierrors.IsServiceUnavailable(err))

		// A deadline that the wait would pass is not waited for.
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		start = time.Now()
		err = get(ctx, client)
		assert.Zero(t, time.Since(start))
		assert.True(t, apierrors.IsServiceUnavailable(err))
		assert.NotErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestOverBeforeItBegins(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var closed atomic.Int32
	transport := wrapper(t)(roundTripper(func(*http.Request) (*http.Response, error) { panic("sent") }))
	req, err := http.NewRequestWithContext(ctx, "PUT", "https://server/api/v1/nodes/n", closing{strings.NewReader("{}"), &closed})
	require.NoError(t, err)
	_, err = transport.RoundTrip(req)
	assert.ErrorIs(t, err, context.Canceled)
	assert.EqualValues(t, 1, closed.Load())
}

func TestInvalidOptionsOfATransport(t *testing.T) {
	client := over(t, func(*http.Request) (*http.Response, error) { panic("sent") }, wrapper(t, k8sretry.WithMaxRetries(-1)))
	assert.ErrorContains(t, get(t.Context(), client), "WithMaxRetries(-1)")
}

// A request under way is given up at once, too.
func TestCancellationUnderWay(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			arrived := make(chan struct{})
			server := serve(t, proto, func(_ http.ResponseWriter, r *http.Request, _ int) {
				close(arrived)
				<-r.Context().Done()
			})
			client := clientset(t, server.config(), wrapper(t, quickly))
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-arrived
				cancel()
			}()
			assert.ErrorIs(t, get(ctx, client), context.Canceled)
			assert.EqualValues(t, 1, server.sends.Load())
		})
	}
}

// WithAttemptTimeout notices a server that accepts and never answers.
func TestTransportNoticesABlackHole(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			server := serve(t, proto, func(w http.ResponseWriter, r *http.Request, n int) {
				if n < 3 {
					<-r.Context().Done()
					panic(http.ErrAbortHandler) // to return would be a 200
				}
				write(w, 200, settings("a"))
			})
			client := clientset(t, server.config(), wrapper(t, quickly, k8sretry.WithAttemptTimeout(300*time.Millisecond)))
			require.NoError(t, get(t.Context(), client))
			assert.EqualValues(t, 3, server.sends.Load())
		})
	}
}

// Two Transports around one client do not multiply, and other wrappers are found.
func TestOtherWrappers(t *testing.T) {
	server := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusServiceUnavailable) })
	retrying := wrapper(t, quickly)
	client := clientset(t, server.config(), retrying, retrying)
	require.True(t, apierrors.IsServiceUnavailable(get(t.Context(), client)))
	assert.EqualValues(t, 4, server.sends.Load())

	base := &idle{}
	for _, next := range []http.RoundTripper{base, wrapper(t)(base), &opaque{base}} {
		transport := wrapper(t)(next)
		wrapped, ok := transport.(utilnet.RoundTripperWrapper)
		require.True(t, ok)
		assert.Equal(t, next, wrapped.WrappedRoundTripper())
		utilnet.CloseIdleConnectionsFor(transport)
	}
	assert.Equal(t, 3, base.closed)
	wrapper(t)(roundTripper(nil)).(interface{ CloseIdleConnections() }).CloseIdleConnections() // nobody to tell
}

type idle struct {
	http.RoundTripper
	closed int
}

func (i *idle) CloseIdleConnections() { i.closed++ }

type opaque struct{ next http.RoundTripper }

func (o *opaque) RoundTrip(req *http.Request) (*http.Response, error) { return o.next.RoundTrip(req) }
func (o *opaque) WrappedRoundTripper() http.RoundTripper              { return o.next }

// One Transport serves any number of goroutines.
func TestManyGoroutines(t *testing.T) {
	var seen sync.Map
	server := serve(t, protoHTTP2, func(w http.ResponseWriter, r *http.Request, _ int) {
		if _, again := seen.LoadOrStore(r.URL.Path, true); !again {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		write(w, 200, settings(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]))
	})
	client := clientset(t, server.config(), wrapper(t, quickly))
	require.NoError(t, get(t.Context(), client)) // one connection, not a thousand
	var all sync.WaitGroup
	var wrong atomic.Int32
	for i := range 1000 {
		all.Go(func() {
			name := fmt.Sprint("c", i)
			o, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), name, metav1.GetOptions{})
			if err != nil || o.Name != name {
				wrong.Add(1)
			}
		})
	}
	all.Wait()
	assert.Zero(t, wrong.Load())
	assert.EqualValues(t, 2002, server.sends.Load())
}

// Events name the call by verb and resource, and are those of a Do.
func TestEventsOfATransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		rec := new(recorder)
		client := over(t, func(req *http.Request) (*http.Response, error) {
			if n++; n == 1 {
				return answer(req, 429, "text/plain", "slow down", "Retry-After", "2"), nil
			}
			return answer(req, 404, "application/json", statusJSON(404, metav1.StatusReasonNotFound, "no")), nil
		}, wrapper(t, exact, k8sretry.WithObserver(rec)))
		err := client.CoreV1().Pods("default").Delete(t.Context(), "p", metav1.DeleteOptions{})
		require.True(t, apierrors.IsNotFound(err))
		require.Len(t, rec.events, 2)
		retry := rec.events[0]
		assert.Equal(t, "delete pods", retry.Function)
		assert.Equal(t, k8sretry.VerbDelete, retry.Verb)
		assert.Equal(t, 429, retry.StatusCode)
		assert.Equal(t, k8sretry.ClassThrottled, retry.Class)
		assert.Equal(t, 2*time.Second, retry.RetryAfter)
		assert.True(t, apierrors.HasStatusCause(retry.Err, metav1.CauseTypeUnexpectedServerResponse))
		failure := rec.events[1]
		assert.Equal(t, k8sretry.StopNonRetryable, failure.StopReason)
		assert.Equal(t, 404, failure.StatusCode)
	})
}

// What a webhook says may be long: the Status it is in is read to its end before anything
// is repeated, and handed on whole.
func TestLongStatusesAreJudged(t *testing.T) {
	const denied, unreachable = `admission webhook "a.b" denied the request: `, `Internal error occurred: failed calling webhook "a.b": `
	for _, c := range []struct {
		situation, message string
		size               int
		creates, updates   int32
	}{
		{"denied", denied, 100, 1, 1},
		{"denied at length", denied, 9_000, 1, 1},
		{"denied at great length", denied, 900_000, 1, 1},
		{"not reached", unreachable, 100, 3, 3},
		{"not reached at length", unreachable, 9_000, 3, 3},
	} {
		t.Run(c.situation, func(t *testing.T) {
			message := c.message + strings.Repeat("v", c.size)
			s := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, _ int) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(500)
				_, _ = io.WriteString(w, statusJSON(500, metav1.StatusReasonInternalError, message))
			})
			maps := clientset(t, s.config(), k8sretry.Transport(quickly, k8sretry.WithMaxRetries(2))).CoreV1().ConfigMaps("default")
			_, err := maps.Create(t.Context(), settings("a"), metav1.CreateOptions{})
			assert.ErrorContains(t, err, message)
			assert.Equal(t, c.creates, s.sends.Swap(0))
			_, err = maps.Update(t.Context(), settings("a"), metav1.UpdateOptions{})
			assert.ErrorContains(t, err, message)
			assert.Equal(t, c.updates, s.sends.Load())
			assert.Equal(t, int32(1), s.conns.Load(), "the connection was kept")
		})
	}
}

// A Transport did not read the body of a permanent answer, and called an object that does
// not exist a path that does not. It must understand an answer as client-go will.
func TestTransportNamesAFailureAsItsClientDoes(t *testing.T) {
	status := func(e *apierrors.StatusError) string {
		e.ErrStatus.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
		return string(mustJSON(e.ErrStatus))
	}
	for detail, c := range map[string]struct {
		code              int
		contentType, body string
	}{
		"not found":                                  {404, "application/json", status(apierrors.NewNotFound(pods, "web-0"))},
		"namespace not found":                        {404, "application/json;charset=utf-8", status(apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "a"))},
		"API not served":                             {404, "text/plain; charset=utf-8", "404 page not found\n"},
		"path not found":                             {404, "text/html", "<html>nothing here</html>"},
		"denied by a webhook":                        {400, "application/json", status(failure(400, "", `admission webhook "guard.example.com" denied the request: no`))},
		"request not accepted":                       {400, "text/plain", "no"},
		"invalid":                                    {422, "application/json", status(apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "web-0", field.ErrorList{field.Required(field.NewPath("spec"), "")}))},
		"JSON patch does not apply":                  {422, "application/json", status(apierrors.NewGenericServerResponse(422, "", schema.GroupResource{}, "", "test failed", 0, false))},
		"denied by an admission policy":              {401, "application/json", status(failure(401, metav1.StatusReasonUnauthorized, `pods "web-0" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no`))},
		"resource version or continue token expired": {410, "application/json", status(apierrors.NewResourceExpired("too old"))},
	} {
		t.Run(detail, func(t *testing.T) {
			seen := new(recorder)
			client := over(t, func(req *http.Request) (*http.Response, error) {
				return answer(req, c.code, c.contentType, c.body), nil
			}, wrapper(t, k8sretry.WithObserver(seen)))
			_, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "a", metav1.GetOptions{})
			require.Error(t, err)
			assert.Equal(t, detail, k8sretry.Classify(err).Detail, "what the client gets")
			assert.Equal(t, detail, seen.last(t).Detail, "what the Transport reports")
		})
	}
}
