// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/k8sretry/k8sretry"
)

// Without a Transport: what the hooks in net/http show.

// A write is not executed if no connection was obtained, and its outcome is unknown if one
// was and no response came.
func TestRecordOfConnections(t *testing.T) {
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	silent := func(r *http.Request) { <-r.Context().Done() }
	closes := func(*http.Request) { panic(http.ErrAbortHandler) }
	for _, c := range []struct {
		situation string
		verb      k8sretry.Verb
		dial      func(context.Context) error // before a connection is made
		handle    func(*http.Request)
		attempts  int
		unknown   bool
	}{
		{"a create whose dial hangs until the attempt timeout is repeated", k8sretry.VerbCreate, hangs, nil, 4, false},
		{"a create that reaches a server that never responds is not repeated", k8sretry.VerbCreate, nil, silent, 1, true},
		{"a create whose connection the server closes is not repeated", k8sretry.VerbCreate, nil, closes, 1, true},
		{"an update whose connection the server closes is repeated", k8sretry.VerbUpdate, nil, closes, 4, true},
		{"an update whose dial hangs is repeated", k8sretry.VerbUpdate, hangs, nil, 4, false},
	} {
		for _, proto := range []string{protoHTTP1, protoHTTP2} {
			t.Run(proto+", "+c.situation, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := serveInMemory(t, proto, func(_ http.ResponseWriter, r *http.Request, _ int) { c.handle(r) })
					client := server.Client()
					if c.dial != nil {
						client.Transport = transportInMemory(t, server.Certificate(), func(ctx context.Context, _, _ string) (net.Conn, error) {
							return nil, c.dial(ctx)
						})
					}
					attempts := 0
					err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
						attempts++
						return post(ctx, client, server.URL, "application/json")
					}, k8sretry.WithVerb(c.verb), k8sretry.WithInitialDelay(0), k8sretry.WithAttemptTimeout(time.Second))
					require.Error(t, err)
					assert.Equal(t, c.attempts, attempts)
					assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown))
				})
			})
		}
	}
}

// A JSON patch may append to a list, so it is not repeated with an unknown outcome, unlike
// other patches. What counts is the Content-Type, not the Accept.
func TestRecordOfPatchTypes(t *testing.T) {
	for _, c := range []struct {
		contentType, accept string
		sends               int
	}{
		{"application/json-patch+json", "", 1},
		{"application/json-patch+json; charset=utf-8", "", 1},
		{"application/merge-patch+json", "", 4},
		{"application/strategic-merge-patch+json", "", 4},
		{"application/merge-patch+json", "application/json-patch+json", 4},
	} {
		t.Run(c.contentType+" "+c.accept, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serveInMemory(t, protoHTTP1, func(http.ResponseWriter, *http.Request, int) { panic(http.ErrAbortHandler) })
				err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
					req, err := http.NewRequestWithContext(ctx, http.MethodPatch, server.URL, strings.NewReader("{}"))
					require.NoError(t, err)
					req.Header.Set("Content-Type", c.contentType)
					if c.accept != "" {
						req.Header.Set("Accept", c.accept)
					}
					resp, err := server.Client().Do(req)
					if err != nil {
						return err
					}
					return resp.Body.Close()
				}, k8sretry.WithVerb(k8sretry.VerbPatch), k8sretry.WithInitialDelay(0))
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.EqualValues(t, c.sends, server.sends.Load())
			})
		})
	}
}

// A 429 means that the request was not executed: any request is repeated.
func TestRecordOfAThrottledJSONPatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serveInMemory(t, protoHTTP1, func(http.ResponseWriter, *http.Request, int) {})
		n := 0
		err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
			if err := post(ctx, server.Client(), server.URL, "application/json-patch+json"); err != nil {
				return err
			}
			if n++; n == 1 {
				return tooMany(0)
			}
			return nil
		}, k8sretry.WithVerb(k8sretry.VerbPatch), k8sretry.WithInitialDelay(0))
		require.NoError(t, err)
		assert.EqualValues(t, 2, server.sends.Load())
	})
}

// replayed is a server that stores the first write and answers it with 503, on a connection
// that it closes, so that client-go repeats the write at once and forgets the answer. The
// client's second request fails before it is sent, with what again returns.
func replayed(t *testing.T, next func(http.ResponseWriter), again func(context.Context) (net.Conn, error)) (*api, *rest.Config) {
	server := serveInMemory(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n > 1 {
			next(w)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Retry-After", "0")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	dials := 0
	cfg := server.config()
	cfg.Transport = transportInMemory(t, server.Certificate(), func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials++; dials == 2 && again != nil {
			return again(ctx)
		}
		return server.dial(ctx, network, addr)
	})
	return server, cfg
}

func created(w http.ResponseWriter) { write(w, http.StatusCreated, settings("a-1")) }

// failingReplays are the ways in which a request fails before it is sent.
var failingReplays = map[string]func(context.Context) (net.Conn, error){
	"a dial that times out":     dialFails("dial", os.ErrDeadlineExceeded),
	"a refused dial":            dialFails("dial", syscall.ECONNREFUSED),
	"a host without a route":    dialFails("dial", syscall.EHOSTUNREACH),
	"a host that is not found":  dialFails("dial", &net.DNSError{Err: "no such host", Name: "server", IsNotFound: true}),
	"a DNS server that fails":   dialFails("dial", &net.DNSError{Err: "server misbehaving", Name: "server", IsTemporary: true}),
	"a DNS server that is late": dialFails("dial", &net.DNSError{Err: "i/o timeout", Name: "server", IsTimeout: true}),
	"a proxy that is down":      dialFails("proxyconnect", syscall.ECONNREFUSED),
	"a proxy that rejects":      dialFails("proxyconnect", errors.New(http.StatusText(http.StatusServiceUnavailable))),
	"a SOCKS proxy that fails":  dialFails("socks connect", errors.New("general SOCKS server failure")),
	"a TLS alert":               dialFails("remote error", errors.New("tls: handshake failure")),
	"an unknown certificate": func(context.Context) (net.Conn, error) {
		return nil, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	},
	"a TLS handshake that ends": func(context.Context) (net.Conn, error) {
		in, out := newMemoryHalf(), newMemoryHalf()
		in.ended = true
		return &memoryConn{in: in, out: out}, nil
	},
	"a TLS handshake that hangs": func(context.Context) (net.Conn, error) {
		return &memoryConn{in: newMemoryHalf(), out: newMemoryHalf()}, nil
	},
	"a dial that hangs":                       func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
	"a connection that HTTP/2 did not set up": func(context.Context) (net.Conn, error) { return nil, errors.New("http2: client conn not usable") },
}

func dialFails(op string, err error) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) { return nil, &net.OpError{Op: op, Net: "tcp", Err: err} }
}

// client-go repeats a write by itself and forgets the first answer. That the last request was
// not sent says nothing about the first one.
func TestRecordOfAReplayThatIsNotSent(t *testing.T) {
	generated := settings("")
	generated.GenerateName = "a-"
	appends := []byte(`[{"op":"add","path":"/data/list/-","value":"1"}]`)
	for name, call := range map[string]func(context.Context, kubernetes.Interface) error{
		"create": func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("default").Create(ctx, generated, metav1.CreateOptions{})
			return err
		},
		"patch": func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("default").Patch(ctx, "a", types.JSONPatchType, appends, metav1.PatchOptions{})
			return err
		},
	} {
		verb := map[string]k8sretry.Verb{"create": k8sretry.VerbCreate, "patch": k8sretry.VerbPatch}[name]
		for situation, again := range failingReplays {
			t.Run(name+", "+situation, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server, cfg := replayed(t, created, again)
					client := clientset(t, cfg)
					err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return call(ctx, client) },
						quickly, k8sretry.WithVerb(verb), k8sretry.WithAttemptTimeout(time.Minute))
					requireUnknown(t, err)
					assert.EqualValues(t, 1, server.sends.Load())
				})
			})
		}
	}
	for _, wait := range []error{errors.New("rate: Wait(n=1) would exceed context deadline"), context.Canceled, context.DeadlineExceeded} {
		t.Run("the rate limiter of the client, "+wait.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, cfg := replayed(t, created, nil)
				cfg.RateLimiter = &limiterWithOnePlace{RateLimiter: flowcontrol.NewFakeAlwaysRateLimiter(), then: wait}
				client, err := kubernetes.NewForConfig(cfg)
				require.NoError(t, err)
				err = k8sretry.Run(t.Context(), func(ctx context.Context) error {
					_, err := client.CoreV1().ConfigMaps("default").Create(ctx, generated, metav1.CreateOptions{})
					return err
				}, quickly, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithAttemptTimeout(time.Minute))
				requireUnknown(t, err)
				assert.EqualValues(t, 1, server.sends.Load())
			})
		})
	}
	t.Run("the credential plugin", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server, cfg := replayed(t, created, nil)
			runs := 0
			client := clientset(t, cfg, func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(req *http.Request) (*http.Response, error) {
					if runs++; runs == 2 {
						return nil, errors.New("getting credentials: exec: executable plugin failed with exit code 1")
					}
					return next.RoundTrip(req)
				})
			})
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
				_, err := client.CoreV1().ConfigMaps("default").Create(ctx, generated, metav1.CreateOptions{})
				return err
			}, quickly, k8sretry.WithVerb(k8sretry.VerbCreate))
			requireUnknown(t, err)
			assert.EqualValues(t, 1, server.sends.Load())
		})
	})
}

// limiterWithOnePlace fails for the second request.
type limiterWithOnePlace struct {
	flowcontrol.RateLimiter
	then  error
	waits int
}

func (l *limiterWithOnePlace) Wait(context.Context) error {
	if l.waits++; l.waits == 2 {
		return l.then
	}
	return nil
}

// What this very connection has refused was not executed, unless a write before was answered.
func TestRecordOfARefusedStream(t *testing.T) {
	for _, c := range []struct {
		situation string
		frame     func(f *http2.Framer, stream uint32)
	}{
		{"REFUSED_STREAM", func(f *http2.Framer, stream uint32) { _ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream) }},
		{"GOAWAY below the stream", func(f *http2.Framer, _ uint32) { _ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) }},
	} {
		for _, answered := range []bool{false, true} {
			t.Run(fmt.Sprint(c.situation, ", after an answer: ", answered), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := frameServer(t, func(f *http2.Framer, _ net.Conn, stream uint32, n int) {
						switch {
						case n == 1 && answered:
							respond(f, stream, "503", "", "retry-after", "0")
						case n <= 12:
							c.frame(f, stream)
						default:
							respondOK(f, stream)
						}
					})
					client := clientset(t, server.cfg)
					err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
						_, err := client.CoreV1().ConfigMaps("default").Create(ctx, settings("a"), metav1.CreateOptions{})
						return err
					}, quickly, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithMaxRetries(15))
					if answered {
						requireUnknown(t, err)
					} else {
						require.NoError(t, err)
					}
				})
			})
		}
	}
}

// After a replay of client-go an answer may be about the object that the first request has
// made. A read before the write is no replay.
func TestRecordOfAnAnswerToAReplay(t *testing.T) {
	answers := func(code int, reason metav1.StatusReason, message string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, statusJSON(code, reason, message))
		}
	}
	for _, c := range []struct {
		situation string
		answer    func(http.ResponseWriter)
		is        func(error) bool
		unknown   bool
	}{
		{"already exists", answers(409, metav1.StatusReasonAlreadyExists, `configmaps "a" already exists`), apierrors.IsAlreadyExists, true},
		{"not found", answers(404, metav1.StatusReasonNotFound, `configmaps "a" not found`), apierrors.IsNotFound, true},
		{"conflict", answers(409, metav1.StatusReasonConflict, "the object has been modified"), apierrors.IsConflict, true},
		{"a quota", answers(403, metav1.StatusReasonForbidden, `configmaps "a" is forbidden: exceeded quota: q`), apierrors.IsForbidden, true},
		{"an address that the first request has allocated", answers(422, metav1.StatusReasonInvalid, "failed to allocate IP 10.0.0.10: provided IP is already allocated"), apierrors.IsInvalid, true},
		{"invalid", answers(422, metav1.StatusReasonInvalid, "spec.type: Required value"), apierrors.IsInvalid, false},
		{"a 429 that asks for no wait, so that what client-go has repeated was another answer", answers(429, metav1.StatusReasonTooManyRequests, "slow down"), apierrors.IsTooManyRequests, true},
		// The assumption was that only a permanent answer can follow one that client-go has repeated.
		{"a webhook that cannot be called", answers(500, metav1.StatusReasonInternalError, `Internal error occurred: failed calling webhook "w": refused`), apierrors.IsInternalError, true},
		{"a server that shuts down", answers(503, metav1.StatusReasonServiceUnavailable, "apiserver is shutting down."), apierrors.IsServiceUnavailable, true},
		{"a disruption budget", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusTooManyRequests)
			spent := budgetSpent().(*apierrors.StatusError).ErrStatus
			spent.Kind = "Status"
			_ = json.NewEncoder(w).Encode(spent)
		}, apierrors.IsTooManyRequests, true},
		{"not authorized", answers(403, metav1.StatusReasonForbidden, `configmaps is forbidden: User "a" cannot create`), apierrors.IsForbidden, false},
		{"not authenticated", answers(401, metav1.StatusReasonUnauthorized, "Unauthorized"), apierrors.IsUnauthorized, false},
		{"malformed", answers(400, metav1.StatusReasonBadRequest, "malformed"), apierrors.IsBadRequest, false},
	} {
		for _, verb := range []k8sretry.Verb{k8sretry.VerbCreate, k8sretry.VerbUpdate, k8sretry.VerbDelete} {
			for _, replays := range []bool{true, false} {
				t.Run(fmt.Sprint(verb, ", ", c.situation, ", after a replay: ", replays), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						server, cfg := replayed(t, c.answer, nil)
						if !replays {
							cfg = serveInMemory(t, protoHTTP2, func(w http.ResponseWriter, r *http.Request, _ int) {
								if r.Method == http.MethodGet {
									write(w, http.StatusOK, settings("a"))
									return
								}
								c.answer(w)
							}).config()
						}
						client := clientset(t, cfg)
						err := k8sretry.Run(t.Context(), func(ctx context.Context) (err error) {
							maps := client.CoreV1().ConfigMaps("default")
							if !replays {
								require.NoError(t, get(ctx, client))
							}
							switch verb {
							case k8sretry.VerbCreate:
								_, err = maps.Create(ctx, settings("a"), metav1.CreateOptions{})
							case k8sretry.VerbUpdate:
								_, err = maps.Update(ctx, settings("a"), metav1.UpdateOptions{})
							default:
								err = maps.Delete(ctx, "a", metav1.DeleteOptions{})
							}
							return err
						}, quickly, k8sretry.WithVerb(verb))
						assert.True(t, c.is(err), "%v", err)
						assert.Equal(t, c.unknown && replays, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
						if replays && verb == k8sretry.VerbCreate {
							assert.EqualValues(t, 2, server.sends.Load(), "both by client-go")
						}
					})
				})
			}
		}
	}
}

// The assumption was that an object which is invalid was so before. A JSON patch that is applied twice
// may make it so.
func TestRecordOfAnInvalidReplayOfAJSONPatch(t *testing.T) {
	const appends, merges = `[{"op":"add","path":"/spec/ports/-","value":{"port":80}}]`, `{"spec":{"a":1}}`
	invalid := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, statusJSON(422, metav1.StatusReasonInvalid, "spec.ports[1]: Duplicate value"))
	}
	for _, c := range []struct {
		situation, body string
		kind            types.PatchType
		unknown         bool
	}{
		{"a JSON patch", appends, types.JSONPatchType, true},
		{"a merge patch", merges, types.MergePatchType, false},
	} {
		call := func(ctx context.Context, client kubernetes.Interface) error {
			_, err := client.CoreV1().Services("default").Patch(ctx, "a", c.kind, []byte(c.body), metav1.PatchOptions{})
			return err
		}
		t.Run(c.situation+", by client-go", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, cfg := replayed(t, invalid, nil)
				client := clientset(t, cfg)
				err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return call(ctx, client) }, quickly, k8sretry.WithVerb(k8sretry.VerbPatch))
				assert.True(t, apierrors.IsInvalid(err))
				assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
			})
		})
		t.Run(c.situation+", below a Transport", func(t *testing.T) {
			server := serve(t, protoHTTP2, func(w http.ResponseWriter, _ *http.Request, n int) {
				if n%2 == 1 {
					w.WriteHeader(http.StatusBadGateway) // carried out
					return
				}
				invalid(w)
			})
			client := clientset(t, server.config(), repeatsBadGateways, wrapper(t, quickly))
			assert.Equal(t, c.unknown, errors.Is(call(t.Context(), client), k8sretry.ErrOutcomeUnknown), "the Transport alone")
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return call(ctx, client) }, quickly, k8sretry.WithVerb(k8sretry.VerbPatch))
			assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown), "a Do on it")
		})
	}
}

// The assumption was that a write has a Content-Type. A POST without a body has none, such as one
// that restarts something.
func TestRecordOfAnAnswerToAReplayWithoutABody(t *testing.T) {
	for _, protocol := range []string{protoHTTP1, protoHTTP2} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serveInMemory(t, protocol, func(w http.ResponseWriter, _ *http.Request, n int) {
					if n == 1 {
						w.Header().Set("Retry-After", "0")
						w.WriteHeader(http.StatusServiceUnavailable) // carried out
						return
					}
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(http.StatusConflict)
					_, _ = io.WriteString(w, statusJSON(409, metav1.StatusReasonConflict, "it restarts already"))
				})
				client := clientset(t, server.config())
				err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
					return client.CoreV1().RESTClient().Post().Resource("machines").Name("m").SubResource("restart").Do(ctx).Error()
				}, quickly, k8sretry.WithVerb(k8sretry.VerbCreate))
				requireUnknown(t, err)
				assert.EqualValues(t, 2, server.sends.Load())
			})
		})
	}
}

// The caller's own error says nothing about a request.
func TestRecordOfAnErrorOfTheCaller(t *testing.T) {
	own := errors.New("not ready")
	synctest.Test(t, func(t *testing.T) {
		client := clientset(t, serveInMemory(t, protoHTTP2, func(w http.ResponseWriter, _ *http.Request, _ int) {
			write(w, http.StatusOK, settings("a"))
		}).config())
		for _, err := range []error{own, k8sretry.Permanent(own)} {
			got := k8sretry.Run(t.Context(), func(ctx context.Context) error {
				require.NoError(t, get(ctx, client))
				return err
			}, quickly, k8sretry.WithVerb(k8sretry.VerbUpdate))
			assert.Same(t, own, got)
		}
	})
}

// A fake clientset never looks for a connection, which proves nothing.
func TestRecordOfAFake(t *testing.T) {
	s := fails(network("read", 104))
	_, err := k8sretry.Do(t.Context(), s.get, k8sretry.WithVerb(k8sretry.VerbCreate))
	assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
	assert.Equal(t, 1, s.attempts())
}

// The hooks of the caller are called once for each attempt.
func TestRecordCallsTheHooksOfTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serveInMemory(t, protoHTTP1, func(http.ResponseWriter, *http.Request, int) { panic(http.ErrAbortHandler) })
		var got atomic.Int32
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { got.Add(1) }})
		attempts := 0
		_ = k8sretry.Run(ctx, func(ctx context.Context) error {
			attempts++
			return post(ctx, server.Client(), server.URL, "application/json")
		}, k8sretry.WithVerb(k8sretry.VerbUpdate), k8sretry.WithInitialDelay(0))
		assert.Equal(t, 4, attempts)
		assert.EqualValues(t, attempts, got.Load())
	})
}

// net/http may call a hook after the attempt, and after the call.
func TestRecordWithLateHooks(t *testing.T) {
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GetConn: func(string) {}})
	var all sync.WaitGroup
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		all.Go(func() {
			for range 1000 {
				httptrace.ContextClientTrace(ctx).GetConn("a late dial")
			}
		})
		return tooMany(0)
	}, k8sretry.WithVerb(k8sretry.VerbUpdate), k8sretry.WithInitialDelay(0))
	all.Wait()
}

// net/http follows a 301, 302 or 303 with a GET. The assumption was that what the function
// returns is about the write, but it is about that GET: whether that succeeds or fails.
func TestRecordOfAWriteThatBecameAGet(t *testing.T) {
	const plain = "HTTP/1.1 without TLS"
	start := func(t *testing.T, proto string, handle http.HandlerFunc) (url string, cfg *rest.Config) {
		if proto == plain {
			server := httptest.NewServer(handle)
			t.Cleanup(server.Close)
			return server.URL, &rest.Config{Host: server.URL}
		}
		server := serve(t, proto, func(w http.ResponseWriter, r *http.Request, _ int) { handle(w, r) })
		return server.URL, server.config()
	}
	for _, proto := range []string{plain, protoHTTP1, protoHTTP2} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			for _, found := range []int{200, 404} {
				t.Run(fmt.Sprintf("%s, %d to a %d", proto, code, found), func(t *testing.T) {
					var requests atomic.Int32
					_, cfg := start(t, proto, func(w http.ResponseWriter, r *http.Request) {
						switch requests.Add(1); {
						case !strings.HasPrefix(r.URL.Path, "/elsewhere"):
							http.Redirect(w, r, "/elsewhere"+r.URL.Path, code)
						case found == 404:
							write(w, 404, apierrors.NewNotFound(podResource, "a").Status())
						default:
							write(w, 200, settings("a"))
						}
					})
					client := clientset(t, cfg).CoreV1()
					maps := client.ConfigMaps("default")
					changed := settings("a")
					changed.Labels = map[string]string{"changed": "yes"}
					patch := []byte(`{"data":{"a":"b"}}`)
					for name, call := range map[string]func() error{
						"Do of a create": func() error {
							_, err := k8sretry.Do(t.Context(), func(ctx context.Context) (*corev1.ConfigMap, error) {
								return maps.Create(ctx, settings("a"), metav1.CreateOptions{})
							}, quickly, k8sretry.WithVerb(k8sretry.VerbCreate))
							return err
						},
						"Wrap2 of an update": func() error {
							_, err := k8sretry.Wrap2(maps.Update, quickly)(t.Context(), settings("a"), metav1.UpdateOptions{})
							return err
						},
						"WrapRun2 of a delete": func() error {
							return k8sretry.WrapRun2(maps.Delete, quickly)(t.Context(), "a", metav1.DeleteOptions{})
						},
						"WrapRun1 of an eviction": func() error {
							return k8sretry.WrapRun1(client.Pods("default").EvictV1, quickly)(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default"}})
						},
						"Run of a patch, after a read": func() error {
							return k8sretry.Run(t.Context(), func(ctx context.Context) error {
								if _, err := maps.Get(ctx, "a", metav1.GetOptions{}); err != nil && found == 200 {
									return err
								}
								_, err := maps.Patch(ctx, "a", types.MergePatchType, patch, metav1.PatchOptions{})
								return err
							}, quickly, k8sretry.WithVerb(k8sretry.VerbPatch))
						},
						"Patch": func() error {
							_, err := k8sretry.Patch(t.Context(), maps, "a", types.MergePatchType, patch, metav1.PatchOptions{}, quickly)
							return err
						},
						"Update": func() error {
							_, err := k8sretry.Update(t.Context(), maps, changed, metav1.UpdateOptions{}, quickly)
							return err
						},
						"Delete": func() error {
							return k8sretry.Delete(t.Context(), maps, settings("a"), metav1.DeleteOptions{}, quickly)
						},
					} {
						err := call()
						switch {
						case code < 307:
							require.ErrorIs(t, err, k8sretry.ErrRedirected, name)
							require.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown, name)
							assert.False(t, apierrors.IsNotFound(err), "%s: the GET was answered so, not the write", name)
						case found == 404:
							assert.True(t, apierrors.IsNotFound(err), "%s: %v", name, err)
							assert.NotErrorIs(t, err, k8sretry.ErrRedirected, name)
						default:
							assert.NoError(t, err, name)
						}
					}
				})
			}
		}
	}
}

// A read that is redirected is one, also behind a write of the same attempt, and with a Referer
// of the client's own.
func TestRecordOfARedirectedReadBesideAWrite(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		for _, referer := range []string{"", "own"} {
			t.Run(proto+referer, func(t *testing.T) {
				server := serve(t, proto, func(w http.ResponseWriter, r *http.Request, _ int) {
					if r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, "/elsewhere") {
						http.Redirect(w, r, "/elsewhere"+r.URL.Path, http.StatusFound)
						return
					}
					write(w, 200, settings("a"))
				})
				cfg := server.config()
				if referer != "" {
					cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
						return roundTripper(func(req *http.Request) (*http.Response, error) {
							req = req.Clone(req.Context())
							req.Header.Set("Referer", server.URL+"/")
							return next.RoundTrip(req)
						})
					})
				}
				maps := clientset(t, cfg).CoreV1().ConfigMaps("default")
				err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
					_, first := maps.Get(ctx, "a", metav1.GetOptions{})
					_, err := maps.Update(ctx, settings("a"), metav1.UpdateOptions{})
					_, second := maps.Get(ctx, "a", metav1.GetOptions{})
					return errors.Join(first, err, second)
				}, quickly, k8sretry.WithVerb(k8sretry.VerbUpdate))
				assert.NoError(t, err)
			})
		}
	}
}

func TestRecordAllocations(t *testing.T) {
	k8sretry.ForgetTransports()
	for verb, want := range map[k8sretry.Verb]float64{k8sretry.VerbCreate: 6, k8sretry.VerbUpdate: 6, k8sretry.VerbPatch: 6, k8sretry.VerbDelete: 6} {
		got := testing.AllocsPerRun(100, func() {
			_ = k8sretry.Run(t.Context(), func(context.Context) error { return nil }, k8sretry.WithVerb(verb))
		})
		assert.LessOrEqual(t, got, want, verb)
	}
}

// With a Transport below a Do: what the requests of an attempt show.

// An attempt that sends two writes is not repeated if the first one was executed or may
// have been, even if the second one was not.
func TestRecordOfTwoWrites(t *testing.T) {
	lost := func(text string) error { return errors.New(text) }
	for _, c := range []struct {
		situation string
		code      int   // of the first response
		err       error // instead of the first response
		unknown   bool
	}{
		{"executed", 201, nil, true},
		{"throttled", 429, nil, false},
		{"timed out", 504, nil, true},
		{"EOF", 0, io.EOF, true},
		{"unexpected EOF", 0, io.ErrUnexpectedEOF, true},
		{"connection lost", 0, lost("http2: client connection lost"), true},
		{"idle connection closed", 0, lost("http: server closed idle connection"), true},
		{"no headers in time", 0, lost("net/http: timeout awaiting response headers"), true},
		{"an unknown error", 0, lost("something odd"), true},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sends := 0
				client := over(t, func(req *http.Request) (*http.Response, error) {
					switch sends++; {
					case sends%2 == 0:
						return answer(req, 429, "application/json", statusJSON(429, "TooManyRequests", "slow down")), nil
					case c.err != nil:
						return nil, c.err
					case c.code == 201:
						return answer(req, 201, "application/json", string(mustJSON(settings("a")))), nil
					}
					return answer(req, c.code, "text/plain", ""), nil
				}, wrapper(t))
				attempts := 0
				err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
					attempts++
					maps := client.CoreV1().ConfigMaps("default")
					_, _ = maps.Create(ctx, settings("a"), metav1.CreateOptions{})
					_, err := maps.Create(ctx, settings("b"), metav1.CreateOptions{})
					return err
				}, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithMaxRetries(1), k8sretry.WithLogger(nil))
				require.True(t, apierrors.IsTooManyRequests(err))
				assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown))
				if c.unknown {
					assert.Equal(t, 1, attempts)
				} else {
					assert.Equal(t, 2, attempts)
				}
				assert.Equal(t, 2*attempts, sends)
			})
		})
	}
}

// Without a verb, k8sretry assumes that the call is safe to repeat. What the request shows
// to be unsafe is not repeated.
func TestRecordOfUnsafeRequestsWithoutAVerb(t *testing.T) {
	named := settings("a")
	generated := named.DeepCopy()
	generated.Name, generated.GenerateName = "", "a-"
	for _, c := range []struct {
		situation string
		call      func(context.Context, kubernetes.Interface) error
		sends     int
	}{
		{"a create with a name", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("default").Create(ctx, named, metav1.CreateOptions{})
			return err
		}, 3},
		{"a create with a generated name", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("default").Create(ctx, generated, metav1.CreateOptions{})
			return err
		}, 1},
		{"a JSON patch without a test", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("default").Patch(ctx, "a", types.JSONPatchType, []byte(`[{"op":"add","path":"/data/a","value":"1"}]`), metav1.PatchOptions{})
			return err
		}, 1},
	} {
		t.Run(c.situation, func(t *testing.T) {
			server := serve(t, protoHTTP2, func(w http.ResponseWriter, _ *http.Request, _ int) { reset(w) })
			client := clientset(t, server.config(), wrapper(t, quickly))
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return c.call(ctx, client) }, quickly, k8sretry.WithMaxRetries(2))
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.EqualValues(t, c.sends, server.sends.Load())
		})
	}
}

// A review stores nothing: it is repeated after any failure, and its outcome is known.
func TestRecordOfReviews(t *testing.T) {
	server := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, _ int) { reset(w) })
	client := clientset(t, server.config(), wrapper(t, quickly))
	review := func(ctx context.Context) error {
		return client.AuthorizationV1().RESTClient().Post().Resource("selfsubjectaccessreviews").Body([]byte("{}")).Do(ctx).Error()
	}
	err := k8sretry.Run(t.Context(), review, quickly, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithMaxRetries(2))
	assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
	assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
	assert.EqualValues(t, 3, server.sends.Load())
}

// A redirect that keeps the method is not a response: what the last server says counts.
func TestRecordOfARedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		client := over(t, func(req *http.Request) (*http.Response, error) {
			switch sends++; sends {
			case 1, 3:
				return answer(req, 307, "text/plain", "", "Location", "https://server2"+req.URL.Path), nil
			case 2:
				return answer(req, 429, "application/json", statusJSON(429, "TooManyRequests", "slow down")), nil
			}
			return answer(req, 201, "application/json", string(mustJSON(settings("a")))), nil
		}, wrapper(t))
		_, err := k8sretry.Do(t.Context(), func(ctx context.Context) (*corev1.ConfigMap, error) {
			return client.CoreV1().ConfigMaps("default").Create(ctx, configMap("a"), metav1.CreateOptions{})
		}, k8sretry.WithVerb(k8sretry.VerbCreate))
		assert.NoError(t, err)
		assert.Equal(t, 4, sends)
	})
}

// A redirect that keeps the method is followed by net/http as another request. After an attempt
// that may have been carried out, its answer could be the effect of that attempt.
func TestRecordOfARedirectAfterALostAnswer(t *testing.T) {
	for _, code := range []int{http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sends := 0
				client := over(t, func(req *http.Request) (*http.Response, error) {
					switch sends++; sends {
					case 1:
						return answer(req, 502, "text/html", "bad gateway"), nil // carried out
					case 2:
						return answer(req, code, "text/plain", "", "Location", "https://server2"+req.URL.Path), nil
					}
					return answer(req, 409, "application/json", statusJSON(409, "Conflict", "the object has been modified")), nil
				}, wrapper(t))
				_, err := client.CoreV1().ConfigMaps("default").Update(t.Context(), settings("a"), metav1.UpdateOptions{})
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.Equal(t, 2, sends)
			})
		})
	}
}

// A RoundTripper below a Transport repeats a write by itself. Its last answer may be the effect
// of the first request.
func TestRecordOfARepetitionBelowATransport(t *testing.T) {
	type call = func(ctx context.Context, c kubernetes.Interface) error
	update := func(ctx context.Context, c kubernetes.Interface) error {
		_, err := c.CoreV1().ConfigMaps("default").Update(ctx, settings("a"), metav1.UpdateOptions{})
		return err
	}
	create := func(ctx context.Context, c kubernetes.Interface) error {
		o := settings("a")
		o.UID, o.ResourceVersion = "", ""
		_, err := c.CoreV1().ConfigMaps("default").Create(ctx, o, metav1.CreateOptions{})
		return err
	}
	for _, tt := range []struct {
		situation string
		call      call
		code      int
		reason    metav1.StatusReason
		unknown   bool
	}{
		{"an update, then a conflict", update, 409, "Conflict", true},
		{"a create, then a taken name", create, 409, "AlreadyExists", true},
		{"an update, then a 429", update, 429, "TooManyRequests", true},
		{"an update, then no answer", update, 0, "", true},
		{"an update, then an answer that the first request would have got, too", update, 422, "Invalid", false},
	} {
		for _, protocol := range []string{protoHTTP1, protoHTTP2} {
			t.Run(tt.situation+", "+protocol, func(t *testing.T) {
				server := serve(t, protocol, func(w http.ResponseWriter, _ *http.Request, n int) {
					if n%2 == 1 {
						w.WriteHeader(http.StatusBadGateway) // carried out
						return
					}
					if tt.code == 0 {
						panic(http.ErrAbortHandler)
					}
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(tt.code)
					_, _ = io.WriteString(w, statusJSON(tt.code, tt.reason, "no"))
				})
				client := clientset(t, server.config(), repeatsBadGateways, wrapper(t, quickly, k8sretry.WithMaxRetries(0)))
				assert.Equal(t, tt.unknown, errors.Is(tt.call(t.Context(), client), k8sretry.ErrOutcomeUnknown), "the Transport alone")
				err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return tt.call(ctx, client) },
					quickly, k8sretry.WithMaxRetries(0), k8sretry.WithVerb(k8sretry.VerbCreate))
				assert.Equal(t, tt.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown), "a Do on it")
				assert.EqualValues(t, 4, server.sends.Load())
			})
		}
	}
}

// repeatsBadGateways is a RoundTripper that repeats each request once that is answered by a 502.
func repeatsBadGateways(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusBadGateway {
			return resp, err
		}
		_ = resp.Body.Close()
		again := req.Clone(req.Context())
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
		return next.RoundTrip(again)
	})
}

// A create whose name is taken because something below the Transport has repeated it must not
// draw another name.
func TestRecordOfARepetitionBelowASafeWrite(t *testing.T) {
	names := map[string]bool{}
	server := serve(t, protoHTTP2, func(w http.ResponseWriter, r *http.Request, n int) {
		var o corev1.ConfigMap
		if r.Method == http.MethodGet {
			o = *settings(path.Base(r.URL.Path))
			write(w, 200, &o)
			return
		}
		_ = json.NewDecoder(r.Body).Decode(&o)
		if !names[o.Name] {
			names[o.Name] = true
			w.WriteHeader(http.StatusBadGateway) // carried out
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, statusJSON(409, "AlreadyExists", "taken"))
	})
	cfg := server.config()
	cfg.ContentType = "application/json"
	client := clientset(t, cfg, repeatsBadGateways, wrapper(t, quickly))
	o := settings("")
	o.Name, o.UID, o.ResourceVersion, o.GenerateName = "", "", "", "a-"
	_, err := k8sretry.Create(t.Context(), client.CoreV1().ConfigMaps("default"), o, metav1.CreateOptions{}, quickly)
	require.NoError(t, err)
	assert.Len(t, names, 1, "objects")
}

// A Transport does not see what the function sends with another client, which may have
// been executed.
func TestRecordOfAClientWithoutATransport(t *testing.T) {
	for name, down := range map[string]bool{"then 429": false, "then refused": true} {
		t.Run(name, func(t *testing.T) {
			first := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, _ int) { write(w, 201, settings("a")) })
			second := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusTooManyRequests) })
			if down {
				second.Close()
			}
			without, with := clientset(t, first.config()), clientset(t, second.config(), wrapper(t, quickly))
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
				if _, err := without.CoreV1().ConfigMaps("default").Create(ctx, configMap("a"), metav1.CreateOptions{}); err != nil {
					return err
				}
				_, err := with.CoreV1().ConfigMaps("default").Create(ctx, configMap("b"), metav1.CreateOptions{})
				return err
			}, quickly, k8sretry.WithVerb(k8sretry.VerbCreate))
			require.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.EqualValues(t, 1, first.sends.Load())
		})
	}
	t.Run("one client", func(t *testing.T) {
		s := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, n int) {
			if n == 1 {
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			write(w, 201, settings("a"))
		})
		client := clientset(t, s.config(), wrapper(t, quickly))
		err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
			_, err := client.CoreV1().ConfigMaps("default").Create(ctx, configMap("a"), metav1.CreateOptions{})
			return err
		}, quickly, k8sretry.WithVerb(k8sretry.VerbCreate))
		require.NoError(t, err)
		assert.EqualValues(t, 2, s.sends.Load())
	})
}

// The record ends with its call: an informer that was started in a Do keeps its context,
// and a Transport repeats the informer's requests as all others.
func TestRecordEndsWithItsCall(t *testing.T) {
	server := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n%2 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		write(w, 200, settings("a"))
	})
	client := clientset(t, server.config(), wrapper(t, quickly))
	kept, err := k8sretry.Do(t.Context(), func(ctx context.Context) (context.Context, error) { return ctx, nil })
	require.NoError(t, err)
	require.NoError(t, get(kept, client))
	assert.EqualValues(t, 2, server.sends.Load())
}

// In the loop of a Transport.

// A create is repeated if no connection was obtained within the attempt timeout, and not if
// the server never responds.
func TestRecordOfConnectionsInATransport(t *testing.T) {
	for _, c := range []struct {
		situation string
		hangs     bool
		attempts  int
		unknown   bool
	}{
		{"the dial hangs", true, 4, false},
		{"the server never responds", false, 4, true}, // a create is repeated by the name of its object
	} {
		for _, proto := range []string{protoHTTP1, protoHTTP2} {
			t.Run(proto+", "+c.situation, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := serveInMemory(t, proto, func(_ http.ResponseWriter, r *http.Request, _ int) { <-r.Context().Done() })
					var dials atomic.Int32
					cfg := server.config()
					cfg.Transport = transportInMemory(t, server.Certificate(), func(ctx context.Context, network, addr string) (net.Conn, error) {
						dials.Add(1)
						if c.hangs {
							<-ctx.Done()
							return nil, ctx.Err()
						}
						return server.dial(ctx, network, addr)
					})
					client := clientset(t, cfg, wrapper(t, quickly, k8sretry.WithAttemptTimeout(time.Second)))
					_, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), settings("a"), metav1.CreateOptions{})
					require.Error(t, err)
					if c.hangs || proto == protoHTTP1 { // HTTP/2 keeps its connection
						assert.EqualValues(t, c.attempts, dials.Load())
					}
					assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
				})
			})
		}
	}
}

// If an earlier attempt may have been executed and the last response does not say so, the
// client gets both: the update may have caused the conflict itself.
func TestRecordOfAnEarlierAttempt(t *testing.T) {
	server := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n == 1 {
			reset(w)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, statusJSON(409, metav1.StatusReasonConflict, "the object has been modified"))
	})
	client := clientset(t, server.config(), wrapper(t, quickly))
	_, err := client.CoreV1().ConfigMaps("default").Update(t.Context(), settings("a"), metav1.UpdateOptions{})
	assert.True(t, apierrors.IsConflict(err))
	assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
	assert.EqualValues(t, 2, server.sends.Load())
}

// A deletion and an eviction say in their bodies that they are dry runs. These store
// nothing and are repeated after any failure.
func TestRecordOfDryRunsInBodies(t *testing.T) {
	dry := metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}
	for name, c := range map[string]struct {
		opts  metav1.DeleteOptions
		sends int
	}{
		"a dry run": {dry, 4}, "no dry run": {metav1.DeleteOptions{}, 1},
	} {
		for _, contentType := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
			t.Run(name+" in "+contentType, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sends := 0
					config := &rest.Config{Host: "https://server", Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
						if req.Method != http.MethodGet { // before an eviction is repeated, the pod is read
							sends++
						}
						return answer(req, 504, "text/plain", "timeout"), nil
					}), ContentConfig: rest.ContentConfig{ContentType: contentType}}
					client := clientset(t, config, wrapper(t, k8sretry.WithLogger(nil)))

					err := client.CoreV1().Pods("default").DeleteCollection(t.Context(), c.opts, metav1.ListOptions{})
					assert.True(t, apierrors.IsTimeout(err), "%v", err)
					assert.Equal(t, c.sends, sends)

					sends = 0
					err = client.CoreV1().Pods("default").EvictV1(t.Context(), &policyv1.Eviction{
						ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default"}, DeleteOptions: &c.opts,
					})
					assert.True(t, apierrors.IsTimeout(err), "%v", err)
					assert.Equal(t, c.sends, sends)
				})
			})
		}
	}
}

// The server deletes the objects of a collection one by one. An error about one of them
// says nothing about those before, unlike an error about the whole request.
func TestRecordOfACollection(t *testing.T) {
	const rbac = `pods is forbidden: User "bob" cannot deletecollection resource "pods" in API group "" in the namespace "default"`
	const webhook = `admission webhook "keep.example.com" denied the request: not this one`
	for name, c := range map[string]struct {
		code    int
		reason  metav1.StatusReason
		message string
		is      func(error) bool
		unknown bool
		sends   int
	}{
		"a webhook denies one":             {403, metav1.StatusReasonForbidden, webhook, apierrors.IsForbidden, true, 1},
		"a webhook denies one with 400":    {400, metav1.StatusReasonBadRequest, webhook, apierrors.IsBadRequest, true, 1},
		"a webhook cannot be called":       {500, metav1.StatusReasonInternalError, `Internal error occurred: failed calling webhook "keep.example.com": EOF`, apierrors.IsInternalError, true, 1},
		"an admission plugin forbids one":  {403, metav1.StatusReasonForbidden, `pods "a" is forbidden: node "n" can only delete pods with spec.nodeName set to itself`, apierrors.IsForbidden, true, 1},
		"a policy denies one":              {422, metav1.StatusReasonInvalid, `pods "a" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no`, apierrors.IsInvalid, true, 1},
		"one has another UID":              {409, metav1.StatusReasonConflict, "Precondition failed: UID in precondition: 1, UID in object meta: 2", apierrors.IsConflict, true, 1},
		"etcd is busy":                     {500, "", "etcdserver: too many requests", apierrors.IsInternalError, true, 1},
		"RBAC allows none":                 {403, metav1.StatusReasonForbidden, rbac, apierrors.IsForbidden, false, 1},
		"not authenticated":                {401, metav1.StatusReasonUnauthorized, "Unauthorized", apierrors.IsUnauthorized, false, 1},
		"a selector that cannot be parsed": {400, metav1.StatusReasonBadRequest, "unable to parse", apierrors.IsBadRequest, false, 1},
		"overload":                         {429, metav1.StatusReasonTooManyRequests, "too many requests", apierrors.IsTooManyRequests, false, 4},
		"the server shuts down":            {503, metav1.StatusReasonServiceUnavailable, "apiserver is shutting down", apierrors.IsServiceUnavailable, false, 4},
	} {
		for _, where := range []string{"Transport", "Do"} {
			t.Run(name+" "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sends := 0
					server := roundTripper(func(req *http.Request) (*http.Response, error) {
						sends++
						return answer(req, c.code, "application/json", statusJSON(c.code, c.reason, c.message)), nil
					})
					silent := k8sretry.WithLogger(nil)
					var err error
					if where == "Transport" {
						client := over(t, server, wrapper(t, silent))
						err = client.CoreV1().Pods("default").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
					} else {
						client := over(t, server)
						err = k8sretry.Run(t.Context(), func(ctx context.Context) error {
							return client.CoreV1().Pods("default").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
						}, silent, k8sretry.WithVerb(k8sretry.VerbDeleteCollection))
					}
					assert.True(t, c.is(err), "%v", err)
					assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
					assert.Equal(t, c.sends, sends)
				})
			})
		}
	}
}
