// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/k8sretry/k8sretry/internal/testkit"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

// If the retries or the context end while the outcome is ambiguous, one more check decides.
func TestFinalCheck(t *testing.T) {
	for verb, write := range map[string]func(context.Context, *cluster, *corev1.ConfigMap) error{
		"create": func(ctx context.Context, c *cluster, _ *corev1.ConfigMap) error {
			_, err := k8sretry.Create(ctx, c, configMap("new"), metav1.CreateOptions{})
			return err
		},
		"update": func(ctx context.Context, c *cluster, obj *corev1.ConfigMap) error {
			_, err := k8sretry.Update(ctx, c, obj, metav1.UpdateOptions{})
			return err
		},
		"delete": func(ctx context.Context, c *cluster, obj *corev1.ConfigMap) error {
			return k8sretry.Delete(ctx, c, obj, metav1.DeleteOptions{})
		},
		"evict": func(ctx context.Context, c *cluster, obj *corev1.ConfigMap) error {
			return k8sretry.Evict(ctx, c, obj, metav1.DeleteOptions{})
		},
	} {
		t.Run("the caller's deadline ends during the request: "+verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				c := newCluster()
				obj := c.put(configMap("x"))
				c.on(verb, &fault{after: context.DeadlineExceeded, then: func() { <-ctx.Done() }})
				require.NoError(t, write(ctx, c, obj))
				c.expectRequests(t, verb, "get")
			})
		})
	}
	t.Run("it takes at most 5 s", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c := newCluster().on("create", &fault{before: context.DeadlineExceeded, then: func() { <-ctx.Done() }})
			c.always = func(verb string) *fault {
				if verb == "get" {
					return failed(unavailable())
				}
				return nil
			}
			began := time.Now()
			_, err := k8sretry.Create(ctx, c, configMap("x"), metav1.CreateOptions{})
			requireUnknown(t, err)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Greater(t, c.count("get"), 1)
			assert.LessOrEqual(t, time.Since(began), time.Second+5*time.Second)
		})
	})
	t.Run("a hanging read is not the end of it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster().on("create", lost(lostReply())).on("get", &fault{after: lostReply(), then: func() { testkit.Sleep(2 * time.Second) }})
			_, err := k8sretry.Create(t.Context(), c, configMap("x"), metav1.CreateOptions{}, k8sretry.WithMaxRetries(0))
			require.NoError(t, err)
			c.expectRequests(t, "create", "get", "get")
		})
	})
	t.Run("there is none if the context has ended before the call", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c := newCluster()
		_, err := k8sretry.Create(ctx, c, configMap("x"), metav1.CreateOptions{})
		assert.ErrorIs(t, err, context.Canceled)
		assert.Empty(t, c.requests)
	})
}

// The events are those of any call. The final check has none.
func TestWriteEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, written := logs()
		c := newCluster().on("create", lost(lostReply()))
		_, err := k8sretry.Create(context.Background(), c, configMap("x"), metav1.CreateOptions{}, logger, exact)
		require.NoError(t, err)
		assert.Equal(t, []string{"k8s_api_call_failed_retrying", "k8s_api_call_succeeded_after_retry"}, messages(written))
		assert.Equal(t, "create", written.All()[0].ContextMap()["verb"])
		assert.Equal(t, "unknown", written.All()[0].ContextMap()["outcome"])

		logger, written = logs()
		c = newCluster().on("create", lost(lostReply()))
		_, err = k8sretry.Create(context.Background(), c, configMap("x"), metav1.CreateOptions{}, logger, k8sretry.WithMaxRetries(0))
		require.NoError(t, err)
		assert.Empty(t, messages(written))
	})
}

// client-go repeats a write inside one attempt if the response has a Retry-After. So the
// first answer that a call sees may be caused by an earlier request.
func TestWritesNoticeTheRetriesOfClientGo(t *testing.T) {
	ctx := context.Background()
	var left atomic.Int32
	gateway := func(w http.ResponseWriter, _ *http.Request) bool {
		if left.Add(-1) < 0 {
			return false
		}
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	for name, wrappers := range map[string][]func(http.RoundTripper) http.RoundTripper{
		"client-go repeats the request": nil,
		"a Transport sends once":        {wrapper(t)},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster()
			client := overHTTP(t, c, gateway, wrappers...).CoreV1().ConfigMaps("default")
			policy := k8sretry.NewPolicy(k8sretry.WithInitialDelay(time.Millisecond))

			left.Store(1)
			made, err := k8sretry.Create(ctx, client, configMap("x", "n", "0"), metav1.CreateOptions{}, policy)
			require.NoError(t, err)
			c.expectRequests(t, "create", "create", "get")

			left.Store(1)
			made.Data["n"] = "1"
			made, err = k8sretry.Update(ctx, client, made, metav1.UpdateOptions{}, policy)
			require.NoError(t, err)

			left.Store(1)
			made, err = k8sretry.Modify(ctx, client, made.Name, plusOne, policy)
			require.NoError(t, err)
			assert.Equal(t, "2", made.Data["n"])

			left.Store(1)
			require.NoError(t, k8sretry.Delete(ctx, client, made, metav1.DeleteOptions{}, policy))
			c.expectRequests(t, "create", "create", "get", "update", "update", "get", "get", "update", "update", "get", "delete", "delete")
		})
	}
}

// A Transport hides the Retry-After from client-go, but not from the call.
func TestWritesObeyRetryAfterWithATransport(t *testing.T) {
	var left atomic.Int32
	left.Store(1)
	c := newCluster()
	client := overHTTP(t, c, func(w http.ResponseWriter, _ *http.Request) bool {
		if left.Add(-1) < 0 {
			return false
		}
		w.Header().Set("Retry-After", "90")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}, wrapper(t)).CoreV1().ConfigMaps("default")
	made, err := k8sretry.Create(context.Background(), client, configMap("x"), metav1.CreateOptions{})
	require.NoError(t, err, "the delay is too long to retry, but the final check finds the object")
	assert.Equal(t, "x", made.Name)
	c.expectRequests(t, "create", "get")
}

// client-go repeats a write by itself after an answer with a Retry-After. That its repetition
// was not sent does not mean that the write was not carried out.
func TestWritesAfterAReplayThatIsNotSent(t *testing.T) {
	for _, again := range []error{os.ErrDeadlineExceeded, syscall.ECONNREFUSED, &net.DNSError{Err: "server misbehaving", IsTemporary: true}} {
		t.Run(again.Error(), func(t *testing.T) {
			var left, writes atomic.Int32
			c := newCluster()
			client := overHTTP(t, c, func(w http.ResponseWriter, _ *http.Request) bool {
				if left.Add(-1) < 0 {
					return false
				}
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}, func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(req *http.Request) (*http.Response, error) {
					if req.Method != http.MethodGet && writes.Add(1) == 2 {
						return nil, &net.OpError{Op: "dial", Net: "tcp", Err: again}
					}
					return next.RoundTrip(req)
				})
			}).CoreV1().ConfigMaps("default")
			lose := func() { left.Store(1); writes.Store(0) }

			lose()
			generated := configMap("", "n", "0")
			generated.GenerateName = "x-"
			made, err := k8sretry.Create(t.Context(), client, generated, metav1.CreateOptions{}, quickly)
			require.NoError(t, err)
			assert.Len(t, c.created, 1)

			lose()
			changed, err := k8sretry.Modify(t.Context(), client, made.Name, plusOne, quickly)
			require.NoError(t, err)
			assert.Equal(t, "1", changed.Data["n"])

			lose()
			changed.Data["n"] = "2"
			changed, err = k8sretry.Update(t.Context(), client, changed, metav1.UpdateOptions{}, quickly)
			require.NoError(t, err)
			assert.Equal(t, "2", changed.Data["n"])

			lose()
			require.NoError(t, k8sretry.Delete(t.Context(), client, changed, metav1.DeleteOptions{}, quickly))
		})
	}
}

// client-go and net/http may repeat a request within one attempt. Two connections show
// that, two requests for a connection do not: HTTP/2 asks twice if several requests wait
// for a new connection.
func TestWritesNoticeASecondConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		connections int
		fails       bool
	}{
		"one connection: NotFound is returned":                                  {1, true},
		"two connections: the first request may have been the one that deletes": {2, false},
	} {
		t.Run(name, func(t *testing.T) {
			client := tracedClient{newCluster(), tt.connections}
			err := k8sretry.Delete(t.Context(), client, configMap("x"), metav1.DeleteOptions{})
			if tt.fails {
				requireUnchanged(t, err)
			} else {
				require.NoError(t, err)
			}
			client.expectRequests(t, "delete")
		})
	}
}

// tracedClient asks for two connections in each delete, and obtains the given number.
type tracedClient struct {
	*cluster
	connections int
}

func (c tracedClient) Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error {
	trace := httptrace.ContextClientTrace(ctx)
	for range 2 {
		trace.GetConn("server:443")
	}
	for range c.connections {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	return c.cluster.Delete(ctx, name, opts)
}

// After a 301, net/http sends a GET in place of the write, and its success says nothing
// about the write. A Transport sees that.
func TestWritesNoticeRedirects(t *testing.T) {
	for code, keepsMethod := range map[int]bool{http.StatusMovedPermanently: false, http.StatusTemporaryRedirect: true} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			obj := settings("x")
			var mu sync.Mutex
			requests := map[string]int{}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				requests[r.Method]++
				mu.Unlock()
				write(w, 200, obj)
			}))
			defer server.Close()
			redirect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, server.URL+r.URL.String(), code)
			}))
			defer redirect.Close()
			client := clientset(t, &rest.Config{Host: redirect.URL}, wrapper(t, quickly)).CoreV1().ConfigMaps("default")
			changed := settings("x")
			changed.Labels = map[string]string{"changed": "yes"}
			_, updated := k8sretry.Update(t.Context(), client, changed, metav1.UpdateOptions{}, quickly)
			_, modified := k8sretry.Modify(t.Context(), client, "x", plusOne, quickly)
			deleted := k8sretry.Delete(t.Context(), client, obj, metav1.DeleteOptions{}, quickly)
			mu.Lock()
			defer mu.Unlock()
			if !keepsMethod {
				assert.Error(t, updated)
				assert.Error(t, modified)
				assert.Error(t, deleted)
				assert.Zero(t, requests[http.MethodPut]+requests[http.MethodDelete])
				return
			}
			require.NoError(t, errors.Join(updated, modified, deleted))
			assert.Equal(t, 2, requests[http.MethodPut])
			assert.Equal(t, 1, requests[http.MethodDelete])
		})
	}
}

// injectFaults makes the given share of all requests fail, carried out or not.
func injectFaults(c *cluster, rng *rand.Rand, share float64) {
	c.always = func(string) *fault {
		if rng.Float64() >= share {
			return nil
		}
		errs := []error{lostReply(), gatewayTimeout(), badGateway(), unavailable(), etcdTimeout()}
		m := &fault{}
		switch err := errs[rng.IntN(len(errs))]; rng.IntN(5) {
		case 0, 1:
			m.before = err
		case 2, 3:
			m.after = err
		default:
			m.before = tooMany(int32(rng.IntN(2)))
		}
		return m
	}
}

// patient is a policy whose retries suffice for random faults.
var patient = k8sretry.NewPolicy(k8sretry.WithMaxRetries(40), k8sretry.WithInitialDelay(100*time.Millisecond),
	k8sretry.WithMaxDelay(2*time.Second), k8sretry.WithLogger(nil))

// With 30 % of the requests failing, and other clients that write the same objects, many
// concurrent writes succeed, and each is carried out exactly once.
func TestWritesWithRandomFaults(t *testing.T) {
	const workers, rounds = 16, 12
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 7))
				c := newCluster()
				const counters = 4
				for i := range counters {
					c.put(configMap(fmt.Sprintf("counter-%d", i), "n", "0"))
				}
				doomed := make(map[string]*corev1.ConfigMap)
				for w := range workers {
					for r := range rounds {
						name := fmt.Sprintf("doomed-%d-%d", w, r)
						doomed[name] = c.put(configMap(name))
						if (w+r)%20 == 0 {
							c.put(configMap(fmt.Sprintf("fixed-%d-%d", w, r), "by", "another client"))
						}
					}
				}
				testkit.Sleep(time.Hour) // so that the objects of others are older than the calls
				injectFaults(c, rng, 0.3)

				ctx, end := context.WithCancel(context.Background())
				var others, calls sync.WaitGroup
				var byOthers [counters]int
				others.Go(func() { // counts as well, in a field of its own, and removes the tokens
					for i := 0; ctx.Err() == nil; i++ {
						testkit.Sleep(170 * time.Millisecond)
						byOthers[i%counters]++
						c.change(fmt.Sprintf("counter-%d", i%counters), func(o *corev1.ConfigMap) {
							o.Annotations, o.Data["others"] = nil, strconv.Itoa(byOthers[i%counters])
						})
					}
				})
				others.Go(func() { // creates every fourth deleted object again at once
					for ctx.Err() == nil {
						testkit.Sleep(100 * time.Millisecond)
						for w := range workers {
							for r := range rounds {
								if name := fmt.Sprintf("doomed-%d-%d", w, r); (w+r)%4 == 0 && c.get(name) == nil {
									c.put(configMap(name, "again", "true"))
								}
							}
						}
					}
				})
				var done [workers][counters]int
				for w := range workers {
					calls.Go(func() {
						for r := range rounds {
							id := fmt.Sprintf("%d-%d", w, r)
							fixed, err := k8sretry.Create(ctx, c, configMap("fixed-"+id, "by", "this call"), metav1.CreateOptions{}, patient)
							if (w+r)%20 == 0 {
								assert.True(t, apierrors.IsAlreadyExists(err), "create %s: %v", id, err)
								assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
							} else if assert.NoError(t, err, "create %s", id) {
								fixed.Data["n"] = "1"
								_, err := k8sretry.Update(ctx, c, fixed, metav1.UpdateOptions{}, patient)
								assert.NoError(t, err, "update %s", id)
							}
							generated := configMap("", "by", id)
							generated.GenerateName = "gen-"
							_, err = k8sretry.Create(ctx, c, generated, metav1.CreateOptions{}, patient)
							assert.NoError(t, err, "generate %s", id)

							err = k8sretry.Delete(ctx, c, doomed["doomed-"+id], metav1.DeleteOptions{}, patient)
							assert.NoError(t, err, "delete %s", id)

							i := (w + r) % counters
							_, err = k8sretry.Modify(ctx, c, fmt.Sprintf("counter-%d", i), plusOne, patient)
							if assert.NoError(t, err, "modify %s", id) {
								done[w][i]++
							}
						}
					})
				}
				calls.Wait()
				testkit.Sleep(time.Second) // so that the last ones are created again
				end()
				others.Wait()

				made := map[string]int{}
				for name, o := range c.objects {
					if o.GenerateName != "" {
						made[o.Data["by"]]++
					}
					assert.LessOrEqual(t, c.created[name], 2)
				}
				require.Len(t, made, workers*rounds, "lost")
				for w := range workers {
					for r := range rounds {
						id := fmt.Sprintf("%d-%d", w, r)
						assert.Equal(t, 1, made[id], "generated twice")
						assert.Equal(t, 1, c.created["fixed-"+id])
						if o := c.objects["fixed-"+id]; (w+r)%20 != 0 {
							assert.Equal(t, "1", o.Data["n"])
						}
						if o := c.objects["doomed-"+id]; (w+r)%4 == 0 {
							assert.Equal(t, "true", o.Data["again"])
							assert.Equal(t, 2, c.created["doomed-"+id], "a new object was deleted")
						} else {
							assert.Nil(t, o)
						}
					}
				}
				for i := range counters {
					want := 0
					for w := range workers {
						want += done[w][i]
					}
					data := c.objects[fmt.Sprintf("counter-%d", i)].Data
					assert.Equal(t, strconv.Itoa(want), data["n"])
					assert.Equal(t, strconv.Itoa(byOthers[i]), data["others"])
				}
			})
		})
	}
}
