// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/k8sretry/k8sretry/internal/testkit"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

// The repetitions of net/http.

// The server sees one send more than there are retries when connections break for ever,
// also if net/http would repeat the request on another connection.
func TestSendsWithBrokenConnections(t *testing.T) {
	const retries = 3
	broken := map[string]func(http.ResponseWriter){
		"reset":  reset,
		"closed": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	}
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		for name, fail := range broken {
			for _, kept := range []bool{false, true} {
				situation := proto + ", " + name
				if kept {
					situation += ", on a kept connection"
				}
				t.Run(situation, func(t *testing.T) {
					healthy := 0
					if kept {
						healthy = 1
					}
					server := serve(t, proto, func(w http.ResponseWriter, _ *http.Request, n int) {
						if n <= healthy {
							write(w, 200, settings("a"))
							return
						}
						fail(w)
					})
					client := clientset(t, server.config(), wrapper(t, quickly, k8sretry.WithMaxRetries(retries)))
					for range healthy {
						require.NoError(t, get(t.Context(), client))
					}
					err := get(t.Context(), client)
					assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
					assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown, "it reads")
					if name == "reset" && proto == protoHTTP1 {
						assert.ErrorIs(t, err, syscall.ECONNRESET)
					}
					assert.EqualValues(t, healthy+retries+1, server.sends.Load(), "of net/http and client-go, too")
				})
			}
		}
	}
}

// After a kept connection broke, net/http would try a read on all others. It goes out once
// more, on a new connection. That one repetition cannot be prevented, so it happens without
// a retry, too.
func TestSendsWithSeveralKeptConnections(t *testing.T) {
	const kept = 5
	for retries, sends := range map[int]int{0: 2, 1: 2, 3: 4} {
		for _, inDo := range []bool{false, true} {
			t.Run(fmt.Sprint(retries, " retries, in a Do: ", inDo), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					arrived := make(chan struct{})
					server := serveInMemory(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, n int) {
						if n > kept {
							reset(w)
							return
						}
						if n == kept {
							close(arrived)
						}
						<-arrived
						write(w, 200, settings("a"))
					})
					server.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = kept
					opts := []k8sretry.Option{quickly, k8sretry.WithMaxRetries(retries)}
					client := clientset(t, server.config(), wrapper(t, opts...))
					var all sync.WaitGroup
					for range kept {
						all.Go(func() { assert.NoError(t, get(t.Context(), client)) })
					}
					all.Wait()
					require.EqualValues(t, kept, server.conns.Load())
					server.sends.Store(kept)
					var err error
					if inDo {
						err = k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, append(opts, k8sretry.WithVerb(k8sretry.VerbGet))...)
					} else {
						err = get(t.Context(), client)
					}
					assert.ErrorIs(t, err, syscall.ECONNRESET)
					assert.EqualValues(t, sends, server.sends.Load()-kept)
				})
			})
		}
	}
}

// net/http repeats a write only if none of its bytes was written. The record counts two
// connections, and a failure of the second send is not taken for one of the first.
func TestSendsAfterAConnectionThatTakesNoBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serveInMemory(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, n int) {
			if n == 1 {
				write(w, 200, settings("a"))
				return
			}
			w.WriteHeader(http.StatusTooManyRequests)
		})
		var broken atomic.Bool
		cfg := server.config()
		cfg.Transport = transportInMemory(t, server.Certificate(), func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := server.dial(ctx, network, addr)
			return &writeOnceBroken{conn, &broken}, err
		})
		client := clientset(t, cfg, wrapper(t, quickly, k8sretry.WithMaxRetries(2)))
		require.NoError(t, get(t.Context(), client))
		broken.Store(true)
		_, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), settings("a"), metav1.CreateOptions{})
		assert.True(t, apierrors.IsTooManyRequests(err), "%v", err)
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.LessOrEqual(t, server.sends.Load(), int32(1+3))
		assert.EqualValues(t, 2, server.conns.Load())
	})
}

// writeOnceBroken fails the first write after broken was set.
type writeOnceBroken struct {
	net.Conn
	broken *atomic.Bool
}

func (c *writeOnceBroken) Write(p []byte) (int, error) {
	if c.broken.CompareAndSwap(true, false) {
		return 0, memoryError("write", syscall.EPIPE)
	}
	return c.Conn.Write(p)
}

// net/http repeats a request over HTTP/2 up to seven times after REFUSED_STREAM, and
// without limit after a graceful GOAWAY. The server sees no more sends than the policy
// allows, and the call waits for net/http once at most.
func TestSendsWithHTTP2Refusals(t *testing.T) {
	for _, c := range []struct {
		situation string
		handle    func(f *http2.Framer, conn net.Conn, stream uint32, n int)
		executed  bool // possibly
		pause     bool // of net/http, a second before its second repetition
	}{
		{"REFUSED_STREAM", func(f *http2.Framer, _ net.Conn, stream uint32, _ int) {
			_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		}, false, true},
		{"graceful GOAWAY below the stream", func(f *http2.Framer, _ net.Conn, _ uint32, _ int) {
			_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
		}, false, false},
		{"GOAWAY with an error below the stream", func(f *http2.Framer, conn net.Conn, _ uint32, _ int) {
			_ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil)
			_ = conn.Close()
		}, false, false},
		{"GOAWAY above the stream, then closed", func(f *http2.Framer, conn net.Conn, stream uint32, _ int) {
			_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
			_ = conn.Close()
		}, true, false},
		{"stream reset", func(f *http2.Framer, _ net.Conn, stream uint32, _ int) {
			_ = f.WriteRSTStream(stream, http2.ErrCodeInternal)
		}, true, false},
	} {
		for _, verb := range []k8sretry.Verb{k8sretry.VerbGet, k8sretry.VerbCreate, k8sretry.VerbUpdate} {
			for _, inDo := range []bool{false, true} {
				name := c.situation + ", " + verb.String()
				if inDo {
					name += ", in a Do"
				}
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						server := frameServer(t, c.handle)
						opts := []k8sretry.Option{k8sretry.WithInitialDelay(0), k8sretry.WithLogger(nil), k8sretry.WithMaxRetries(1)}
						maps := clientset(t, server.cfg, wrapper(t, opts...)).CoreV1().ConfigMaps("default")
						call := func(ctx context.Context) (err error) {
							switch verb {
							case k8sretry.VerbGet:
								_, err = maps.Get(ctx, "a", metav1.GetOptions{})
							case k8sretry.VerbCreate:
								_, err = maps.Create(ctx, settings("a"), metav1.CreateOptions{})
							default:
								_, err = maps.Update(ctx, settings("a"), metav1.UpdateOptions{})
							}
							return err
						}
						start := time.Now()
						var err error
						if inDo {
							err = k8sretry.Run(t.Context(), call, append(opts, k8sretry.WithVerb(verb))...)
						} else {
							err = call(t.Context())
						}
						require.Error(t, err)
						if c.pause {
							assert.Equal(t, time.Second, time.Since(start))
						} else {
							assert.Zero(t, time.Since(start))
						}
						want := 2
						if c.executed && verb == k8sretry.VerbCreate && inDo {
							want = 1 // a Do does not see the name of the object
						}
						assert.EqualValues(t, want, server.requests.Load(), err)
						if c.executed && verb != k8sretry.VerbGet {
							assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
						} else {
							assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
						}
					})
				})
			}
		}
	}
}

// kube-apiserver closes connections now and then with a graceful GOAWAY. The request goes
// out on another connection at once.
func TestSendsAfterAGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := frameServer(t, func(f *http2.Framer, _ net.Conn, stream uint32, n int) {
			if n == 1 {
				_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
				return
			}
			respondOK(f, stream)
		})
		rec := new(recorder)
		client := clientset(t, server.cfg, wrapper(t, k8sretry.WithInitialDelay(time.Hour), k8sretry.WithMaxDelay(time.Hour), k8sretry.WithObserver(rec)))
		start := time.Now()
		require.NoError(t, get(t.Context(), client))
		assert.Zero(t, time.Since(start))
		assert.EqualValues(t, 2, server.requests.Load())
		assert.Equal(t, k8sretry.EventSuccess, rec.last(t).Kind)
	})
}

// A safe write has the repetitions of net/http, too, and the server sees no more requests than
// the policy allows.
func TestSendsOfSafeWritesAfterAGoAway(t *testing.T) {
	for name, write := range map[string]func(context.Context, *kubernetes.Clientset, ...k8sretry.Option) error{
		"Create": func(ctx context.Context, c *kubernetes.Clientset, opts ...k8sretry.Option) error {
			_, err := k8sretry.Create(ctx, c.CoreV1().ConfigMaps("default"), settings("a"), metav1.CreateOptions{}, opts...)
			return err
		},
		"Update": func(ctx context.Context, c *kubernetes.Clientset, opts ...k8sretry.Option) error {
			_, err := k8sretry.Update(ctx, c.CoreV1().ConfigMaps("default"), version("a", 1), metav1.UpdateOptions{}, opts...)
			return err
		},
		"Delete": func(ctx context.Context, c *kubernetes.Clientset, opts ...k8sretry.Option) error {
			return k8sretry.Delete(ctx, c.CoreV1().ConfigMaps("default"), settings("a"), metav1.DeleteOptions{}, opts...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				goAways := 1
				server := frameServer(t, func(f *http2.Framer, _ net.Conn, stream uint32, n int) {
					if n <= goAways {
						_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
						return
					}
					respondOK(f, stream)
				})
				rec := new(recorder)
				client := clientset(t, server.cfg, wrapper(t, k8sretry.WithLogger(nil)))
				slow := k8sretry.NewPolicy(k8sretry.WithInitialDelay(time.Hour), k8sretry.WithMaxDelay(time.Hour), k8sretry.WithObserver(rec), k8sretry.WithLogger(nil))
				start := time.Now()
				require.NoError(t, write(t.Context(), client, slow))
				assert.Zero(t, time.Since(start))
				assert.EqualValues(t, 2, server.requests.Load())
				assert.Equal(t, k8sretry.EventSuccess, rec.last(t).Kind)

				goAways = 100
				server.requests.Store(0)
				err := write(t.Context(), client, slow, k8sretry.WithMaxRetries(2))
				assert.Equal(t, 3, asError(t, err).Attempts, "%v", err)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.EqualValues(t, 3, server.requests.Load())
				assert.Zero(t, time.Since(start))
			})
		})
	}
}

// The caller's own hooks in net/http are called once for each send, as without a Transport.
func TestSendsCallTheHooksOfTheCaller(t *testing.T) {
	server := serve(t, protoHTTP2, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n%2 == 1 {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		write(w, 200, settings("a"))
	})
	client := clientset(t, server.config(), wrapper(t, quickly))
	for name, verb := range map[string]k8sretry.Verb{"": k8sretry.VerbUnspecified, "a read": k8sretry.VerbGet, "a write": k8sretry.VerbUpdate} {
		var asked, got, wrote atomic.Int32
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GetConn:      func(string) { asked.Add(1) },
			GotConn:      func(httptrace.GotConnInfo) { got.Add(1) },
			WroteHeaders: func() { wrote.Add(1) },
		})
		call := func(ctx context.Context) error {
			_, err := client.CoreV1().ConfigMaps("default").Update(ctx, settings("a"), metav1.UpdateOptions{})
			return err
		}
		if name == "" {
			require.NoError(t, call(ctx))
		} else {
			require.NoError(t, k8sretry.Run(ctx, call, quickly, k8sretry.WithVerb(verb)))
		}
		assert.EqualValues(t, 2, asked.Load(), name)
		assert.EqualValues(t, 2, got.Load(), name)
		assert.EqualValues(t, 2, wrote.Load(), name)
	}
}

// Connections that have gone silent.

// silentNetwork is a network whose connections can stop carrying what is written to them.
type silentNetwork struct {
	server *api
	mu     sync.Mutex
	conns  []*silentConn
}

type silentConn struct {
	net.Conn
	silent atomic.Bool
}

func (c *silentConn) Write(p []byte) (int, error) {
	if c.silent.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// config is one from which client-go makes its own http.Transport.
func (n *silentNetwork) config() *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.server.Certificate().Raw})
	return &rest.Config{Host: n.server.URL, Dial: n.dial, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

func (n *silentNetwork) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := n.server.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &silentConn{Conn: conn}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, c)
	return c, nil
}

// silence stops the connections of now, and returns how many there are.
func (n *silentNetwork) silence() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.silent.Store(true)
	}
	return len(n.conns)
}

func (n *silentNetwork) dials() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

// A server of config maps whose watches send nothing.
func serveSilently(t *testing.T, proto string) *silentNetwork {
	return &silentNetwork{server: serveInMemory(t, proto, func(w http.ResponseWriter, r *http.Request, _ int) {
		switch {
		case r.URL.Query().Get("watch") != "":
			w.Header().Set("Content-Type", "application/json")
			flush(w)
			<-r.Context().Done()
		case r.URL.Query().Get("timeout") != "": // a list that takes long
			pause(r, time.Hour)
		default:
			write(w, http.StatusOK, settings("a"))
		}
	})}
}

var tenSeconds = k8sretry.NewPolicy(k8sretry.WithAttemptTimeout(10*time.Second), k8sretry.WithInitialDelay(0), k8sretry.WithLogger(nil))

// After a failover the open connections swallow everything, and new ones work. One attempt
// notices it; its retry and all later calls use a new connection. A watch on the old one is
// left alone, until client-go's ping ends it.
func TestTransportLeavesASilentConnection(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		for _, inDo := range []bool{false, true} {
			t.Run(fmt.Sprint(proto, ", in a Do: ", inDo), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					network := serveSilently(t, proto)
					client := clientset(t, network.config(), wrapper(t, tenSeconds))
					call := func() error {
						if inDo {
							return k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, tenSeconds)
						}
						return get(t.Context(), client)
					}
					require.NoError(t, call())
					w, err := client.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{})
					require.NoError(t, err)
					defer w.Stop()
					require.NoError(t, call())
					before := network.silence()
					network.server.sends.Store(0)

					start := time.Now()
					require.NoError(t, call())
					assert.Equal(t, 10*time.Second, time.Since(start), "one attempt")
					assert.EqualValues(t, 1, network.server.sends.Load(), "nothing else reached the server")
					assert.Equal(t, before+1, network.dials())
					for range 3 {
						require.NoError(t, call())
					}
					assert.Equal(t, 10*time.Second, time.Since(start))
					assert.Equal(t, before+1, network.dials(), "the new connection is kept")
					select {
					case <-w.ResultChan():
						t.Error("the watch has ended")
					default:
					}

					testkit.Sleep(2 * time.Minute)
					start = time.Now()
					require.NoError(t, call())
					assert.Zero(t, time.Since(start))
				})
			})
		}
	}
}

// Of many calls on a silent connection one opens a new one.
func TestTransportLeavesASilentConnectionOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := serveSilently(t, protoHTTP2)
		client := clientset(t, network.config(), wrapper(t, tenSeconds))
		require.NoError(t, get(t.Context(), client))
		network.silence()
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() {
				testkit.Sleep(time.Duration(n) * 100 * time.Millisecond)
				assert.NoError(t, get(t.Context(), client))
			})
		}
		all.Wait()
		assert.Equal(t, 2, network.dials())
	})
}

// CloseIdleConnections closes the new connection, too.
func TestTransportClosesTheNewConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := serveSilently(t, protoHTTP2)
		var rt http.RoundTripper
		client := clientset(t, network.config(), func(next http.RoundTripper) http.RoundTripper {
			rt = wrapper(t, tenSeconds)(next)
			return rt
		})
		require.NoError(t, get(t.Context(), client))
		network.silence()
		require.NoError(t, get(t.Context(), client))
		require.Equal(t, 2, network.dials())
		rt.(interface{ CloseIdleConnections() }).CloseIdleConnections()
		require.NoError(t, get(t.Context(), client))
		assert.Equal(t, 3, network.dials())
	})
}

// A request that takes long does not show that its connection is silent if others get
// answers on it.
func TestTransportKeepsAConnectionWithAnswers(t *testing.T) {
	for _, others := range []bool{true, false} {
		t.Run(fmt.Sprint("other answers: ", others), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := serveSilently(t, protoHTTP2)
				client := clientset(t, network.config(), wrapper(t, tenSeconds, k8sretry.WithMaxRetries(1)))
				require.NoError(t, get(t.Context(), client))
				if others {
					for n := range 3 {
						time.AfterFunc(time.Duration(5+10*n)*time.Second, func() { assert.NoError(t, get(t.Context(), client)) })
					}
				}
				seconds := int64(60)
				_, err := client.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{TimeoutSeconds: &seconds})
				require.Error(t, err)
				if others {
					assert.Equal(t, 1, network.dials())
				} else {
					assert.Equal(t, 2, network.dials())
				}
			})
		})
	}
}

// If new connections swallow everything, too, there are as many attempts as without it.
func TestTransportWithSilentConnectionsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := serveSilently(t, protoHTTP2)
		rec := new(recorder)
		client := clientset(t, network.config(), wrapper(t, tenSeconds, k8sretry.WithObserver(rec)))
		require.NoError(t, get(t.Context(), client))
		network.silence()
		network.server.CloseClientConnections()
		network.server.dial = func(context.Context, string, string) (net.Conn, error) {
			return &memoryConn{in: newMemoryHalf(), out: newMemoryHalf()}, nil
		}
		start := time.Now()
		require.Error(t, get(t.Context(), client))
		assert.Equal(t, 4, rec.last(t).Attempt)
		assert.LessOrEqual(t, time.Since(start), 40*time.Second)
	})
}

// A RoundTripper between the Transport and net/http is never bypassed.
func TestTransportDoesNotBypassOtherRoundTrippers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := serveSilently(t, protoHTTP2)
		requests := 0
		client := clientset(t, network.config(), func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				requests++
				return next.RoundTrip(req)
			})
		}, wrapper(t, tenSeconds))
		require.NoError(t, get(t.Context(), client))
		network.silence()
		require.Error(t, get(t.Context(), client))
		assert.Equal(t, 1+4, requests)
		assert.Equal(t, 1, network.dials())
	})
}

// Of two Transports around one client, the inner one chooses the connection.
func TestTransportAroundATransportLeavesASilentConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := serveSilently(t, protoHTTP2)
		between := func(next http.RoundTripper) http.RoundTripper { return roundTripper(next.RoundTrip) }
		client := clientset(t, network.config(), wrapper(t), between, wrapper(t, tenSeconds))
		require.NoError(t, get(t.Context(), client))
		network.silence()
		require.NoError(t, get(t.Context(), client))
		assert.Equal(t, 2, network.dials())
	})
}

// The limiter, the breaker and the budget of a Transport.

// withAndWithoutDo runs a test with the loop of the Transport, and with the Transport below
// a Do.
func withAndWithoutDo(t *testing.T, run func(t *testing.T, call func(context.Context, kubernetes.Interface) error)) {
	t.Run("the loop of the Transport", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { run(t, get) })
	})
	t.Run("in a Do", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			run(t, func(ctx context.Context, client kubernetes.Interface) error {
				return k8sretry.Run(ctx, func(ctx context.Context) error { return get(ctx, client) }, k8sretry.ForRead())
			})
		})
	})
}

// While the server is down, calls queue and it sees few of them. When it is back, the
// queued calls succeed.
func TestTransportWithALimiter(t *testing.T) {
	withAndWithoutDo(t, func(t *testing.T, call func(context.Context, kubernetes.Interface) error) {
		var server flaky
		limiter := k8sretry.NewLimiter()
		client := over(t, server.serve, wrapper(t, k8sretry.ForWrite(), k8sretry.WithLimiter(limiter)))
		server.down.Store(true)
		time.AfterFunc(20*time.Second, func() { server.down.Store(false) })

		var all sync.WaitGroup
		var failed atomic.Int32
		for i := range 100 {
			testkit.Sleep(100 * time.Millisecond)
			all.Go(func() {
				if call(t.Context(), client) != nil {
					failed.Add(1)
				}
			})
			if i == 99 {
				assert.True(t, limiter.State().Limited)
				assert.Less(t, server.sends.Load(), int32(15), "one after each pause")
			}
		}
		all.Wait()
		assert.Less(t, failed.Load(), int32(3), "only calls that were sent while it was down")
		assert.False(t, limiter.State().Limited)
		assert.Zero(t, limiter.State().InFlight)
	})
}

// The limiter treats each server by itself.
func TestTransportLimitsEachServer(t *testing.T) {
	for situation, hosts := range map[string][2]string{
		"two hosts": {"https://one", "https://other"},
		// The assumption was that a host is a server.
		"two clusters behind a gateway": {"https://gateway/k8s/clusters/one", "https://gateway/k8s/clusters/other"},
		"two clusters behind a proxy subresource": {
			"https://karmada/apis/cluster.karmada.io/v1alpha1/clusters/one/proxy", "https://karmada/apis/cluster.karmada.io/v1alpha1/clusters/other/proxy",
		},
		"a cluster behind a gateway that is one itself": {"https://gateway/k8s/clusters/one", "https://gateway"},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var one, other flaky
				limiter := k8sretry.NewLimiter()
				wrap := wrapper(t, k8sretry.ForRead(), k8sretry.WithLimiter(limiter), k8sretry.WithMaxQueueTime(0))
				a := clientset(t, &rest.Config{Host: hosts[0], Transport: roundTripper(one.serve)}, wrap)
				b := clientset(t, &rest.Config{Host: hosts[1], Transport: roundTripper(other.serve)}, wrap)
				one.down.Store(true)
				for range 2 {
					assert.Error(t, get(t.Context(), a))
				}
				assert.True(t, limiter.State().Limited)
				require.NotEmpty(t, limiter.Limited())
				assert.Equal(t, strings.TrimPrefix(hosts[0], "https://"), limiter.Limited()[0].Host)

				require.ErrorIs(t, get(t.Context(), a), k8sretry.ErrQueueTimeout)
				sent := one.sends.Load()
				assert.ErrorIs(t, get(t.Context(), a), k8sretry.ErrQueueTimeout)
				assert.Equal(t, sent, one.sends.Load())
				assert.NoError(t, get(t.Context(), b))
			})
		})
	}
}

// Watches do not pass the limiter, because they may last for hours.
func TestTransportDoesNotLimitWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server flaky
		limiter := k8sretry.NewLimiter()
		client := over(t, server.serve, wrapper(t, k8sretry.ForRead(), k8sretry.WithLimiter(limiter), k8sretry.WithMaxQueueTime(0)))
		server.down.Store(true)
		for range 2 {
			assert.Error(t, get(t.Context(), client))
		}
		require.ErrorIs(t, get(t.Context(), client), k8sretry.ErrQueueTimeout)
		server.down.Store(false)
		w, err := client.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		w.Stop()
		assert.Zero(t, limiter.State().InFlight)
	})
}

// callsOverATransport are the ways to make a call that has a loop of its own.
var callsOverATransport = map[string]func(context.Context, kubernetes.Interface, ...k8sretry.Option) error{
	"Do": func(ctx context.Context, client kubernetes.Interface, opts ...k8sretry.Option) error {
		return k8sretry.Run(ctx, func(ctx context.Context) error { return get(ctx, client) }, opts...)
	},
	"Create": func(ctx context.Context, client kubernetes.Interface, opts ...k8sretry.Option) error {
		_, err := k8sretry.Create(ctx, client.CoreV1().ConfigMaps("default"), configMap("a"), metav1.CreateOptions{}, opts...)
		return err
	},
	"Update": func(ctx context.Context, client kubernetes.Interface, opts ...k8sretry.Option) error {
		_, err := k8sretry.Update(ctx, client.CoreV1().ConfigMaps("default"), configMap("a"), metav1.UpdateOptions{}, opts...)
		return err
	},
	"Delete": func(ctx context.Context, client kubernetes.Interface, opts ...k8sretry.Option) error {
		return k8sretry.Delete(ctx, client.CoreV1().ConfigMaps("default"), configMap("a"), metav1.DeleteOptions{}, opts...)
	},
}

// A call with a limiter or a breaker of its own asks only that one.
func TestTransportBelowACallWithALimiter(t *testing.T) {
	for name, call := range callsOverATransport {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var server flaky
				below, above := k8sretry.NewLimiter(), k8sretry.NewLimiter()
				client := over(t, server.serve, wrapper(t, k8sretry.ForRead(), k8sretry.WithLimiter(below)))
				server.down.Store(true)
				_ = call(t.Context(), client, k8sretry.ForWrite(), k8sretry.WithLimiter(above))
				assert.True(t, above.State().Limited)
				assert.False(t, below.State().Limited)
			})
		})
	}
}

// A call without a budget uses that of the Transport, a safe write too.
// WithMaxElapsed of a Transport bounds its own loop, and no wait of an attempt of a Do above.
func TestTransportBelowADoBoundsNoQueueByMaxElapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		client := over(t, func(req *http.Request) (*http.Response, error) {
			if down {
				return nil, network("dial", syscall.ECONNREFUSED)
			}
			testkit.Sleep(3 * time.Second)
			return answer(req, 200, "application/json", `{"metadata":{"name":"a"}}`), nil
		}, wrapper(t, k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithMaxElapsed(time.Second), k8sretry.WithMaxRetries(0)))
		for range 10 {
			require.Error(t, get(t.Context(), client))
		}
		down = false
		var all sync.WaitGroup
		all.Go(func() { assert.NoError(t, get(t.Context(), client)) })
		synctest.Wait()
		began := time.Now()
		assert.NoError(t, k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, k8sretry.WithMaxRetries(0)))
		assert.Equal(t, 6*time.Second, time.Since(began))
		all.Wait()
	})
}

func TestTransportLendsItsBudget(t *testing.T) {
	for name, call := range callsOverATransport {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var server flaky
				budget := k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 2})
				client := over(t, server.serve, wrapper(t, k8sretry.ForRead(), k8sretry.WithBudget(budget)))
				server.down.Store(true)
				assert.ErrorIs(t, call(t.Context(), client, k8sretry.ForWrite()), k8sretry.ErrBudgetExhausted)
				assert.EqualValues(t, 3, server.sends.Load())
			})
		})
	}
}

// An open breaker ends the call, also below a Do, with the error that keeps it open and
// the time after which it lets attempts through.
func TestTransportWithABreaker(t *testing.T) {
	withAndWithoutDo(t, func(t *testing.T, call func(context.Context, kubernetes.Interface) error) {
		var server flaky
		breaker := k8sretry.NewBreaker(k8sretry.BreakerConfig{})
		client := over(t, server.serve, wrapper(t, k8sretry.ForRead(), k8sretry.WithBreaker(breaker)))
		server.down.Store(true)
		var err error
		for breaker.State() != k8sretry.BreakerOpen {
			err = call(t.Context(), client)
			require.Error(t, err)
		}
		sent := server.sends.Load()
		err = call(t.Context(), client)
		require.ErrorIs(t, err, k8sretry.ErrBreakerOpen)
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		var e *k8sretry.Error
		require.ErrorAs(t, err, &e)
		assert.Positive(t, e.RetryAfter)
		assert.Equal(t, sent, server.sends.Load())

		server.down.Store(false)
		testkit.Sleep(e.RetryAfter)
		for range 10 {
			_ = call(t.Context(), client)
		}
		assert.Equal(t, k8sretry.BreakerClosed, breaker.State())
		assert.NoError(t, call(t.Context(), client))
	})
}

// A Do without a budget uses that of the Transport.
func TestTransportWithABudget(t *testing.T) {
	withAndWithoutDo(t, func(t *testing.T, call func(context.Context, kubernetes.Interface) error) {
		var server flaky
		budget := k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 2})
		client := over(t, server.serve, wrapper(t, k8sretry.ForRead(), k8sretry.WithBudget(budget)))
		server.down.Store(true)
		assert.ErrorIs(t, call(t.Context(), client), k8sretry.ErrBudgetExhausted)
		assert.EqualValues(t, 3, server.sends.Load())
		server.down.Store(false)
		assert.NoError(t, call(t.Context(), client))
		assert.Positive(t, budget.State().Refused)
	})
}

// A panic of the wrapped RoundTripper does not keep a slot of the limiter.
func TestTransportReleasesTheLimiterOnPanic(t *testing.T) {
	withAndWithoutDo(t, func(t *testing.T, call func(context.Context, kubernetes.Interface) error) {
		limiter := k8sretry.NewLimiter()
		panics := func(*http.Request) (*http.Response, error) { panic("broken") }
		client := over(t, panics, wrapper(t, k8sretry.ForRead(), k8sretry.WithLimiter(limiter)))
		assert.Panics(t, func() { _ = call(t.Context(), client) })
		assert.Zero(t, limiter.State().InFlight)
	})
}

// The body of a request that was not sent is closed.
func TestTransportClosesTheBodyOfAQueuedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server flaky
		server.down.Store(true)
		transport := wrapper(t, k8sretry.ForRead(), k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithMaxQueueTime(0))(roundTripper(server.serve))
		send := func(ctx context.Context, body io.ReadCloser) error {
			req, err := http.NewRequestWithContext(ctx, "POST", "https://server/api/v1/namespaces/default/configmaps", nil)
			require.NoError(t, err)
			req.Body = body
			resp, err := transport.RoundTrip(req)
			if resp != nil {
				_ = resp.Body.Close()
			}
			return err
		}
		for range 3 {
			_ = send(t.Context(), http.NoBody)
		}
		var alone, inDo atomic.Int32
		require.ErrorIs(t, send(t.Context(), countedBody{closed: &alone}), k8sretry.ErrQueueTimeout)
		assert.EqualValues(t, 1, alone.Load())
		err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return send(ctx, countedBody{closed: &inDo}) }, k8sretry.WithMaxQueueTime(0))
		require.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
		assert.EqualValues(t, 1, inDo.Load())
	})
}

// A write that was queued and not sent was not executed.
func TestTransportKnowsThatAQueuedWriteWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server flaky
		server.down.Store(true)
		client := over(t, server.serve, wrapper(t, k8sretry.ForRead(), k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithMaxQueueTime(0)))
		for range 5 {
			_ = get(t.Context(), client)
		}
		_, err := k8sretry.Create(t.Context(), client.CoreV1().ConfigMaps("default"),
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "b"}}, metav1.CreateOptions{}, k8sretry.WithMaxQueueTime(time.Second))
		require.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.False(t, apierrors.IsNotFound(err))
	})
}

// Costs.

// A call that succeeds costs at most twelve allocations more through a Transport, alone and
// in a Do. Half of them are those of httptrace.WithClientTrace on top of the hooks of
// client-go. The timeout of a send, which is there by default, costs 15, and one more with Go 1.25.
func TestTransportAllocations(t *testing.T) {
	// client-go and net/http keep their buffers in pools, which a garbage collection
	// empties: refilling them is not counted.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	least := func(call func()) float64 {
		n := testing.AllocsPerRun(100, call)
		for range 4 {
			n = min(n, testing.AllocsPerRun(100, call))
		}
		return n
	}
	count := func(wrappers ...func(http.RoundTripper) http.RoundTripper) (alone, inDo float64) {
		client := over(t, alwaysOK(), wrappers...)
		ctx := t.Context()
		call := func(ctx context.Context) error { return get(ctx, client) }
		alone = least(func() { _ = call(ctx) })
		inDo = least(func() { _ = k8sretry.Run(ctx, call) })
		return alone, inDo
	}
	alone, inDo := count()
	with, withInDo := count(wrapper(t, k8sretry.ForRead(), k8sretry.WithAttemptTimeout(0)))
	assert.LessOrEqual(t, with, alone+12)
	assert.LessOrEqual(t, withInDo, inDo+12)
	bounded, boundedInDo := count(wrapper(t, k8sretry.ForRead()))
	assert.LessOrEqual(t, bounded, with+16)
	assert.LessOrEqual(t, boundedInDo, withInDo+16)
	t.Log("allocations of a Get:", alone, "through a Transport:", with, "and in a Do:", withInDo)
}

// An attempt leaves nothing behind at the caller's context, which may last as long as the
// process.
func TestTransportAttemptTimeoutLeavesNothingAtTheCallersContext(t *testing.T) {
	for name, opts := range map[string][]k8sretry.Option{
		"without a timeout": nil, "with a timeout": {k8sretry.WithAttemptTimeout(time.Hour)}, "with a hedge": {k8sretry.WithHedge(time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			client := over(t, alwaysOK(), wrapper(t, opts...))
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			heap := func() int64 {
				collect()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return int64(m.HeapAlloc)
			}
			call := func(calls int) {
				for range calls {
					require.NoError(t, get(ctx, client))
				}
			}
			const calls = 10_000
			call(100)
			before := heap()
			call(calls)
			// The cleanups of a collection run in goroutines of their own, which may take a while.
			var each int64
			for range 50 {
				if each = (heap() - before) / calls; each < 100 {
					break
				}
			}
			assert.Less(t, each, int64(100), "bytes a call")
			runtime.KeepAlive(ctx)
		})
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
			maps := over(b, alwaysOK(), c.wrappers...).CoreV1().ConfigMaps("default")
			b.ReportAllocs()
			for b.Loop() {
				_, _ = maps.Get(b.Context(), "a", metav1.GetOptions{})
			}
		})
	}
	// The Transport without the client.
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
