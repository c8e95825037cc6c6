// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	goruntime "runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// timedReply is how a server answers one request: with a code, after a time. lostConnection
// and noServer are no answers.
type timedReply struct {
	after time.Duration
	code  int
}

const lostConnection, noServer = 0, -1

// replies is a server that gives each request the next reply, and 200 at once after the last.
type replies struct {
	mu        sync.Mutex
	next      []timedReply
	requests  int
	bodies    []*contextBody
	cancelled int // requests whose clients have left
}

func (s *replies) serve(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	r := timedReply{0, 200}
	if s.requests < len(s.next) {
		r = s.next[s.requests]
	}
	s.requests++
	s.mu.Unlock()
	select {
	case <-time.After(r.after):
	case <-req.Context().Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cancelled++
		return nil, req.Context().Err()
	}
	switch r.code {
	case lostConnection:
		return nil, network("read", syscall.ECONNRESET)
	case noServer:
		return nil, noConnection()
	case 200:
		resp := answer(req, 200, "application/json", string(mustJSON(settings("a"))))
		body := &contextBody{Reader: resp.Body, ctx: req.Context()}
		resp.Body = body
		s.mu.Lock()
		defer s.mu.Unlock()
		s.bodies = append(s.bodies, body)
		return resp, nil
	}
	return answer(req, r.code, "application/json", statusJSON(r.code, "", "it failed")), nil
}

// contextBody is the body of a response that ends with the context of its request, as over a
// connection.
type contextBody struct {
	io.Reader
	ctx    context.Context
	closed bool
}

func (b *contextBody) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.Reader.Read(p)
}

func (b *contextBody) Close() error { b.closed = true; return nil }

const (
	second = time.Second
	hour   = time.Hour
)

// hedging makes the second request after 2 s.
var hedging = k8sretry.WithHedge(2 * second)

// A read that is slow is sent once more, and the first answer counts.
func TestHedge(t *testing.T) {
	policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithMaxRetries(1), k8sretry.WithAttemptTimeout(10*second), exact)
	ways := map[string]func(*testing.T, *replies) error{
		"the loop of the Transport": func(t *testing.T, s *replies) error {
			return get(t.Context(), over(t, s.serve, wrapper(t, policy, hedging)))
		},
		"in a Do": func(t *testing.T, s *replies) error {
			client := over(t, s.serve, wrapper(t, hedging))
			return k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, policy)
		},
		"in a Do, with a Limiter": func(t *testing.T, s *replies) error {
			limiter := k8sretry.NewLimiter()
			client := over(t, s.serve, wrapper(t, hedging, k8sretry.WithLimiter(limiter)))
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, policy)
			assert.Zero(t, limiter.State().InFlight)
			return err
		},
	}
	for _, c := range []struct {
		situation string
		replies   []timedReply
		took      time.Duration
		cancelled int
		fails     func(error) bool
	}{
		{"an answer in time: one request", []timedReply{{second, 200}}, second, 0, nil},
		{"a slow answer: the second one counts", []timedReply{{20 * second, 200}, {second, 200}}, 3 * second, 1, nil},
		{"both are slow, and the first is faster", []timedReply{{4 * second, 200}, {20 * second, 200}}, 4 * second, 1, nil},
		{"a 404 is an answer", []timedReply{{20 * second, 200}, {second, 404}}, 3 * second, 1, apierrors.IsNotFound},
		{"a 503 in time: a retry, and no request beside it", []timedReply{{second, 503}, {second, 200}}, 3 * second, 0, nil},
		{"a slow 503: the second request may have an answer", []timedReply{{3 * second, 503}, {3 * second, 200}}, 5 * second, 0, nil},
		{"the connection of the first is lost: the same", []timedReply{{3 * second, lostConnection}, {3 * second, 200}}, 5 * second, 0, nil},
		{"the second gets a 503: the first may have an answer", []timedReply{{6 * second, 200}, {second, 503}}, 6 * second, 0, nil},
		{"the second gets a 429: the same", []timedReply{{6 * second, 200}, {second, 429}}, 6 * second, 0, nil},
		{"the connection of the second is lost: the same", []timedReply{{6 * second, 200}, {second, lostConnection}}, 6 * second, 0, nil},
		{
			"both fail: one attempt, and the retry may have a second request, too",
			[]timedReply{{4 * second, 503}, {second, 502}, {20 * second, 200}, {second, 200}}, 8 * second, 1, nil,
		},
		{
			"no retries are left: the answer to the first request",
			[]timedReply{{4 * second, 503}, {second, 502}, {4 * second, 503}, {second, 502}}, 9 * second, 0, apierrors.IsServiceUnavailable,
		},
		{
			"no answer: the attempt timeout covers both requests",
			[]timedReply{{hour, 200}, {hour, 200}, {second, 200}}, 11500 * time.Millisecond, 2, nil, // a timeout halves the delay
		},
	} {
		for name, call := range ways {
			t.Run(c.situation+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server, began := &replies{next: c.replies}, time.Now()
					err := call(t, server)
					if c.fails == nil {
						assert.NoError(t, err)
					} else {
						assert.True(t, c.fails(err), "%v", err)
					}
					if !strings.Contains(name, "Limiter") || c.took < 5*second { // which has delays of its own
						assert.Equal(t, c.took, time.Since(began))
					}
					assert.Equal(t, len(c.replies), server.requests)
					assert.Equal(t, c.cancelled, server.cancelled)
					for _, body := range server.bodies {
						assert.True(t, body.closed)
					}
				})
			})
		}
	}
}

// Over real connections the other request is cancelled, and the connection stays in use.
func TestHedgeOverConnections(t *testing.T) {
	for proto, conns := range map[string]int32{protoHTTP1: 2, protoHTTP2: 1} {
		for situation, slow := range map[string]int{"the first is slow": 1, "the second is slow": 2} {
			t.Run(proto+", "+situation, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cancelled := make(chan bool, 1)
					server := serveInMemory(t, proto, func(w http.ResponseWriter, r *http.Request, n int) {
						switch {
						case n == slow:
							<-r.Context().Done()
							cancelled <- true
							return
						case n < 3:
							pause(r, 3*second)
						}
						write(w, 200, settings("a"))
					})
					client, began := clientset(t, server.config(), wrapper(t, hedging)), time.Now()
					require.NoError(t, get(t.Context(), client))
					assert.Equal(t, map[int]time.Duration{1: 5 * second, 2: 3 * second}[slow], time.Since(began))
					assert.True(t, <-cancelled)
					assert.EqualValues(t, 2, server.sends.Load())
					require.NoError(t, get(t.Context(), client))
					assert.Equal(t, conns, server.conns.Load())
				})
			})
		}
	}
}

// Only a GET or a LIST is sent a second time beside the first.
func TestHedgeIsForReads(t *testing.T) {
	for _, c := range []struct {
		situation, method, path string
		requests                int
	}{
		{"a get", "GET", "/api/v1/namespaces/default/configmaps/a", 2},
		{"a list", "GET", "/api/v1/namespaces/default/configmaps", 2},
		{"a status", "GET", "/apis/apps/v1/namespaces/default/deployments/a/status", 2},
		{"a scale", "GET", "/apis/apps/v1/namespaces/default/deployments/a/scale", 2},
		{"behind a gateway", "GET", "/gateway/api/v1/namespaces/default/configmaps/a", 2},
		{"a create", "POST", "/api/v1/namespaces/default/configmaps", 1},
		{"an update", "PUT", "/api/v1/namespaces/default/configmaps/a", 1},
		{"a patch", "PATCH", "/api/v1/namespaces/default/configmaps/a", 1},
		{"a delete", "DELETE", "/api/v1/namespaces/default/configmaps/a", 1},
		{"a deletecollection", "DELETE", "/api/v1/namespaces/default/configmaps", 1},
		{"a watch", "GET", "/api/v1/namespaces/default/configmaps?watch=true", 1},
		{"a watch of one object", "GET", "/api/v1/namespaces/default/configmaps?fieldSelector=metadata.name%3Da&watch=1", 1},
		{"a watch without a value", "GET", "/api/v1/namespaces/default/configmaps?watch", 1},
		{"a watch in other letters", "GET", "/api/v1/namespaces/default/configmaps?watch=True", 1},
		{"a streaming list", "GET", "/api/v1/configmaps?sendInitialEvents=true&watch=true&resourceVersionMatch=NotOlderThan", 1},
		{"an old watch", "GET", "/api/v1/watch/namespaces/default/configmaps", 1},
		{"an old watch of one object", "GET", "/api/v1/watch/namespaces/default/configmaps/a", 1},
		{"an old proxy", "GET", "/api/v1/proxy/namespaces/default/services/a/b", 1},
		{"exec", "GET", "/api/v1/namespaces/default/pods/a/exec?command=date", 1},
		{"a subresource of another API", "GET", "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/a/console", 1},
		{"logs", "GET", "/api/v1/namespaces/default/pods/a/log", 1},
		{"followed logs", "GET", "/api/v1/namespaces/default/pods/a/log?follow=true", 1},
		{"what a service serves", "GET", "/api/v1/namespaces/default/services/a/proxy/count", 1},
		{"a lease", "GET", "/apis/coordination.k8s.io/v1/namespaces/default/leases/a", 1},
		{"no resource", "GET", "/healthz", 1},
		{"a HEAD", "HEAD", "/api/v1/namespaces/default/configmaps/a", 1},
		{"a read with a body", "GET body", "/api/v1/namespaces/default/configmaps/a", 1},
	} {
		t.Run(c.situation, func(t *testing.T) {
			assert.Equal(t, c.requests, hedged(t, c.method, c.path, false))
			assert.Equal(t, c.requests, hedged(t, c.method, c.path, true), "in a Do")
		})
	}
	assert.Equal(t, 2, hedged(t, "GET", "/apis/coordination.k8s.io/v1/namespaces/default/leases/a", false, k8sretry.IncludeLeases()))
}

// hedged returns how many requests one call makes whose first answer is slow.
func hedged(t *testing.T, method, path string, inDo bool, opts ...k8sretry.Option) (requests int) {
	synctest.Test(t, func(t *testing.T) {
		server := &replies{next: []timedReply{{20 * second, 200}}}
		transport := wrapper(t, append(opts, hedging)...)(roundTripper(server.serve))
		method, content, _ := strings.Cut(method, " ")
		var body io.Reader
		if content != "" {
			body = strings.NewReader(content)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, "https://server"+path, body)
		require.NoError(t, err)
		var resp *http.Response
		if inDo {
			resp, err = k8sretry.Do(t.Context(), func(ctx context.Context) (*http.Response, error) {
				req = req.WithContext(ctx)
				return transport.RoundTrip(req)
			})
		} else {
			resp, err = transport.RoundTrip(req)
		}
		require.NoError(t, err)
		assert.Same(t, req, resp.Request)
		_, err = io.ReadAll(resp.Body)
		assert.NoError(t, err, "the body is read after the call")
		require.NoError(t, resp.Body.Close())
		requests = server.requests
	})
	return requests
}

// The second request asks what limits the load. Without it the call waits for the first.
func TestHedgeIsLimited(t *testing.T) {
	limiter, budget := k8sretry.NewLimiter, func() *k8sretry.Budget { return k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 3}) }
	breaker := func() *k8sretry.Breaker {
		return k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 4, OpenDuration: 10 * second})
	}
	for _, c := range []struct {
		situation string
		failures  int // of a call before
		opts      func() []k8sretry.Option
		requests  int // of the call, whose first answer is slow
	}{
		{"a Limiter that limits nothing", 0, func() []k8sretry.Option { return []k8sretry.Option{k8sretry.WithLimiter(limiter())} }, 2},
		{"a Limiter without another place", 8, func() []k8sretry.Option { return []k8sretry.Option{k8sretry.WithLimiter(limiter())} }, 1},
		{"a Limiter without another place for requests of this kind", 8, func() []k8sretry.Option { return []k8sretry.Option{k8sretry.WithLimiter(limiter())} }, 1},
		{"a Budget that pays", 0, func() []k8sretry.Option { return []k8sretry.Option{k8sretry.WithBudget(budget())} }, 2},
		{"a Budget that is spent", 4, func() []k8sretry.Option { return []k8sretry.Option{k8sretry.WithBudget(budget())} }, 1},
		{"a Breaker that is closed", 0, func() []k8sretry.Option { return []k8sretry.Option{k8sretry.WithBreaker(breaker())} }, 2},
		{"a Breaker that is half-open", 4, func() []k8sretry.Option { return []k8sretry.Option{k8sretry.WithBreaker(breaker())} }, 1},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := new(replies)
				for range c.failures {
					reply := timedReply{0, noServer}
					if strings.Contains(c.situation, "of this kind") {
						reply.code = 503
					}
					server.next = append(server.next, reply)
				}
				server.next = append(server.next, timedReply{20 * second, 200})
				client := over(t, server.serve, wrapper(t, append(c.opts(), hedging)...))
				if c.failures > 0 {
					for server.requests < c.failures {
						require.Error(t, get(t.Context(), client))
					}
					require.Equal(t, c.failures, server.requests)
					if strings.Contains(c.situation, "Breaker") {
						<-time.After(30 * second)
					}
				}
				require.NoError(t, get(t.Context(), client))
				assert.Equal(t, c.requests, server.requests-c.failures)
			})
		})
	}
	t.Run("a Do with a Limiter of its own", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := &replies{next: []timedReply{{20 * second, 200}}}
			client := over(t, server.serve, wrapper(t, hedging))
			require.NoError(t, k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, k8sretry.WithLimiter(limiter())))
			assert.Equal(t, 1, server.requests)
		})
	})
}

// A server that is slow with all answers gets few second requests.
func TestHedgeIsRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &replies{}
		for range 1000 {
			server.next = append(server.next, timedReply{5 * second, 200})
		}
		client := over(t, server.serve, wrapper(t, hedging))
		var all sync.WaitGroup
		for range 500 {
			all.Add(1)
			go func() { defer all.Done(); assert.NoError(t, get(t.Context(), client)) }()
			<-time.After(second / 10)
		}
		all.Wait()
		assert.Greater(t, server.requests, 530)
		assert.Less(t, server.requests, 620)
	})
}

// The end of the caller's context ends both requests.
func TestHedgeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &replies{next: []timedReply{{hour, 200}, {hour, 200}}}
		ctx, cancel := context.WithTimeout(t.Context(), 5*second)
		defer cancel()
		began := time.Now()
		err := get(ctx, over(t, server.serve, wrapper(t, hedging)))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 5*second, time.Since(began))
		assert.Equal(t, 2, server.cancelled)
	})
}

// A RoundTripper that does not look at its context is waited for: no goroutine outlives the
// call.
func TestHedgeWaitsForTheOtherRequest(t *testing.T) {
	for name, after := range map[string][]time.Duration{"the first is late": {20 * second, lostConnection}, "the second is late": {3 * second, 20 * second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				requests, running := 0, 0
				client := over(t, func(req *http.Request) (*http.Response, error) {
					mu.Lock()
					n := requests
					requests++
					running++
					mu.Unlock()
					<-time.After(after[n])
					mu.Lock()
					defer mu.Unlock()
					running--
					return alwaysOK()(req)
				}, wrapper(t, hedging))
				require.NoError(t, get(t.Context(), client))
				assert.Zero(t, running)
				assert.Equal(t, 2, requests)
			})
		})
	}
}

// A panic in either request is one of the call, and nothing is left behind.
func TestHedgePassesPanicsOn(t *testing.T) {
	for name, panics := range map[string]int{"in the first request": 1, "in the second request": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				requests, limiter := 0, k8sretry.NewLimiter()
				transport := wrapper(t, hedging, k8sretry.WithLimiter(limiter))(roundTripper(func(req *http.Request) (*http.Response, error) {
					mu.Lock()
					requests++
					n := requests
					mu.Unlock()
					<-time.After(5 * second)
					if n == panics {
						panic("no luck")
					}
					<-req.Context().Done()
					return nil, req.Context().Err()
				}))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://server/api/v1/namespaces/default/configmaps/a", nil)
				require.NoError(t, err)
				assert.PanicsWithValue(t, "no luck", func() { _, _ = transport.RoundTrip(req) })
				assert.Zero(t, limiter.State().InFlight)
				assert.Equal(t, 2, requests)
			})
		})
	}
}

// A reader of events sees how many second requests a call has made.
func TestHedgeIsReported(t *testing.T) {
	for _, c := range []struct {
		situation string
		replies   []timedReply
		hedges    []int // of each event
	}{
		{"an answer in time: none", []timedReply{{second, 200}}, []int{0}},
		{"a slow answer: one", []timedReply{{20 * second, 200}, {second, 200}}, []int{1}},
		{"the first answer counts: one, too", []timedReply{{4 * second, 200}, {20 * second, 200}}, []int{1}},
		{"of all attempts", []timedReply{{4 * second, 503}, {second, 502}, {second, 503}, {20 * second, 200}, {second, 200}}, []int{1, 1, 2}},
		{"of a call that fails", []timedReply{{4 * second, 503}, {second, 502}, {second, 404}}, []int{1, 1}},
	} {
		for name, call := range map[string]func(*testing.T, *replies, k8sretry.Option) error{
			"the loop of the Transport": func(t *testing.T, s *replies, observer k8sretry.Option) error {
				return get(t.Context(), over(t, s.serve, wrapper(t, hedging, exact, observer)))
			},
			"in a Do": func(t *testing.T, s *replies, observer k8sretry.Option) error {
				client := over(t, s.serve, wrapper(t, hedging))
				return k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, exact, observer)
			},
		} {
			t.Run(c.situation+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var seen recorder
					_ = call(t, &replies{next: c.replies}, k8sretry.WithObserver(&seen))
					var hedges []int
					for _, e := range seen.events {
						hedges = append(hedges, e.Hedges)
					}
					assert.Equal(t, c.hedges, hedges)
				})
			})
		}
	}
	t.Run("a budget that pays for none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var seen recorder
			spent := k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 1})
			server := &replies{next: []timedReply{{second, 503}, {4 * second, 200}}}
			require.NoError(t, get(t.Context(), over(t, server.serve, wrapper(t, hedging, k8sretry.WithBudget(spent), k8sretry.WithObserver(&seen)))))
			assert.Zero(t, seen.last(t).Hedges)
		})
	})
}

// If neither has what was asked for, an answer of the server says more than a lost connection.
func TestHedgePrefersAnAnswer(t *testing.T) {
	for _, c := range []struct {
		situation string
		replies   []timedReply
		fails     func(error) bool
	}{
		{"the first is lost, the second refused", []timedReply{{4 * second, lostConnection}, {3 * second, 429}}, apierrors.IsTooManyRequests},
		{"the first is lost, the second refused before", []timedReply{{4 * second, lostConnection}, {second, 503}}, apierrors.IsServiceUnavailable},
		{"the first is refused, the second lost", []timedReply{{4 * second, 503}, {second, lostConnection}}, apierrors.IsServiceUnavailable},
		{"both are refused: the first", []timedReply{{4 * second, 503}, {second, 429}}, apierrors.IsServiceUnavailable},
		{"both are lost", []timedReply{{4 * second, lostConnection}, {second, noServer}}, func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &replies{next: c.replies}
				err := get(t.Context(), over(t, server.serve, wrapper(t, hedging, k8sretry.WithMaxRetries(0))))
				assert.True(t, c.fails(err), "%v", err)
				assert.Equal(t, 2, server.requests)
			})
		})
	}
}

// Of two Transports around one client the outer one hedges. A request that may not be sent in
// time is not sent.
func TestHedgeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &replies{next: []timedReply{{20 * second, 200}, {20 * second, 200}, {20 * second, 200}, {20 * second, 200}}}
		require.NoError(t, get(t.Context(), over(t, server.serve, wrapper(t, hedging), wrapper(t, hedging))))
		assert.Equal(t, 2, server.requests)
	})
	for name, opts := range map[string][]k8sretry.Option{
		"the attempt ends before":       {k8sretry.WithAttemptTimeout(second), k8sretry.WithMaxRetries(0)},
		"the attempt ends at that time": {k8sretry.WithAttemptTimeout(2*second - 1), k8sretry.WithMaxRetries(0)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &replies{next: []timedReply{{20 * second, 200}, {20 * second, 200}}}
				require.Error(t, get(t.Context(), over(t, server.serve, wrapper(t, append(opts, hedging)...))))
				assert.Equal(t, 1, server.requests)
			})
		})
	}
	t.Run("the caller's deadline is before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), second)
			defer cancel()
			server := &replies{next: []timedReply{{20 * second, 200}, {20 * second, 200}}}
			require.Error(t, get(ctx, over(t, server.serve, wrapper(t, hedging))))
			assert.Equal(t, 1, server.requests)
		})
	})
}

// What the winner has opened is read after the call, ends with the caller's context, and nothing
// stays there when it is read.
func TestHedgedBodyBelongsToTheCaller(t *testing.T) {
	for name, next := range map[string][]timedReply{
		"the first wins": {{4 * second, 200}, {20 * second, 200}}, "the second wins": {{20 * second, 200}, {second, 200}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				server := &replies{next: next}
				transport := wrapper(t, hedging)(roundTripper(server.serve))
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://server/api/v1/namespaces/default/configmaps", nil)
				require.NoError(t, err)
				resp, err := transport.RoundTrip(req)
				require.NoError(t, err)
				defer resp.Body.Close()
				testkit.Sleep(hour)
				goruntime.GC()
				_, err = resp.Body.Read(make([]byte, 1))
				require.NoError(t, err, "no timeout of the call ends it")
				cancel()
				synctest.Wait()
				_, err = resp.Body.Read(make([]byte, 1))
				assert.ErrorIs(t, err, context.Canceled)
			})
		})
	}
	t.Run("nothing stays at the caller's context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first := sync.Map{}
		t.Cleanup(k8sretry.ForgetTransports)
		server := roundTripper(func(req *http.Request) (*http.Response, error) {
			if _, second := first.LoadOrStore(req.URL.RawQuery, true); !second {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return answer(req, 200, "application/json", "{}"), nil
		})
		rounds := func(from, n int) {
			for i := range n {
				// A Transport of its own, which pays for ten second requests.
				own := k8sretry.Transport(k8sretry.WithHedge(1), k8sretry.WithLogger(nil))(server)
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://server/api/v1/namespaces/default/configmaps/a?n=%d", from+i), nil)
				require.NoError(t, err)
				resp, err := own.RoundTrip(req)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
			}
			first.Clear()
			collect()
		}
		heap := func() uint64 {
			collect()
			var m goruntime.MemStats
			goruntime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		rounds(0, 500)
		before := heap()
		rounds(500, 3000)
		assert.Less(t, heap(), before+3000*100, "a context takes some hundred bytes")
	})
}

// Many hedged calls at the same time, over real connections.
func TestHedgeConcurrently(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serveInMemory(t, proto, func(w http.ResponseWriter, r *http.Request, n int) {
					if n%3 == 0 {
						pause(r, 20*second)
					}
					if n%7 == 0 {
						w.WriteHeader(503)
						return
					}
					write(w, 200, settings("a"))
				})
				limiter := k8sretry.NewLimiter()
				client := clientset(t, server.config(), wrapper(t, hedging, k8sretry.WithLimiter(limiter), k8sretry.WithMaxRetries(9)))
				var all sync.WaitGroup
				for range 60 {
					all.Add(1)
					go func() {
						defer all.Done()
						for range 5 {
							assert.NoError(t, k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, k8sretry.WithMaxRetries(9)))
							assert.NoError(t, get(t.Context(), client))
						}
					}()
				}
				all.Wait()
				assert.Zero(t, limiter.State().InFlight)
				assert.Zero(t, limiter.State().Queued)
			})
		})
	}
}
