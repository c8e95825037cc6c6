// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
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
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/clientgo"
)

// These tests hold what a Transport promises to a client. roundtrip_test.go is about its
// sends and net/http, record_test.go about unknown outcomes.

// What is sent again.

func TestTransportRetriesTransientFailures(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			server := serve(t, proto, func(w http.ResponseWriter, _ *http.Request, n int) {
				switch n {
				case 1:
					w.Header().Set("Retry-After", "0")
					w.WriteHeader(http.StatusServiceUnavailable)
				case 2:
					reset(w)
				case 3:
					http.Error(w, strings.Repeat("<html>", 4<<10), http.StatusBadGateway)
				default:
					write(w, 200, settings("a"))
				}
			})
			client := clientset(t, server.config(), wrapper(t, quickly))
			require.NoError(t, get(t.Context(), client))
			assert.EqualValues(t, 4, server.sends.Load())
		})
	}
}

// A server that always responds the same sees one send more than there are retries, and
// the client gets its response. It is the same in a Do around the client.
func TestTransportIsTheOnlyRetryLoop(t *testing.T) {
	const retries = 5
	for _, c := range []struct {
		situation  string
		code       int
		retryAfter string
		media      string
		sends      int
		took       time.Duration // with pauses of exactly a second
		delay      int           // seconds that the final error suggests
	}{
		{"429, 0", 429, "0", "text/plain", 6, 5 * time.Second, 0},
		{"429, 1", 429, "1", "text/plain", 6, 5 * time.Second, 1},
		{"429, -1", 429, "-1", "text/plain", 6, 5 * time.Second, 0},
		{"429, 3", 429, "3", "text/plain", 6, 15 * time.Second, 3},
		{"429, 30: longer than allowed", 429, "30", "text/plain", 1, 0, 30},
		{"429, without", 429, "", "text/plain", 6, 5 * time.Second, 0},
		{"503, 0", 503, "0", "text/plain", 6, 5 * time.Second, 0},
		{"503, 1", 503, "1", "text/plain", 6, 5 * time.Second, 1},
		{"503, -1", 503, "-1", "application/json", 6, 5 * time.Second, 0},
		{"503, 3, a Status that does not repeat it", 503, "3", "application/json", 6, 15 * time.Second, 0},
		{"503, 30: longer than allowed", 503, "30", "application/json", 1, 0, 0},
		{"503, a date", 503, "date", "text/plain", 6, 15 * time.Second, 0},
		{"500", 500, "", "application/json", 6, 5 * time.Second, 0},
		{"504", 504, "", "text/plain", 6, 5 * time.Second, 0},
		{"404: once", 404, "", "application/json", 1, 0, 0},
		{"409: once", 409, "", "application/json", 1, 0, 0},
	} {
		for _, inDo := range []bool{false, true} {
			name := c.situation
			if inDo {
				name += ", in a Do"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sends := 0
					server := func(req *http.Request) (*http.Response, error) {
						sends++
						body := "slow down"
						if c.media == "application/json" {
							body = statusJSON(c.code, "", "slow down")
						}
						switch c.retryAfter {
						case "":
							return answer(req, c.code, c.media, body), nil
						case "date":
							return answer(req, c.code, c.media, body, "Retry-After", time.Now().Add(3*time.Second).UTC().Format(http.TimeFormat)), nil
						}
						return answer(req, c.code, c.media, body, "Retry-After", c.retryAfter), nil
					}
					policy := k8sretry.NewPolicy(k8sretry.WithMaxRetries(retries), k8sretry.WithMultiplier(1), exact,
						k8sretry.WithMaxRetryAfter(10*time.Second), k8sretry.WithBackoffFor(k8sretry.ClassThrottled, constantBackoff{time.Second}),
						k8sretry.WithBackoffFor(k8sretry.ClassTimeout, constantBackoff{time.Second}))
					var err error
					start := time.Now()
					if inDo {
						client := over(t, server, wrapper(t, k8sretry.WithMaxRetries(3)))
						err = k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, policy)
					} else {
						err = get(t.Context(), over(t, server, wrapper(t, policy)))
					}
					assert.Equal(t, c.sends, sends)
					assert.Equal(t, c.took, time.Since(start))
					status := apierrors.APIStatus(nil)
					require.ErrorAs(t, err, &status)
					assert.EqualValues(t, c.code, status.Status().Code)
					seconds, suggested := apierrors.SuggestsClientDelay(err)
					assert.Equal(t, c.delay, seconds)
					assert.Equal(t, c.delay > 0, suggested)
					if inDo && c.sends == 1 && c.retryAfter == "30" {
						assert.ErrorIs(t, err, k8sretry.ErrRetryAfterTooLong)
						assert.Equal(t, 30*time.Second, asError(t, err).RetryAfter)
					}
				})
			})
		}
	}
}

// A RoundTripper outside the Transport may read the answer, as loggers do, before client-go
// decides whether to repeat the request: it still does not.
func TestTransportIsTheOnlyRetryLoopBelowALogger(t *testing.T) {
	replace := func(resp *http.Response) {
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	for _, c := range []struct {
		situation string
		read      func(*http.Response)
		media     string
		delay     bool // the client's error has the delay
		elsewhere bool // sent in another goroutine
	}{
		{situation: "reads nothing", read: func(*http.Response) {}, media: "text/plain", delay: true},
		{situation: "replaces the body by a copy", read: replace, media: "text/plain"},
		{situation: "replaces the body, which is a Status", read: replace, media: "application/json", delay: true},
		// The assumption was that a RoundTripper reads in the goroutine of its caller.
		{situation: "copies the body in another goroutine", read: func(resp *http.Response) {
			done := make(chan struct{})
			go func() { replace(resp); close(done) }()
			<-done
		}, media: "text/plain"},
		// The assumption was that a RoundTripper sends in the goroutine of its caller.
		{situation: "sends and reads in another goroutine", read: replace, media: "text/plain", elsewhere: true},
		{situation: "sends in another goroutine", read: func(*http.Response) {}, media: "text/plain", delay: true, elsewhere: true},
		{situation: "dumps the answer", read: func(resp *http.Response) { _, _ = httputil.DumpResponse(resp, true) }, media: "text/plain"},
		{situation: "reads the beginning", read: func(resp *http.Response) {
			head, _ := io.ReadAll(io.LimitReader(resp.Body, 4))
			resp.Body = readCloser{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
		}, media: "text/plain", delay: true},
		{situation: "copies what the client reads", read: func(resp *http.Response) {
			resp.Body = readCloser{io.TeeReader(resp.Body, io.Discard), resp.Body}
		}, media: "text/plain", delay: true},
	} {
		for _, code := range []int{429, 500, 503} {
			for _, inDo := range []bool{false, true} {
				t.Run(fmt.Sprint(c.situation, " ", code, " in a Do: ", inDo), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						sends := 0
						server := func(req *http.Request) (*http.Response, error) {
							sends++
							body := "slow down"
							if c.media == "application/json" {
								status := metav1.Status{Status: metav1.StatusFailure, Code: int32(code), Details: &metav1.StatusDetails{RetryAfterSeconds: 1}}
								status.Kind, status.APIVersion = "Status", "v1"
								body = string(mustJSON(&status))
							}
							return answer(req, code, c.media, body, "Retry-After", "1"), nil
						}
						logger := func(next http.RoundTripper) http.RoundTripper {
							return roundTripper(func(req *http.Request) (resp *http.Response, err error) {
								done := make(chan struct{})
								send := func() {
									defer close(done)
									if resp, err = next.RoundTrip(req); err == nil {
										c.read(resp)
									}
								}
								if c.elsewhere {
									go send()
								} else {
									send()
								}
								<-done
								return resp, err
							})
						}
						client := over(t, server, wrapper(t, k8sretry.WithLogger(nil)), logger)
						call := func(ctx context.Context) error {
							_, err := client.CoreV1().ConfigMaps("default").Create(ctx, settings("a"), metav1.CreateOptions{})
							return err
						}
						err := call(t.Context())
						if inDo {
							sends = 0
							err = k8sretry.Run(t.Context(), call, k8sretry.WithLogger(nil))
						}
						require.Error(t, err)
						assert.Equal(t, 4, sends)
						seconds, ok := apierrors.SuggestsClientDelay(err)
						if code != 500 || c.media == "application/json" { // client-go makes an internal error of it, without a delay
							assert.Equal(t, c.delay, ok && seconds == 1, "%v", err)
						}
					})
				})
			}
		}
	}
}

// A RoundTripper outside the Transport may return the error of a body that it has read: a
// connection that broke in the middle of an answer, after which client-go would repeat a GET.
func TestTransportIsTheOnlyRetryLoopBelowALoggerOfTruncatedBodies(t *testing.T) {
	for _, inDo := range []bool{false, true} {
		for _, broken := range []func(http.ResponseWriter){reset, func(http.ResponseWriter) { panic(http.ErrAbortHandler) }} {
			synctest.Test(t, func(t *testing.T) {
				server := serveInMemory(t, protoHTTP1, func(w http.ResponseWriter, r *http.Request, _ int) {
					w.Header().Set("Content-Length", "1000")
					w.WriteHeader(http.StatusOK)
					flush(w)
					pause(r, time.Second) // until the client has read the header
					broken(w)
				})
				client := clientset(t, server.config(), wrapper(t, quickly), func(next http.RoundTripper) http.RoundTripper {
					return roundTripper(func(req *http.Request) (*http.Response, error) {
						resp, err := next.RoundTrip(req)
						if err != nil {
							return nil, err
						}
						body, err := io.ReadAll(resp.Body)
						if err != nil {
							return nil, err
						}
						resp.Body = io.NopCloser(bytes.NewReader(body))
						return resp, nil
					})
				})
				want := 1 // the Transport has succeeded
				err := get(t.Context(), client)
				if inDo {
					want = 1 + 4
					err = k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, quickly, k8sretry.WithVerb(k8sretry.VerbGet))
					assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				}
				assert.True(t, k8sretry.IsRetryableConnectionError(err), "%v", err)
				assert.EqualValues(t, want, server.sends.Load())
			})
		}
	}
}

type readCloser struct {
	io.Reader
	io.Closer
}

// A RoundTripper may use client-go itself, to get a token: that client gets the delay. A
// logger is found below many RoundTrippers.
func TestTransportShowsTheRetryAfterToItsOwnClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		throttled := func(req *http.Request) (*http.Response, error) {
			sends++
			return answer(req, 429, "text/plain", "slow down", "Retry-After", "1"), nil
		}
		tokens := over(t, throttled, wrapper(t, k8sretry.WithLogger(nil)))
		logger := func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				err := get(req.Context(), tokens)
				seconds, _ := apierrors.SuggestsClientDelay(err)
				assert.Equal(t, 1, seconds, "%v", err)
				resp, err := next.RoundTrip(req)
				if err == nil {
					readDeep(100, resp.Body)
					resp.Body = http.NoBody
				}
				return resp, err
			})
		}
		require.Error(t, get(t.Context(), over(t, throttled, wrapper(t, k8sretry.WithLogger(nil)), logger)))
		assert.Equal(t, 4+4, sends)
	})
}

func readDeep(frames int, r io.Reader) {
	if frames > 0 {
		readDeep(frames-1, r)
	} else {
		_, _ = io.ReadAll(r)
	}
}

// A Retry-After that is too large ends the call at once, one that is not valid is ignored,
// and no value overflows.
func TestTransportWithUnusualRetryAfter(t *testing.T) {
	for _, c := range []struct {
		header  string
		tooLong bool // by the default of WithMaxRetryAfter
		longer  bool // than a context of 100 hours
	}{
		{"2147483648", true, true},
		{"4294967297", true, true},
		{"9223372036", true, true},
		{"9223372036854775807", true, false},
		{"9223372036854775808", true, false},
		{strings.Repeat("9", 400), true, false},
		{"Fri, 31 Dec 9999 23:59:59 GMT", true, false},
		{"-9223372036854775808", false, false},
		{"\x00", false, false},
		{"1e9", false, false},
		{" 5", false, false},
	} {
		send := func(t *testing.T, opts ...k8sretry.Option) (sends int, took time.Duration, err error) {
			synctest.Test(t, func(t *testing.T) {
				client := over(t, func(req *http.Request) (*http.Response, error) {
					if sends++; sends == 1 {
						return answer(req, 429, "text/plain", "slow down", "Retry-After", c.header), nil
					}
					return answer(req, 200, "application/json", string(mustJSON(settings("a")))), nil
				}, wrapper(t, append(opts, k8sretry.WithLogger(nil))...))
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
				defer cancel()
				start := time.Now()
				err = get(ctx, client)
				took = time.Since(start)
			})
			return sends, took, err
		}
		t.Run(c.header[:min(len(c.header), 29)], func(t *testing.T) {
			sends, took, err := send(t)
			if c.tooLong {
				assert.True(t, apierrors.IsTooManyRequests(err), "%v", err)
				assert.Equal(t, 1, sends)
				assert.Zero(t, took)
			} else {
				assert.NoError(t, err)
				assert.Equal(t, 2, sends)
			}
			sends, took, err = send(t, k8sretry.WithMaxRetryAfter(1<<63-1))
			if c.longer {
				assert.True(t, apierrors.IsTooManyRequests(err), "%v", err)
				assert.Equal(t, 1, sends)
				assert.Zero(t, took)
			}
			assert.LessOrEqual(t, sends, 2)
		})
	}
}

// Do(5) around Transport(3) sends six times, and client-go's loop does not start.
func TestTransportInADoSendsOncePerAttempt(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			server := serve(t, proto, func(w http.ResponseWriter, _ *http.Request, _ int) { reset(w) })
			client := clientset(t, server.config(), wrapper(t, quickly, k8sretry.WithMaxRetries(3)))
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, quickly, k8sretry.WithMaxRetries(5))
			e := asError(t, err)
			assert.Equal(t, 6, e.Attempts)
			assert.EqualValues(t, 6, server.sends.Load())
			if proto == protoHTTP1 {
				var errno syscall.Errno
				require.ErrorAs(t, err, &errno)
				assert.Equal(t, syscall.ECONNRESET, errno)
				assert.ErrorContains(t, err, "connection reset by peer")
			}
		})
	}
}

// Of several Transports around one client the outer one loops, and the inner ones do not
// change what is known of a failure.
func TestTransportAroundATransport(t *testing.T) {
	const webhook = `Internal error occurred: failed calling webhook "x.example.com": failed to call webhook: Post "https://x": dial tcp: connect: connection refused`
	for n := 1; n <= 3; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var wrappers []func(http.RoundTripper) http.RoundTripper
				for range n {
					wrappers = append(wrappers, wrapper(t, k8sretry.WithLogger(nil)))
				}
				sends := 0
				client := over(t, func(req *http.Request) (*http.Response, error) {
					sends++
					return answer(req, 503, "text/plain", "not now"), nil
				}, wrappers...)
				require.True(t, apierrors.IsServiceUnavailable(get(t.Context(), client)))
				assert.Equal(t, 4, sends)

				sends = 0
				client = over(t, func(req *http.Request) (*http.Response, error) {
					if sends++; sends == 1 {
						return answer(req, 500, "application/json", statusJSON(500, "InternalError", webhook)), nil
					}
					return answer(req, 201, "application/json", string(mustJSON(settings("a")))), nil
				}, wrappers...)
				_, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("a"), metav1.CreateOptions{})
				assert.NoError(t, err)
				assert.Equal(t, 2, sends)
			})
		})
	}
}

// Safe writes send once for each of their attempts.
func TestTransportBelowSafeWrites(t *testing.T) {
	server := serve(t, protoHTTP2, func(w http.ResponseWriter, r *http.Request, n int) {
		if n < 3 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		write(w, 201, settings("a"))
	})
	maps := clientset(t, server.config(), wrapper(t, quickly)).CoreV1().ConfigMaps("default")
	o := settings("a")
	o.UID, o.ResourceVersion = "", ""
	_, err := k8sretry.Create(t.Context(), maps, o, metav1.CreateOptions{}, quickly)
	require.NoError(t, err)
	assert.EqualValues(t, 3, server.sends.Load())
}

// Whether a request is repeated after a broken connection depends on its verb, body and
// content type.
func TestTransportRetriesByVerb(t *testing.T) {
	ctx := t.Context()
	named := settings("a")
	named.ResourceVersion, named.UID = "", ""
	generated := named.DeepCopy()
	generated.Name, generated.GenerateName = "", "a-"
	patch := func(c kubernetes.Interface, kind types.PatchType, body string) error {
		_, err := c.CoreV1().ConfigMaps("default").Patch(ctx, "a", kind, []byte(body), metav1.PatchOptions{})
		return err
	}
	for _, c := range []struct {
		situation string
		call      func(kubernetes.Interface) error
		sends     int // of 3 allowed
		unknown   bool
	}{
		{"get", func(c kubernetes.Interface) error { return get(ctx, c) }, 3, false},
		{"list", func(c kubernetes.Interface) error {
			_, err := c.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
			return err
		}, 3, false},
		{"create", func(c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("default").Create(ctx, named, metav1.CreateOptions{})
			return err
		}, 3, true},
		{"create in protobuf", func(c kubernetes.Interface) error {
			return c.CoreV1().RESTClient().Post().Namespace("default").Resource("configmaps").
				SetHeader("Content-Type", "application/vnd.kubernetes.protobuf").Body(protobufOf(t, named)).Do(ctx).Error()
		}, 3, true},
		{"create without a name", func(c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{}, metav1.CreateOptions{})
			return err
		}, 1, true},
		{"eviction", func(c kubernetes.Interface) error {
			return c.CoreV1().Pods("default").EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "a"}, DeleteOptions: metav1.NewPreconditionDeleteOptions("u")})
		}, 3, true},
		{"create with a generated name", func(c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("default").Create(ctx, generated, metav1.CreateOptions{})
			return err
		}, 1, true},
		{"create, dry run", func(c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("default").Create(ctx, named, metav1.CreateOptions{DryRun: []string{"All"}})
			return err
		}, 3, false},
		{"update", func(c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("default").Update(ctx, named, metav1.UpdateOptions{})
			return err
		}, 3, true},
		{"merge patch", func(c kubernetes.Interface) error { return patch(c, types.MergePatchType, `{}`) }, 3, true},
		{"strategic merge patch", func(c kubernetes.Interface) error { return patch(c, types.StrategicMergePatchType, `{}`) }, 3, true},
		{"strategic merge patch that is not the same twice", func(c kubernetes.Interface) error {
			return patch(c, types.StrategicMergePatchType, mergesTwice)
		}, 1, true},
		{"apply", func(c kubernetes.Interface) error { return patch(c, types.ApplyPatchType, `{}`) }, 3, true},
		{"JSON patch", func(c kubernetes.Interface) error {
			return patch(c, types.JSONPatchType, `[{"op":"add","path":"/data/list/-","value":"1"}]`)
		}, 1, true},
		{"JSON patch with a test", func(c kubernetes.Interface) error {
			return patch(c, types.JSONPatchType, `[{"op":"test","path":"/data/a","value":"1"},{"op":"replace","path":"/data/a","value":"2"}]`)
		}, 3, true},
		{"delete", func(c kubernetes.Interface) error {
			return c.CoreV1().ConfigMaps("default").Delete(ctx, "a", *metav1.NewPreconditionDeleteOptions("u"))
		}, 3, true},
		{"delete collection", func(c kubernetes.Interface) error {
			return c.CoreV1().ConfigMaps("default").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		}, 1, true},
	} {
		for _, proto := range []string{protoHTTP1, protoHTTP2} {
			t.Run(proto+", "+c.situation, func(t *testing.T) {
				server := serve(t, proto, func(w http.ResponseWriter, _ *http.Request, _ int) { reset(w) })
				err := c.call(clientset(t, server.config(), wrapper(t, quickly, k8sretry.WithMaxRetries(2))))
				require.Error(t, err)
				assert.EqualValues(t, c.sends, server.sends.Load())
				assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown))
				for _, request := range server.seen() {
					assert.Equal(t, server.seen()[0], request, "every send has the whole body")
				}
			})
		}
	}
}

// A create whose connection was refused was not sent.
func TestTransportRetriesRefusedCreates(t *testing.T) {
	var refused atomic.Int32
	client := over(t, func(req *http.Request) (*http.Response, error) {
		if refused.Add(1) < 3 {
			return nil, network("dial", syscall.ECONNREFUSED)
		}
		return answer(req, 201, "application/json", string(mustJSON(settings("a")))), nil
	}, wrapper(t, quickly))
	_, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), settings("a"), metav1.CreateOptions{})
	require.NoError(t, err)
	assert.EqualValues(t, 3, refused.Load())
}

// A Status with the message of a webhook may be long. It is read to its end to classify
// it, and the client gets all of it.
func TestTransportReadsLongStatuses(t *testing.T) {
	const denied, unreachable = `admission webhook "a.b" denied the request: `, `Internal error occurred: failed calling webhook "a.b": `
	for _, c := range []struct {
		situation, message string
		size               int
		creates, updates   int32
	}{
		{"denied, 100 B", denied, 100, 1, 1},
		{"denied, 9 kB", denied, 9_000, 1, 1},
		{"denied, 900 kB", denied, 900_000, 1, 1},
		{"not called, 100 B", unreachable, 100, 3, 3},
		{"not called, 9 kB", unreachable, 9_000, 3, 3},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				message := c.message + strings.Repeat("v", c.size)
				s := serveInMemory(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, _ int) {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(500)
					_, _ = io.WriteString(w, statusJSON(500, metav1.StatusReasonInternalError, message))
				})
				maps := clientset(t, s.config(), wrapper(t, quickly, k8sretry.WithMaxRetries(2))).CoreV1().ConfigMaps("default")
				_, err := maps.Create(t.Context(), settings("a"), metav1.CreateOptions{})
				assert.ErrorContains(t, err, message)
				assert.Equal(t, c.creates, s.sends.Swap(0))
				_, err = maps.Update(t.Context(), settings("a"), metav1.UpdateOptions{})
				assert.ErrorContains(t, err, message)
				assert.Equal(t, c.updates, s.sends.Load())
				assert.EqualValues(t, 1, s.conns.Load(), "the connection is reused")
			})
		})
	}
}

// Requests, responses and connections.

// A request is sent again only with its whole body, and once if it has no GetBody.
func TestTransportRewindsBodies(t *testing.T) {
	const body = `{"kind":"ConfigMap","metadata":{"name":"a"}}`
	for _, c := range []struct {
		situation string
		rewind    bool
		sends     int
	}{{"with GetBody", true, 4}, {"without", false, 1}} {
		for _, proto := range []string{protoHTTP1, protoHTTP2} {
			t.Run(proto+", "+c.situation, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := serveInMemory(t, proto, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusServiceUnavailable) })
					transport := wrapper(t, quickly)(server.Client().Transport)
					var opened, closed atomic.Int32
					open := func() io.ReadCloser {
						opened.Add(1)
						return countedBody{strings.NewReader(body), &closed}
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
					synctest.Wait()
					assert.Equal(t, opened.Load(), closed.Load(), "every body is closed")
					for _, h := range server.header {
						assert.Empty(t, h.Values("Transfer-Encoding"))
						assert.Empty(t, h.Values("Idempotency-Key"))
						assert.Empty(t, h.Values("X-Idempotency-Key"))
					}
				})
			})
		}
	}
}

// countedBody counts how often it is closed.
type countedBody struct {
	io.Reader
	closed *atomic.Int32
}

func (b countedBody) Close() error { b.closed.Add(1); return nil }

// The caller's request stays as it was, and the response belongs to it.
func TestTransportDoesNotChangeTheRequest(t *testing.T) {
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

// A successful response is passed on with its own body: nothing is spent for its bytes.
func TestTransportDoesNotTouchSuccesses(t *testing.T) {
	for _, code := range []int{200, 201, 204, 206, 304} {
		transport := wrapper(t)(roundTripper(func(req *http.Request) (*http.Response, error) {
			return answer(req, code, "application/json", "x", "Retry-After", "1"), nil
		}))
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://server/api/v1/pods", nil)
		assert.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		assert.NoError(t, err)
		content, err := io.ReadAll(resp.Body)
		assert.NoError(t, err)
		assert.Equal(t, "x", string(content))
		assert.Equal(t, "1", resp.Header.Get("Retry-After"))
	}
}

// The client gets the last response as the server sent it, also one that is longer than
// what the Transport reads of it, and one that breaks off. Its Retry-After is hidden until
// the body is read.
func TestTransportReturnsTheLastResponse(t *testing.T) {
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
					flush(w)
					panic(http.ErrAbortHandler)
				}
			})
			client := &http.Client{Transport: wrapper(t, quickly)(server.Client().Transport)}
			resp, err := client.Get(server.URL + "/version")
			require.NoError(t, err)
			defer resp.Body.Close()
			assert.Equal(t, 502, resp.StatusCode)
			assert.Equal(t, "1", resp.Header.Get("X-Trace"))
			assert.Empty(t, resp.Header.Get("Retry-After"))
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

// A body that breaks off was passed on already. A Do around the client repeats the call.
func TestTransportDoesNotRetryTruncatedBodies(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			server := serve(t, proto, func(w http.ResponseWriter, _ *http.Request, _ int) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(w, `{"kind":"ConfigMap"`)
				flush(w)
				panic(http.ErrAbortHandler)
			})
			client := clientset(t, server.config(), wrapper(t, quickly, k8sretry.WithMaxRetries(3)))
			require.Error(t, get(t.Context(), client))
			assert.EqualValues(t, 1, server.sends.Load())
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, quickly, k8sretry.WithMaxRetries(2))
			assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
			assert.EqualValues(t, 1+3, server.sends.Load())
		})
	}
}

// The body of an answer that switches protocols is the connection, to which the client writes.
func TestTransportLeavesASwitchedConnection(t *testing.T) {
	conn := struct {
		io.ReadCloser
		io.Writer
	}{io.NopCloser(strings.NewReader("")), io.Discard}
	rt := k8sretry.Transport()(roundTripper(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: conn, Request: req}, nil
	}))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://10.0.0.1/apis/example.com/v1/namespaces/default/widgets/a/console", nil)
	require.NoError(t, err)
	resp, err := rt.RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	assert.Implements(t, (*io.Writer)(nil), resp.Body)
}

// A Transport has returned when the client reads the answer. The assumption was that the outcome
// is known from there on.
func TestTransportMarksAWriteWhoseAnswerIsCut(t *testing.T) {
	dryRun := []string{metav1.DryRunAll}
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			server := serve(t, proto, func(w http.ResponseWriter, r *http.Request, _ int) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(w, `{"kind":"ConfigMap"`)
				flush(w)
				panic(http.ErrAbortHandler)
			})
			clientset := clientset(t, server.config(), wrapper(t, quickly))
			client := clientset.CoreV1().ConfigMaps("default")
			for situation, c := range map[string]struct {
				call    func(context.Context) error
				unknown bool
			}{
				"create": {func(ctx context.Context) error {
					_, err := client.Create(ctx, settings("a"), metav1.CreateOptions{})
					return err
				}, true},
				"update": {func(ctx context.Context) error {
					_, err := client.Update(ctx, settings("a"), metav1.UpdateOptions{})
					return err
				}, true},
				"patch": {func(ctx context.Context) error {
					_, err := client.Patch(ctx, "a", types.MergePatchType, []byte("{}"), metav1.PatchOptions{})
					return err
				}, true},
				"delete": {func(ctx context.Context) error { return client.Delete(ctx, "a", metav1.DeleteOptions{}) }, true},
				"delete all": {func(ctx context.Context) error {
					return client.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
				}, true},
				"evict": {func(ctx context.Context) error {
					return clientset.CoreV1().Pods("default").EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "a"}})
				}, true},
				"proxied": {func(ctx context.Context) error {
					return clientset.CoreV1().RESTClient().Post().AbsPath("/api/v1/namespaces/a/services/s/proxy/orders").Do(ctx).Error()
				}, true},
				"get": {func(ctx context.Context) error { return get(ctx, clientset) }, false},
				"a dry run": {func(ctx context.Context) error {
					_, err := client.Create(ctx, settings("a"), metav1.CreateOptions{DryRun: dryRun})
					return err
				}, false},
				"a dry run delete": {func(ctx context.Context) error { return client.Delete(ctx, "a", metav1.DeleteOptions{DryRun: dryRun}) }, false},
				"a review": {func(ctx context.Context) error {
					_, err := clientset.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{}, metav1.CreateOptions{})
					return err
				}, false},
			} {
				before := server.sends.Load()
				err := c.call(t.Context())
				require.Error(t, err, situation)
				assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%s: %v", situation, err)
				assert.Equal(t, k8sretry.OutcomeUnknown, k8sretry.Classify(err).Outcome, situation)
				assert.Equal(t, k8sretry.ClassConnection, k8sretry.Classify(err).Class, situation)
				assert.EqualValues(t, 1, server.sends.Load()-before, situation)
			}
		})
	}
}

// Calls that are repeated use no more connections than others: what remains of a response
// is read, unless it is longer than 72 KiB, where a new connection is cheaper.
//
// The network is in memory because net/http gives up a connection whose write has not
// returned 50 ms after its response (maxWriteWaitBeforeConnReuse in net/http/transport.go).
func TestTransportReusesConnections(t *testing.T) {
	const calls = 200
	for _, c := range []struct {
		situation string
		proto     string
		response  func(w http.ResponseWriter, n int)
		most      int
	}{
		{"HTTP/1.1, 30 KiB", protoHTTP1, func(w http.ResponseWriter, _ int) {
			http.Error(w, strings.Repeat("<html>", 5<<10), http.StatusServiceUnavailable)
		}, 1},
		{"HTTP/1.1, up to 120 KiB", protoHTTP1, upTo120KiB, calls / 2},
		{"HTTP/2, up to 120 KiB", protoHTTP2, upTo120KiB, 1},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serveInMemory(t, c.proto, func(w http.ResponseWriter, _ *http.Request, n int) {
					if n%2 == 1 {
						c.response(w, n)
						return
					}
					write(w, 200, settings("a"))
				})
				client := clientset(t, server.config(), wrapper(t, k8sretry.WithInitialDelay(0), k8sretry.WithLogger(nil)))
				for range calls {
					require.NoError(t, get(t.Context(), client))
				}
				assert.EqualValues(t, 2*calls, server.sends.Load())
				assert.LessOrEqual(t, int(server.conns.Load()), c.most)
			})
		})
	}
}

func upTo120KiB(w http.ResponseWriter, n int) {
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, strings.Repeat("<html>", n%40*512))
}

// A wrapped RoundTripper that returns neither a response nor an error does not panic.
func TestTransportWithoutResponseAndError(t *testing.T) {
	c := &http.Client{Transport: wrapper(t, quickly)(roundTripper(func(*http.Request) (*http.Response, error) { return nil, nil }))}
	assert.NotPanics(t, func() {
		_, err := c.Get("http://x/api/v1/pods/x")
		assert.ErrorContains(t, err, "neither a response nor an error")
	})
}

// One Transport serves any number of goroutines.
func TestTransportIsSafeForConcurrentUse(t *testing.T) {
	const calls = 300
	synctest.Test(t, func(t *testing.T) {
		var seen sync.Map
		server := serveInMemory(t, protoHTTP2, func(w http.ResponseWriter, r *http.Request, _ int) {
			if _, again := seen.LoadOrStore(r.URL.Path, true); !again {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			write(w, 200, settings(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]))
		})
		client := clientset(t, server.config(), wrapper(t, quickly))
		require.NoError(t, get(t.Context(), client)) // makes the connection that all others use
		var all sync.WaitGroup
		var wrong atomic.Int32
		for i := range calls {
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
		assert.EqualValues(t, 2+2*calls, server.sends.Load())
	})
}

// Contexts and timeouts.

// The end of a context ends the call at once. The error holds both the end and what the
// server has said before.
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

		// A pause beyond the deadline is not begun.
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		start = time.Now()
		err = get(ctx, client)
		assert.Zero(t, time.Since(start))
		assert.True(t, apierrors.IsServiceUnavailable(err))
		assert.NotErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestTransportWithAContextThatHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var closed atomic.Int32
	transport := wrapper(t)(roundTripper(func(*http.Request) (*http.Response, error) { panic("sent") }))
	req, err := http.NewRequestWithContext(ctx, "PUT", "https://server/api/v1/nodes/n", countedBody{strings.NewReader("{}"), &closed})
	require.NoError(t, err)
	_, err = transport.RoundTrip(req)
	assert.ErrorIs(t, err, context.Canceled)
	assert.EqualValues(t, 1, closed.Load())
}

func TestTransportCancelsARequestInFlight(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				arrived := make(chan struct{})
				server := serveInMemory(t, proto, func(_ http.ResponseWriter, r *http.Request, _ int) {
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
		})
	}
}

// The timeout of rest.Config covers all sends of a call and the pauses between them.
func TestTransportBelowTheTimeoutOfTheConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		cfg := &rest.Config{Host: "https://server", Timeout: 10 * time.Second, Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			sends++
			return answer(req, 503, "application/json", statusJSON(503, metav1.StatusReasonServiceUnavailable, "no")), nil
		})}
		client := clientset(t, cfg, wrapper(t, exact, k8sretry.WithMaxRetries(100), k8sretry.WithInitialDelay(4*time.Second), k8sretry.WithMultiplier(1)))
		start := time.Now()
		err := get(t.Context(), client)
		assert.True(t, apierrors.IsServiceUnavailable(err))
		assert.Equal(t, 3, sends)
		assert.Equal(t, 8*time.Second, time.Since(start), "the third pause would pass the timeout")
	})
}

// WithAttemptTimeout notices a server that accepts requests and never responds.
func TestTransportAttemptTimeout(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serveInMemory(t, proto, func(w http.ResponseWriter, r *http.Request, n int) {
					if n < 3 {
						<-r.Context().Done()
						panic(http.ErrAbortHandler) // to return would be a 200
					}
					write(w, 200, settings("a"))
				})
				client := clientset(t, server.config(), wrapper(t, k8sretry.WithInitialDelay(0), k8sretry.WithLogger(nil), k8sretry.WithAttemptTimeout(time.Minute)))
				start := time.Now()
				require.NoError(t, get(t.Context(), client))
				assert.EqualValues(t, 3, server.sends.Load())
				assert.Equal(t, 2*time.Minute, time.Since(start))
			})
		})
	}
}

// The assumption was that everybody sets a timeout: a server that never answers held each call of
// a Transport made of a preset.
func TestTransportBoundsASendWithoutTheOption(t *testing.T) {
	type opts = []k8sretry.Option
	for _, c := range []struct {
		situation     string
		transport, do opts // do: nil for a call without a Do
		want          time.Duration
	}{
		{"no options", nil, nil, 75 * time.Second},
		{"a preset", opts{k8sretry.ForRead()}, nil, 75 * time.Second},
		{"a timeout", opts{k8sretry.ForRead(), k8sretry.WithAttemptTimeout(20 * time.Second)}, nil, 20 * time.Second},
		{"a timeout before a preset", opts{k8sretry.WithAttemptTimeout(20 * time.Second), k8sretry.ForRead()}, nil, 20 * time.Second},
		{"a timeout of 0", opts{k8sretry.WithAttemptTimeout(0)}, nil, 0},
		{"a Policy with a timeout of 0", opts{k8sretry.NewPolicy(k8sretry.WithAttemptTimeout(0))}, nil, 0},
		{"in a Do", nil, opts{nil}, 75 * time.Second},
		{"in a Do, with a Breaker", opts{k8sretry.WithBreaker(new(k8sretry.Breaker))}, opts{nil}, 75 * time.Second},
		{"a timeout, in a Do", opts{k8sretry.WithAttemptTimeout(20 * time.Second)}, opts{nil}, 20 * time.Second},
		{"a timeout of 0, in a Do", opts{k8sretry.WithAttemptTimeout(0)}, opts{nil}, 0},
		{"in a Do with a timeout", opts{k8sretry.WithAttemptTimeout(20 * time.Second)}, opts{k8sretry.WithAttemptTimeout(90 * time.Second)}, 90 * time.Second},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var ended []time.Duration
				client := over(t, func(req *http.Request) (*http.Response, error) {
					<-req.Context().Done()
					ended = append(ended, time.Since(began))
					return nil, req.Context().Err()
				}, wrapper(t, append(c.transport, k8sretry.WithInitialDelay(0), k8sretry.WithLogger(nil))...))
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				err := get(ctx, client)
				if c.do != nil {
					began, ended = time.Now(), nil
					ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					err = k8sretry.Run(ctx, func(ctx context.Context) error { return get(ctx, client) }, append(c.do, k8sretry.WithInitialDelay(0))...)
				}
				require.Error(t, err)
				if c.want == 0 {
					assert.Equal(t, []time.Duration{time.Hour}, ended)
					return
				}
				assert.Equal(t, []time.Duration{c.want, 2 * c.want, 3 * c.want, 4 * c.want}, ended)
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
			})
		})
	}
}

// The server may begin to answer these requests after a long time.
func TestTransportDoesNotBoundStreamsByItself(t *testing.T) {
	const pod = "https://server/api/v1/namespaces/a/pods/web-0"
	for name, c := range map[string]struct {
		method, url string
		bounded     bool
	}{
		"watch":              {http.MethodGet, "https://server/api/v1/pods?watch=true", false},
		"followed log":       {http.MethodGet, pod + "/log?follow=true", false},
		"exec":               {http.MethodPost, pod + "/exec?command=ls", false},
		"attach":             {http.MethodGet, pod + "/attach", false},
		"port-forward":       {http.MethodPost, pod + "/portforward", false},
		"proxy":              {http.MethodGet, pod + "/proxy/report", false},
		"log":                {http.MethodGet, pod + "/log", true},
		"list":               {http.MethodGet, "https://server/api/v1/pods", true},
		"deletecollection":   {http.MethodDelete, "https://server/api/v1/namespaces/a/pods", true},
		"a path of no group": {http.MethodGet, "https://server/version", true},
	} {
		for _, inDo := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", in a Do: ", inDo), func(t *testing.T) {
				for opt, bounded := range map[k8sretry.Option]bool{nil: c.bounded, k8sretry.WithAttemptTimeout(75 * time.Second): true} {
					synctest.Test(t, func(t *testing.T) {
						rt := wrapper(t, opt, k8sretry.WithMaxRetries(0), k8sretry.WithLogger(nil))(roundTripper(func(req *http.Request) (*http.Response, error) {
							select {
							case <-req.Context().Done():
								return nil, req.Context().Err()
							case <-time.After(10 * time.Minute):
								return answer(req, 200, "text/plain", ""), nil
							}
						}))
						send := func(ctx context.Context) error {
							req, err := http.NewRequestWithContext(ctx, c.method, c.url, nil)
							require.NoError(t, err)
							resp, err := rt.RoundTrip(req)
							if err == nil {
								err = resp.Body.Close()
							}
							return err
						}
						began := time.Now()
						if inDo {
							_ = k8sretry.Run(t.Context(), send, k8sretry.WithMaxRetries(0))
						} else {
							_ = send(t.Context())
						}
						want := 10 * time.Minute
						if bounded {
							want = 75 * time.Second
						}
						assert.Equal(t, want, time.Since(began))
					})
				}
			})
		}
	}
}

// What asks for a timeout gets the same answer as without a Transport.
func TestTransportErrorIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serveInMemory(t, protoHTTP1, func(_ http.ResponseWriter, r *http.Request, _ int) {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		})
		client := &http.Client{Transport: wrapper(t, quickly, k8sretry.WithMaxRetries(1), k8sretry.WithAttemptTimeout(time.Minute))(server.Client().Transport)}
		_, err := client.Get(server.URL + "/version")
		require.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.True(t, os.IsTimeout(err))
		var asked net.Error
		require.ErrorAs(t, err, &asked)
		assert.True(t, asked.Timeout())
	})
}

// The attempt timeout ends with the headers: it cuts neither a last response nor a stream.
func TestTransportAttemptTimeoutEndsWithTheHeaders(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		for _, code := range []int{200, 503} {
			t.Run(fmt.Sprint(proto, code), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := serveInMemory(t, proto, func(w http.ResponseWriter, r *http.Request, _ int) {
						w.WriteHeader(code)
						_, _ = io.WriteString(w, strings.Repeat("x", 20<<10))
						flush(w)
						pause(r, time.Minute)
						_, _ = io.WriteString(w, "end")
					})
					client := &http.Client{Transport: wrapper(t, quickly, k8sretry.WithMaxRetries(0), k8sretry.WithAttemptTimeout(time.Second))(server.Client().Transport)}
					resp, err := client.Get(server.URL + "/version")
					require.NoError(t, err)
					defer resp.Body.Close()
					body, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					assert.True(t, strings.HasSuffix(string(body), "end"))
				})
			})
		}
	}
}

// A failed response whose body does not end is given up after the attempt timeout.
func TestTransportAttemptTimeoutCoversDiscardedBodies(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serveInMemory(t, proto, func(w http.ResponseWriter, r *http.Request, n int) {
					if n > 1 {
						write(w, 200, settings("a"))
						return
					}
					w.WriteHeader(503)
					_, _ = w.Write(make([]byte, 9<<10))
					flush(w)
					<-r.Context().Done()
				})
				client := clientset(t, server.config(), wrapper(t, k8sretry.WithInitialDelay(0), k8sretry.WithLogger(nil), k8sretry.WithAttemptTimeout(time.Minute)))
				start := time.Now()
				assert.NoError(t, get(t.Context(), client))
				assert.Equal(t, time.Minute, time.Since(start))
			})
		})
	}
}

// Watches, logs and informers.

// A watch is sent once, and goes on after the call that opened it has returned.
func TestTransportDoesNotCutWatches(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		for _, inDo := range []bool{false, true} {
			t.Run(fmt.Sprint(proto, ", in a Do: ", inDo), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := serveInMemory(t, proto, func(w http.ResponseWriter, r *http.Request, _ int) {
						w.Header().Set("Content-Type", "application/json")
						for range 2 {
							_, _ = io.WriteString(w, `{"type":"ADDED","object":`+string(mustJSON(settings("a")))+"}\n")
							flush(w)
							pause(r, time.Minute)
						}
					})
					timeout := k8sretry.WithAttemptTimeout(time.Second)
					client := clientset(t, server.config(), wrapper(t, quickly, timeout))
					open := func(ctx context.Context) (watch.Interface, error) {
						return client.CoreV1().ConfigMaps("").Watch(ctx, metav1.ListOptions{})
					}
					var w watch.Interface
					var err error
					if inDo {
						w, err = k8sretry.Do(t.Context(), open, quickly, timeout)
					} else {
						w, err = open(t.Context())
					}
					require.NoError(t, err)
					for range 2 {
						assert.NotNil(t, (<-w.ResultChan()).Object)
					}
					w.Stop()
					assert.EqualValues(t, 1, server.sends.Load())
				})
			})
		}
	}
}

// A watch that cannot start is sent once, because its caller tries again. It gets the
// error of the server, and there is no event.
func TestTransportDoesNotRetryWatches(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		for name, handle := range map[string]func(http.ResponseWriter){
			"429": func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
			},
			"reset": reset,
		} {
			t.Run(proto+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := serveInMemory(t, proto, func(w http.ResponseWriter, _ *http.Request, _ int) { handle(w) })
					rec := new(recorder)
					client := clientset(t, server.config(), wrapper(t, quickly, k8sretry.WithObserver(rec)))
					start := time.Now()
					_, err := client.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{})
					require.Error(t, err)
					assert.Zero(t, time.Since(start))
					assert.EqualValues(t, 1, server.sends.Load())
					assert.Empty(t, rec.events)
					if name == "429" {
						delay, _ := apierrors.SuggestsClientDelay(err)
						assert.Equal(t, 1, delay)
						assert.True(t, apierrors.IsTooManyRequests(err))
					}
				})
			})
		}
	}
}

// Logs that are followed go on for as long as the caller reads them.
func TestTransportDoesNotCutLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serveInMemory(t, protoHTTP2, func(w http.ResponseWriter, r *http.Request, _ int) {
			for range 2 {
				_, _ = io.WriteString(w, "line\n")
				flush(w)
				pause(r, time.Minute)
			}
		})
		client := clientset(t, server.config(), wrapper(t, quickly, k8sretry.WithAttemptTimeout(time.Second)))
		logs, err := client.CoreV1().Pods("default").GetLogs("p", &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
		require.NoError(t, err)
		defer logs.Close()
		lines := bufio.NewScanner(logs)
		assert.True(t, lines.Scan())
		assert.True(t, lines.Scan())
		assert.False(t, lines.Scan())
		assert.NoError(t, lines.Err())
	})
}

// Errors that are hidden from client-go.

// Reflectors look for a refused connection: it is not hidden.
func TestTransportDoesNotHideRefusedConnections(t *testing.T) {
	server := serve(t, protoHTTP1, nil)
	cfg := server.config()
	server.Close()
	client := clientset(t, cfg, wrapper(t, quickly))
	err := get(t.Context(), client)
	assert.True(t, utilnet.IsConnectionRefused(err))
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
	_, err = client.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{})
	assert.True(t, utilnet.IsConnectionRefused(err))
}

// Classify gives the same verdict for an error of a Transport as without one, whether the
// error is hidden or not.
func TestClassifyReadsHiddenErrors(t *testing.T) {
	fromClient := func(err error) error { return &url.Error{Op: "Get", URL: "https://server/api/v1/pods", Err: err} }
	reset := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for situation, err := range map[string]error{
		"reset":             reset,
		"reset, given up":   &k8sretry.Error{Function: "get pods", Attempts: 4, StopReason: k8sretry.StopMaxRetries, Err: reset},
		"EOF":               io.EOF,
		"unexpected EOF":    io.ErrUnexpectedEOF,
		"closed":            &net.OpError{Op: "write", Net: "tcp", Err: net.ErrClosed},
		"GOAWAY":            errors.New(`http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=""`),
		"ping lost":         errors.New("http2: client connection lost"),
		"broken connection": errors.New("http: can't write HTTP request on broken connection"),
		"timeout":           os.ErrDeadlineExceeded,
	} {
		for _, watch := range []bool{false, true} {
			plain := fromClient(err)
			hidden := clientgo.HideError(err, &apirequest.Request{Verb: apirequest.Get, Watch: watch}, http.MethodGet)
			if situation != "timeout" || watch {
				require.NotEqual(t, err, hidden, situation)
			}
			assert.Equal(t, k8sretry.IsRetryableConnectionError(plain), k8sretry.IsRetryableConnectionError(fromClient(hidden)), situation)
			assert.Equal(t, k8sretry.Classify(plain), k8sretry.Classify(fromClient(hidden)), situation)
			assert.Equal(t, k8sretry.Classify(plain), k8sretry.Classify(clientgo.RevealError(fromClient(hidden))), situation)
			var inner *k8sretry.Error
			assert.Equal(t, errors.As(plain, &inner), errors.As(fromClient(hidden), &inner), situation)
		}
	}
}

// Events, options and wrappers.

// Events name the call by verb and resource, and are those of a Do.
func TestTransportEvents(t *testing.T) {
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

		rec.events = nil
		client = over(t, func(req *http.Request) (*http.Response, error) {
			return answer(req, 404, "application/json", statusJSON(404, metav1.StatusReasonNotFound, "no")), nil
		}, wrapper(t, k8sretry.WithObserver(rec), k8sretry.WithName("sync")))
		require.True(t, apierrors.IsNotFound(get(t.Context(), client)))
		assert.Equal(t, "sync", rec.last(t).Function)
	})
}

func TestTransportWithInvalidOptions(t *testing.T) {
	client := over(t, func(*http.Request) (*http.Response, error) { panic("sent") }, wrapper(t, k8sretry.WithMaxRetries(-1)))
	assert.ErrorContains(t, get(t.Context(), client), "WithMaxRetries(-1)")
}

func TestTransportWithoutARoundTripper(t *testing.T) {
	transport, ok := wrapper(t)(nil).(utilnet.RoundTripperWrapper)
	require.True(t, ok)
	assert.Same(t, http.DefaultTransport, transport.WrappedRoundTripper())
}

// A request without a URL gets the error of the wrapped RoundTripper.
func TestTransportWithoutAURL(t *testing.T) {
	_, err := wrapper(t)(http.DefaultTransport).RoundTrip(new(http.Request))
	assert.ErrorContains(t, err, "nil Request.URL")
}

// A Transport implements RoundTripperWrapper and passes CloseIdleConnections on, also
// through wrappers that only implement the former.
func TestTransportPassesOnCloseIdleConnections(t *testing.T) {
	base := new(closeCounter)
	for _, next := range []http.RoundTripper{base, wrapper(t)(base), &wrappedRoundTripper{base}} {
		transport := wrapper(t)(next)
		wrapped, ok := transport.(utilnet.RoundTripperWrapper)
		require.True(t, ok)
		assert.Equal(t, next, wrapped.WrappedRoundTripper())
		utilnet.CloseIdleConnectionsFor(transport)
	}
	assert.Equal(t, 3, base.closed)
	assert.NotPanics(t, wrapper(t)(roundTripper(nil)).(interface{ CloseIdleConnections() }).CloseIdleConnections)
}

type closeCounter struct {
	http.RoundTripper
	closed int
}

func (c *closeCounter) CloseIdleConnections() { c.closed++ }

type wrappedRoundTripper struct{ next http.RoundTripper }

func (w *wrappedRoundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	return w.next.RoundTrip(req)
}
func (w *wrappedRoundTripper) WrappedRoundTripper() http.RoundTripper { return w.next }

// The answer to a create is lost after the object was stored. There is one object, and the
// caller learns that it may be its own.
func TestTransportRepeatsACreateByName(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			var stored atomic.Int32
			server := serve(t, proto, func(w http.ResponseWriter, _ *http.Request, n int) {
				if n == 1 {
					stored.Add(1)
					reset(w)
					return
				}
				exists := apierrors.NewAlreadyExists(corev1.Resource("configmaps"), "a").ErrStatus
				exists.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
				write(w, http.StatusConflict, exists)
			})
			maps := clientset(t, server.config(), wrapper(t, quickly, k8sretry.WithMaxRetries(2))).CoreV1().ConfigMaps("default")
			_, err := maps.Create(t.Context(), settings("a"), metav1.CreateOptions{})
			assert.True(t, apierrors.IsAlreadyExists(err), "%v", err)
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.EqualValues(t, 2, server.sends.Load())
			assert.EqualValues(t, 1, stored.Load())
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

// A conflict of a patch was taken for a stale version, whether or not the patch named one.
func TestConflictOfAPatchWithoutAVersionIsRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		kind  types.PatchType
		patch string
		sends int
	}{
		"merge patch":                    {types.MergePatchType, `{"data":{"a":"1"}}`, 4},
		"strategic merge patch":          {types.StrategicMergePatchType, `{"metadata":{"labels":{"resourceVersion":"1"}}}`, 4},
		"JSON patch":                     {types.JSONPatchType, `[{"op":"add","path":"/data/a","value":"1"}]`, 4},
		"merge patch with a version":     {types.MergePatchType, `{"metadata":{"resourceVersion":"7"},"data":{"a":"1"}}`, 1},
		"merge patch with a UID":         {types.MergePatchType, `{"metadata":{"uid":"u"},"data":{"a":"1"}}`, 1},
		"JSON patch with a version":      {types.JSONPatchType, `[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"add","path":"/data/a","value":"1"}]`, 1},
		"JSON patch of all metadata":     {types.JSONPatchType, `[{"op":"replace","path":"/metadata","value":{}}]`, 1},
		"a patch that cannot be decoded": {types.MergePatchType, `{`, 1},
		"apply":                          {types.ApplyPatchType, `{"metadata":{"name":"a"}}`, 4},
		"apply with a version":           {types.ApplyPatchType, `{"metadata":{"name":"a","resourceVersion":"7"}}`, 1},
	} {
		for where, run := range map[string]func(context.Context, func(context.Context) error) error{
			"Transport": func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) },
			"Do over it": func(ctx context.Context, fn func(context.Context) error) error {
				verb := k8sretry.VerbPatch
				if c.kind == types.ApplyPatchType {
					verb = k8sretry.VerbApply
				}
				return k8sretry.Run(ctx, fn, k8sretry.WithVerb(verb))
			},
		} {
			t.Run(name+", "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sends := 0
					client := over(t, func(req *http.Request) (*http.Response, error) {
						sends++
						return answer(req, 409, "application/json", statusJSON(409, metav1.StatusReasonConflict, "the object has been modified")), nil
					}, wrapper(t))
					err := run(t.Context(), func(ctx context.Context) error {
						_, err := client.CoreV1().ConfigMaps("default").Patch(ctx, "a", c.kind, []byte(c.patch), metav1.PatchOptions{})
						return err
					})
					assert.True(t, apierrors.IsConflict(err), "%v", err)
					assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
					assert.Equal(t, c.sends, sends)
				})
			})
		}
	}
}

// A server distinguishes upper and lower case, and takes the last of two values.
func TestTransportReadsTheNameAsTheServerDoes(t *testing.T) {
	for body, sends := range map[string]int{
		`{"metadata":{"Name":"a","generateName":"a-"}}`:                        1,
		`{"metadata":{"name":"a"},"metadata":{"generateName":"a-"}}`:           1,
		`{"metadata":{"generateName":"a-"},"data":{},"metadata":{"name":"a"}}`: 3,
		`{"metadata":{"name":"a"},"data":{"name":"b"}}`:                        3,
	} {
		n := 0
		transport := wrapper(t, quickly, k8sretry.WithMaxRetries(2))(roundTripper(func(req *http.Request) (*http.Response, error) {
			n++
			return answer(req, 504, "text/plain", ""), nil
		}))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://server/api/v1/namespaces/x/configmaps", strings.NewReader(body))
		require.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		assert.Equal(t, sends, n, body)
	}
}

// A body that cannot be read again ends the loop with the last answer of the server.
func TestTransportKeepsTheAnswerIfTheBodyIsGone(t *testing.T) {
	for _, code := range []int{429, 503} {
		transport := wrapper(t, quickly)(roundTripper(func(req *http.Request) (*http.Response, error) {
			return answer(req, code, "text/plain", "busy"), nil
		}))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://server/api/v1/namespaces/x/configmaps/a", strings.NewReader("{}"))
		require.NoError(t, err)
		tries := 0
		req.GetBody = func() (io.ReadCloser, error) { tries++; return nil, errors.New("gone") }
		resp, err := transport.RoundTrip(req)
		require.NoError(t, err)
		assert.Equal(t, code, resp.StatusCode)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, "busy", string(body))
		assert.Equal(t, 1, tries)
	}
}

// The answer to a write without a body has none afterwards.
func TestTransportLeavesAnAnswerWithoutABody(t *testing.T) {
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		transport := wrapper(t, quickly)(roundTripper(func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 201, "application/json", "")
			resp.Body = body
			return resp, nil
		}))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://server/api/v1/namespaces/x/configmaps/a", strings.NewReader("{}"))
		require.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		require.NoError(t, err)
		assert.Equal(t, body, resp.Body)
	}
}

// The body of a permanent failure that is not of the API is left to the client: it says nothing, and may take long.
func TestTransportReadsNoBodyOfAPermanentFailure(t *testing.T) {
	read := false
	transport := wrapper(t, quickly)(roundTripper(func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 404, "text/html", "")
		resp.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { read = true; return 0, io.EOF }))
		return resp, nil
	}))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://server/api/v1/namespaces/x/configmaps/a", http.NoBody)
	require.NoError(t, err)
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	assert.Equal(t, 404, resp.StatusCode)
	assert.False(t, read)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// The client names the URL of a failure, and so the Transport does not.
func TestTransportDoesNotNameTheURL(t *testing.T) {
	client := &http.Client{Transport: wrapper(t, quickly, k8sretry.WithErrorHistory(9))(roundTripper(func(*http.Request) (*http.Response, error) { return nil, io.EOF }))}
	_, err := client.Get("http://in.memory/api/v1/namespaces/default/pods/web-0") //nolint:noctx // a test
	require.ErrorIs(t, err, io.EOF)
	assert.Equal(t, 1, strings.Count(err.Error(), "http://in.memory"), "%v", err)
	assert.Equal(t, io.EOF, asError(t, err).Err)
}

// Inside a Do, the Do reports the end of the call.
func TestTransportInsideADoEmitsNoFinalEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, outer := new(recorder), new(recorder)
		client := over(t, func(req *http.Request) (*http.Response, error) { return answer(req, 503, "text/plain", ""), nil },
			wrapper(t, k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 2})), k8sretry.WithObserver(inner)))
		for range 3 {
			testkit.Sleep(3 * time.Second)
			_ = k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, k8sretry.WithObserver(outer), k8sretry.WithMaxRetries(1))
		}
		ends := 0
		for _, e := range inner.events {
			assert.NotEqual(t, k8sretry.EventFailure, e.Kind, e.Name())
		}
		for _, e := range outer.events {
			if e.Kind == k8sretry.EventFailure {
				ends++
			}
		}
		assert.Equal(t, 3, ends)
	})
}

// A call that is said to read is repeated, whatever its request looks like.
func TestTransportBelowAReadOnlyDo(t *testing.T) {
	n := 0
	transport := wrapper(t, quickly)(roundTripper(func(req *http.Request) (*http.Response, error) {
		n++
		return answer(req, 504, "text/plain", ""), nil
	}))
	synctest.Test(t, func(t *testing.T) {
		_ = k8sretry.Run(t.Context(), func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://server/apis/authorization.openshift.io/v1/subjectaccessreviews", strings.NewReader(`{}`))
			if err != nil {
				return err
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				return err
			}
			return errors.Join(gatewayTimeout(), resp.Body.Close())
		}, k8sretry.ReadOnly(), k8sretry.WithMaxRetries(2))
	})
	assert.Equal(t, 3, n)
}

// The verb was read from the method and the first part of the path alone: a PUT was taken for
// a change of state, and the collection behind a proxy for one object.
func TestTransportDoesNotRepeatWhatItCannotRead(t *testing.T) {
	const proxy = "/apis/cluster.karmada.io/v1alpha1/clusters/m1/proxy"
	for situation, c := range map[string]struct {
		method, path string
		sends        int
	}{
		"the restart of a virtual machine":         {"PUT", "/apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachines/x/restart", 1},
		"a status":                                 {"PUT", "/apis/kubevirt.io/v1/namespaces/a/virtualmachines/x/status", 3},
		"a collection behind a proxy":              {"DELETE", proxy + "/api/v1/namespaces/a/pods", 1},
		"an object behind a proxy":                 {"PUT", proxy + "/api/v1/namespaces/a/pods/x", 3},
		"something else behind a proxy":            {"PUT", proxy + "/orders/1", 1},
		"what a service serves":                    {"PUT", "/api/v1/namespaces/a/services/s/proxy/api/v1/orders/1", 1},
		"a list behind a proxy":                    {"GET", proxy + "/api/v1/namespaces/a/pods", 3},
		"a watch behind a proxy":                   {"GET", proxy + "/api/v1/namespaces/a/pods?watch=true", 1},
		"a watch behind the proxy of a service":    {"GET", "/api/v1/namespaces/a/services/s/proxy/api/v1/namespaces/a/pods?watch=true", 1},
		"a watch behind a path that is not known":  {"GET", "/clusters/m1/v1/pods?watch=true", 1},
		"a delete behind a path that is not known": {"DELETE", "/clusters/m1/v1/pods", 1},
	} {
		for where, run := range map[string]func(context.Context, func(context.Context) error, ...k8sretry.Option) error{
			"Transport": func(ctx context.Context, fn func(context.Context) error, _ ...k8sretry.Option) error { return fn(ctx) },
			"Do":        k8sretry.Run,
		} {
			t.Run(situation+", "+where, func(t *testing.T) {
				sends := 0
				transport := wrapper(t, quickly, k8sretry.WithMaxRetries(2))(roundTripper(func(req *http.Request) (*http.Response, error) {
					sends++
					return nil, network("read", syscall.ECONNRESET)
				}))
				client := &http.Client{Transport: transport}
				verb := map[string]k8sretry.Verb{"PUT": k8sretry.VerbUpdate, "DELETE": k8sretry.VerbDelete, "GET": k8sretry.VerbGet}[c.method]
				if c.method == "GET" && where == "Do" {
					return // it is the caller who says that it reads
				}
				err := run(t.Context(), func(ctx context.Context) error {
					req, err := http.NewRequestWithContext(ctx, c.method, "https://server"+c.path, nil)
					require.NoError(t, err)
					resp, err := client.Do(req)
					if err == nil {
						err = resp.Body.Close()
					}
					return err
				}, quickly, k8sretry.WithMaxRetries(2), k8sretry.WithVerb(verb))
				require.Error(t, err)
				assert.Equal(t, c.sends, sends)
				assert.Equal(t, c.method != "GET", errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
			})
		}
	}
}

// Deletions.

// deletionServer serves the config map "a" of a cluster to the clients of a Transport.
type deletionServer struct {
	*api
	cluster *cluster
	deletes []string // what happens to each DELETE: see answer
	gets    []string // and to each GET
	then    func()   // after the first DELETE
	options []metav1.DeleteOptions
	accept  string // of the last GET
}

// remove deletes or evicts the object.
func (s *deletionServer) remove(options metav1.DeleteOptions, method string) error {
	if method == http.MethodDelete {
		return s.cluster.Delete(context.Background(), "a", options)
	}
	return s.cluster.EvictV1(context.Background(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "a"}, DeleteOptions: &options})
}

func serveDeletions(t *testing.T, proto string, s *deletionServer) {
	codecs := serializer.NewCodecFactory(scheme.Scheme)
	s.api = serve(t, proto, func(w http.ResponseWriter, r *http.Request, n int) {
		var object any
		var err error
		plan := &s.gets
		switch r.Method {
		case http.MethodGet:
			s.accept = r.Header.Get("Accept")
			object, err = s.cluster.Get(context.Background(), "a", metav1.GetOptions{})
			if o, ok := object.(*corev1.ConfigMap); ok && err == nil {
				object = &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"}, ObjectMeta: o.ObjectMeta}
			}
		default: // a DELETE, or the POST of an eviction
			options := new(metav1.DeleteOptions)
			if body := strings.TrimPrefix(s.seen()[n-1], r.Method+" "); body == "" {
				query := r.URL.Query()
				assert.NoError(t, metav1.Convert_url_Values_To_v1_DeleteOptions(&query, options, nil))
			} else {
				var decoder runtime.Decoder = cbor.NewSerializer(scheme.Scheme, scheme.Scheme)
				if kind := r.Header.Get("Content-Type"); kind != "application/cbor" {
					info, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), kind)
					assert.True(t, ok, kind)
					decoder = info.Serializer
				}
				eviction := policyv1.Eviction{DeleteOptions: options}
				into := runtime.Object(&eviction)
				if r.Method == http.MethodDelete {
					into = options
				}
				_, _, decodeErr := decoder.Decode([]byte(body), nil, into)
				assert.NoError(t, decodeErr)
				if r.Method == http.MethodPost {
					assert.Equal(t, "a", eviction.Name)
				}
				if eviction.DeleteOptions != nil {
					options = eviction.DeleteOptions
				}
			}
			s.options = append(s.options, *options)
			plan = &s.deletes
			if len(*plan) == 0 || !strings.HasPrefix((*plan)[0], "dropped") {
				object, err = metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess}, s.remove(*options, r.Method)
			}
			if s.then != nil {
				s.then()
				s.then = nil
			}
		}
		fault := ""
		if len(*plan) > 0 {
			fault, *plan = (*plan)[0], (*plan)[1:]
		}
		fault = strings.TrimPrefix(fault, "dropped, ")
		switch fault {
		case "":
			if err != nil {
				status := err.(*apierrors.StatusError).ErrStatus
				status.Kind, status.APIVersion = "Status", "v1"
				write(w, int(status.Code), status)
				return
			}
			write(w, 200, object)
		case "reset":
			reset(w)
		case "replaced":
			write(w, 200, object)
			s.cluster.remove("a")
			s.cluster.put(young())
		case "UID of b":
			status := anotherUID("b").(*apierrors.StatusError).ErrStatus
			status.Kind, status.APIVersion = "Status", "v1"
			write(w, 409, status)
		case "no budget":
			status := budgetGone().(*apierrors.StatusError).ErrStatus
			status.Details.Name = "a"
			status.Kind, status.APIVersion = "Status", "v1"
			write(w, 404, status)
		case "no date":
			w.Header()["Date"] = nil
			write(w, 200, object)
		case "login page":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>")
		case "redirect":
			http.Redirect(w, r, "/login", http.StatusFound)
		case "cut":
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"kind":"Status"`)
			flush(w)
			panic(http.ErrAbortHandler)
		default:
			code, _ := strconv.Atoi(fault)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, statusJSON(code, "", "as planned"))
		}
	})
}

// old is an object that was created long before the call.
func old(change ...func(*corev1.ConfigMap)) *corev1.ConfigMap {
	o := configMap("a")
	o.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
	for _, f := range change {
		f(o)
	}
	return o
}

// young is an object that may have been created since the call began. It is made before the call, and a slow
// machine may take a while until it is needed.
func young() *corev1.ConfigMap {
	return old(func(o *corev1.ConfigMap) { o.CreationTimestamp = metav1.NewTime(time.Now().Add(time.Hour)) })
}

func withFinalizer(o *corev1.ConfigMap) { o.Finalizers = []string{"example.com/keep"} }

// goingFor is an object whose deletion leaves it so many seconds.
func goingFor(seconds int64) func(*corev1.ConfigMap) {
	return func(o *corev1.ConfigMap) {
		at := metav1.NewTime(time.Now().Add(time.Duration(seconds) * time.Second))
		o.DeletionTimestamp, o.DeletionGracePeriodSeconds = &at, &seconds
		withFinalizer(o)
	}
}

// A deletion by name was repeated as if nothing else could have the name. Now the object is
// read first.
func TestTransportReadsAnObjectBeforeItRepeatsADeletion(t *testing.T) {
	const success, gone, unknown, redirected = "success", "not found", "unknown", "redirected"
	zero := int64(0)
	uid := types.UID("uid-1")
	version := "11"
	foreground := metav1.DeletePropagationForeground
	for _, c := range []struct {
		situation     string
		object        *corev1.ConfigMap
		options       metav1.DeleteOptions
		deletes, gets []string
		successor     *corev1.ConfigMap // has the name after the first DELETE
		requests      string
		result        string
		remains       bool
	}{
		{"done, and the answer was lost", old(), metav1.DeleteOptions{}, []string{"reset"}, nil, nil, "DELETE GET", gone, false},
		{"done, 504", old(), metav1.DeleteOptions{}, []string{"504"}, nil, nil, "DELETE GET", gone, false},
		{"done, and another object has the name", old(), metav1.DeleteOptions{}, []string{"reset"}, nil, young(), "DELETE GET", unknown, true},
		{"done, 504, and another object has the name", old(), metav1.DeleteOptions{}, []string{"504"}, nil, young(), "DELETE GET", unknown, true},
		{"the object has finalizers", old(withFinalizer), metav1.DeleteOptions{}, []string{"reset"}, nil, nil, "DELETE GET", success, true},
		{"not done", old(), metav1.DeleteOptions{}, []string{"dropped, reset"}, nil, nil, "DELETE GET DELETE", success, false},
		{"not done, of an object that may be younger than the call", young(), metav1.DeleteOptions{}, []string{"dropped, reset"}, nil, nil, "DELETE GET", unknown, true},
		{"not done twice: the object is read once", old(), metav1.DeleteOptions{}, []string{"dropped, reset", "dropped, 504"}, nil, nil, "DELETE GET DELETE DELETE", success, false},
		{"not done, then done and lost", old(), metav1.DeleteOptions{}, []string{"dropped, reset", "reset"}, nil, nil, "DELETE GET DELETE DELETE", gone, false},
		{"another object between the read and the repetition", old(), metav1.DeleteOptions{}, []string{"dropped, reset"}, []string{"replaced"}, nil, "DELETE GET DELETE", success, true},
		{"a conflict about the UID of another object", old(), metav1.DeleteOptions{}, []string{"dropped, reset", "dropped, UID of b"}, nil, nil, "DELETE GET DELETE", unknown, true},
		{"another conflict after the read", old(), metav1.DeleteOptions{}, []string{"dropped, reset", "409"}, nil, nil, "DELETE GET DELETE", unknown, false},
		{"the object may not be read", old(), metav1.DeleteOptions{}, []string{"dropped, reset"}, []string{"403"}, nil, "DELETE GET", unknown, true},
		{"the server sends no metadata", old(), metav1.DeleteOptions{}, []string{"dropped, reset"}, []string{"406"}, nil, "DELETE GET", unknown, true},
		{"the server does not tell the time", old(), metav1.DeleteOptions{}, []string{"dropped, reset"}, []string{"no date"}, nil, "DELETE GET", unknown, true},
		{"a login page in place of the object", old(), metav1.DeleteOptions{}, []string{"dropped, reset"}, []string{"login page"}, nil, "DELETE GET GET DELETE", success, false},
		{"a login page in place of every object", old(), metav1.DeleteOptions{}, []string{"dropped, reset"}, []string{"login page", "login page", "login page"}, nil, "DELETE GET GET GET", unknown, true},
		{"a login page in place of the answer", old(), metav1.DeleteOptions{}, []string{"dropped, login page"}, nil, nil, "DELETE GET DELETE", success, false},
		{"redirected to a login page", old(), metav1.DeleteOptions{}, []string{"dropped, redirect"}, nil, nil, "DELETE", redirected, true},
		{"the read fails, too", old(), metav1.DeleteOptions{}, []string{"dropped, reset"}, []string{"503", "reset"}, nil, "DELETE GET GET GET DELETE", success, false},
		{"refused before it was carried out", old(), metav1.DeleteOptions{}, []string{"dropped, 429"}, nil, nil, "DELETE DELETE", success, false},
		{"with a UID", old(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}, []string{"dropped, reset"}, nil, nil, "DELETE DELETE", success, false},
		{"with a UID, done", old(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}, []string{"reset"}, nil, nil, "DELETE DELETE", gone, false},
		{"with a UID, done, and another object has the name", old(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}, []string{"reset"}, nil, young(), "DELETE DELETE", success, true},
		{"with a version", old(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &version}}, []string{"dropped, reset"}, nil, nil, "DELETE DELETE", success, false},
		{"a dry run", old(), metav1.DeleteOptions{DryRun: []string{"All"}}, []string{"reset"}, nil, young(), "DELETE DELETE", success, true},
		{"forced, while another deletion leaves it time", old(goingFor(30)), metav1.DeleteOptions{GracePeriodSeconds: &zero}, []string{"dropped, reset"}, nil, nil, "DELETE GET DELETE", success, true},
		{"forced, while another deletion does, too", old(goingFor(0)), metav1.DeleteOptions{GracePeriodSeconds: &zero}, []string{"dropped, reset"}, nil, nil, "DELETE GET", success, true},
		{"in the foreground, while another deletion is not", old(goingFor(0)), metav1.DeleteOptions{PropagationPolicy: &foreground}, []string{"dropped, reset"}, nil, nil, "DELETE GET DELETE", success, true},
	} {
		for media, encode := range map[string]func(*metav1.DeleteOptions) []byte{
			"application/json":                    func(o *metav1.DeleteOptions) []byte { return mustJSON(o) },
			"application/vnd.kubernetes.protobuf": func(o *metav1.DeleteOptions) []byte { return protobufOf(t, o) },
			"application/cbor":                    func(o *metav1.DeleteOptions) []byte { return cborOf(t, o) },
		} {
			for where, run := range map[string]func(context.Context, func(context.Context) error, ...k8sretry.Option) error{
				"Transport": func(ctx context.Context, fn func(context.Context) error, _ ...k8sretry.Option) error { return fn(ctx) },
				"Do with a verb": func(ctx context.Context, fn func(context.Context) error, o ...k8sretry.Option) error {
					return k8sretry.Run(ctx, fn, append(o, k8sretry.WithVerb(k8sretry.VerbDelete))...)
				},
				"Do without a verb":   k8sretry.Run,
				"Do around two of it": k8sretry.Run,
			} {
				if where != "Transport" && (media != "application/json" || where != "Do with a verb" && !strings.Contains(c.situation, "done")) {
					continue
				}
				t.Run(c.situation+", "+media+", "+where, func(t *testing.T) {
					s := &deletionServer{cluster: newCluster(c.object), deletes: slices.Clone(c.deletes), gets: slices.Clone(c.gets)}
					s.then = func() {
						if c.successor != nil {
							s.cluster.remove("a")
							s.cluster.put(c.successor)
						}
					}
					serveDeletions(t, protoHTTP1, s)
					wrappers := []func(http.RoundTripper) http.RoundTripper{wrapper(t, quickly)}
					if where == "Do around two of it" {
						wrappers = append(wrappers, wrapper(t, quickly))
					}
					client := clientset(t, s.config(), wrappers...).CoreV1().RESTClient()
					c.options.TypeMeta = metav1.TypeMeta{Kind: "DeleteOptions", APIVersion: "v1"}
					err := run(t.Context(), func(ctx context.Context) error {
						return client.Delete().Namespace("default").Resource("configmaps").Name("a").
							SetHeader("Content-Type", media).SetHeader("Impersonate-User", "bob").Body(encode(&c.options)).Do(ctx).Error()
					}, quickly)

					var methods []string
					for i, request := range s.seen() {
						method, _, _ := strings.Cut(request, " ")
						methods = append(methods, method)
						assert.Equal(t, "bob", s.header[i].Get("Impersonate-User"))
					}
					assert.Equal(t, c.requests, strings.Join(methods, " "))
					assert.Equal(t, c.remains, s.cluster.get("a") != nil)
					switch c.result {
					case success:
						assert.NoError(t, err)
					case unknown:
						assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
					case redirected:
						assert.ErrorIs(t, err, k8sretry.ErrRedirected)
					case gone:
						assert.True(t, apierrors.IsNotFound(err), "%v", err)
						if where == "Transport" {
							requireUnchanged(t, err)
						}
					}
					for i, options := range s.options {
						want := c.options
						if i > 0 && strings.Contains(c.requests, "GET") {
							want.Preconditions = &metav1.Preconditions{UID: &uid}
						}
						options.TypeMeta = want.TypeMeta
						assert.Equal(t, want, options)
					}
				})
			}
		}
	}
}

// An eviction was never repeated by a Transport, and by the name of the pod if a Do above
// repeated it: the StatefulSet's next pod of that name was evicted, too.
func TestTransportReadsAPodBeforeItRepeatsAnEviction(t *testing.T) {
	const success, gone, unknown = "success", "not found", "unknown"
	uid := types.UID("uid-1")
	grace := int64(7)
	withUID := &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
	for _, c := range []struct {
		situation       string
		pod             *corev1.ConfigMap
		options         *metav1.DeleteOptions
		evictions, gets []string
		successor       *corev1.ConfigMap // has the name after the first POST
		requests        string
		result          string
		remains         bool
	}{
		{"done, and the answer was lost", old(), nil, []string{"reset"}, nil, nil, "POST GET", gone, false},
		{"done, and the answer was lost in a gateway", old(), nil, []string{"504"}, nil, nil, "POST GET", gone, false},
		{"done, and another pod has the name", old(), nil, []string{"reset"}, nil, young(), "POST GET", unknown, true},
		{"the pod is terminating", old(withFinalizer), nil, []string{"reset"}, nil, nil, "POST GET", success, true},
		{"the pod is terminating, with more time than was asked for", old(goingFor(30)), &metav1.DeleteOptions{GracePeriodSeconds: &grace}, []string{"dropped, reset"}, nil, nil, "POST GET", success, true},
		{"not done", old(), nil, []string{"dropped, reset"}, nil, nil, "POST GET POST", success, false},
		{"not done, with options", old(), &metav1.DeleteOptions{GracePeriodSeconds: &grace}, []string{"dropped, reset"}, nil, nil, "POST GET POST", success, false},
		{"not done, of a pod that may be younger than the call", young(), nil, []string{"dropped, reset"}, nil, nil, "POST GET", unknown, true},
		{"not done twice", old(), nil, []string{"dropped, reset", "dropped, 504"}, nil, nil, "POST GET POST GET POST", success, false},
		{"not done, then done and lost", old(), nil, []string{"dropped, reset", "reset"}, nil, nil, "POST GET POST GET", gone, false},
		{"another pod between the read and the repetition", old(), nil, []string{"dropped, reset"}, []string{"replaced"}, nil, "POST GET POST", success, true},
		{"another pod between the reads", old(), nil, []string{"dropped, reset", "dropped, reset"}, []string{"replaced"}, nil, "POST GET POST GET", success, true},
		{"another conflict", old(), nil, []string{"dropped, reset", "dropped, 409"}, nil, nil, "POST GET POST", unknown, true},
		{"its budget is gone, which has the name of the pod", old(), nil, []string{"dropped, reset", "dropped, no budget"}, nil, nil, "POST GET POST", unknown, true},
		{"not done, then refused by the budget", old(), nil, []string{"dropped, reset", "dropped, 429"}, nil, nil, "POST GET POST GET POST", success, false},
		{"refused by the budget", old(), nil, []string{"dropped, 429"}, nil, nil, "POST POST", success, false},
		{"the pod may not be read", old(), nil, []string{"dropped, reset"}, []string{"403"}, nil, "POST GET", unknown, true},
		{"the read fails, too", old(), nil, []string{"dropped, reset"}, []string{"503"}, nil, "POST GET GET POST", success, false},
		{"a login page in place of the answer", old(), nil, []string{"dropped, login page"}, nil, nil, "POST GET POST", success, false},
		{"with a UID", old(), withUID, []string{"dropped, reset"}, nil, nil, "POST POST", success, false},
		{"with a UID, done, and another pod has the name", old(), withUID, []string{"reset"}, nil, young(), "POST POST", success, true},
		{"a dry run", old(), &metav1.DeleteOptions{DryRun: []string{"All"}}, []string{"reset"}, nil, young(), "POST POST", success, true},
	} {
		for media, encode := range map[string]func(*policyv1.Eviction) []byte{
			"application/json":                    func(e *policyv1.Eviction) []byte { return mustJSON(e) },
			"application/vnd.kubernetes.protobuf": func(e *policyv1.Eviction) []byte { return protobufOf(t, e, policyv1.SchemeGroupVersion) },
			"application/cbor":                    func(e *policyv1.Eviction) []byte { return cborOf(t, e) },
		} {
			for where, run := range map[string]func(context.Context, func(context.Context) error, ...k8sretry.Option) error{
				"Transport":         func(ctx context.Context, fn func(context.Context) error, _ ...k8sretry.Option) error { return fn(ctx) },
				"Do without a verb": k8sretry.Run,
			} {
				t.Run(c.situation+", "+media+", "+where, func(t *testing.T) {
					s := &deletionServer{cluster: newCluster(c.pod), deletes: slices.Clone(c.evictions), gets: slices.Clone(c.gets)}
					s.then = func() {
						if c.successor != nil {
							s.cluster.remove("a")
							s.cluster.put(c.successor)
						}
					}
					serveDeletions(t, protoHTTP1, s)
					client := clientset(t, s.config(), wrapper(t, quickly)).CoreV1().RESTClient()
					eviction := policyv1.Eviction{TypeMeta: metav1.TypeMeta{Kind: "Eviction", APIVersion: "policy/v1"}, ObjectMeta: metav1.ObjectMeta{Name: "a"}, DeleteOptions: c.options}
					err := run(t.Context(), func(ctx context.Context) error {
						return client.Post().Namespace("default").Resource("pods").Name("a").SubResource("eviction").
							SetHeader("Content-Type", media).Body(encode(&eviction)).Do(ctx).Into(new(policyv1.Eviction))
					}, quickly)

					var methods []string
					for _, request := range s.seen() {
						method, _, _ := strings.Cut(request, " ")
						methods = append(methods, method)
					}
					assert.Equal(t, c.requests, strings.Join(methods, " "))
					assert.Equal(t, c.remains, s.cluster.get("a") != nil)
					switch c.result {
					case success:
						assert.NoError(t, err)
					case unknown:
						assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
					case gone:
						assert.True(t, apierrors.IsNotFound(err), "%v", err)
						if where == "Transport" {
							requireUnchanged(t, err)
						}
					}
					for i, options := range s.options {
						var want metav1.DeleteOptions
						if c.options != nil {
							want = *c.options
						}
						if i > 0 && strings.Contains(c.requests, "GET") {
							want.Preconditions = &metav1.Preconditions{UID: &uid}
						}
						options.TypeMeta = want.TypeMeta
						assert.Equal(t, want, options)
					}
				})
			}
		}
	}
}

// deletions answers requests without a network: the first DELETE or POST is lost, and each GET gets the given answer.
// It counts the bodies that are not closed, those of the requests included.
type deletions struct {
	reads, writes []*http.Request
	get           func(*http.Request) *http.Response
	open          int
}

type openBody struct {
	io.Reader
	open *int
}

func (b openBody) Close() error { *b.open--; return nil }

func (d *deletions) counted(r io.Reader) io.ReadCloser { d.open++; return openBody{r, &d.open} }

func (d *deletions) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer func() { _ = req.Body.Close() }()
	}
	if req.Method == http.MethodGet {
		d.reads = append(d.reads, req)
		resp := d.get(req)
		resp.Body = d.counted(resp.Body)
		return resp, nil
	}
	if d.writes = append(d.writes, req); len(d.writes) == 1 {
		return nil, io.ErrUnexpectedEOF
	}
	return answer(req, 200, "application/json", `{"kind":"Status","status":"Success"}`), nil
}

// send makes a deletion or an eviction through a Transport.
func (d *deletions) send(t *testing.T, method, url, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(t.Context(), method, "http://in.memory"+url, http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept-Encoding", "gzip")
	req.ContentLength = int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return d.counted(strings.NewReader(body)), nil }
	req.Body, _ = req.GetBody()
	return wrapper(t, quickly)(d).RoundTrip(req)
}

const (
	podURL      = "/api/v1/namespaces/default/pods/web-0"
	evictionDoc = `{"kind":"Eviction","apiVersion":"policy/v1","metadata":{"name":"web-0"}}`
	deleteDoc   = `{"kind":"DeleteOptions","apiVersion":"v1"}`
)

// metadataOf is the answer to the read of an object that is older than the call.
func metadataOf(req *http.Request, change ...func(*metav1.PartialObjectMetadata)) *http.Response {
	o := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "web-0", UID: "uid-1", CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour))}}
	for _, f := range change {
		f(&o)
	}
	return answer(req, 200, "application/json", string(mustJSON(o)), "Date", time.Now().UTC().Format(http.TimeFormat), "X-Of-The-Read", "yes")
}

// The read before a repetition asks for the object, and leaves nothing open.
func TestTransportReadOfADeletionIsAGet(t *testing.T) {
	for situation, c := range map[string]struct{ method, url, body string }{
		"a deletion":                        {http.MethodDelete, podURL, deleteDoc},
		"an eviction":                       {http.MethodPost, podURL + "/eviction", evictionDoc},
		"an eviction with a trailing slash": {http.MethodPost, podURL + "/eviction/", evictionDoc},
	} {
		t.Run(situation, func(t *testing.T) {
			d := &deletions{get: func(req *http.Request) *http.Response { return metadataOf(req) }}
			resp, err := d.send(t, c.method, c.url, c.body)
			require.NoError(t, err)
			assert.Equal(t, 200, resp.StatusCode)
			require.Len(t, d.writes, 2)
			require.Len(t, d.reads, 1)
			read := d.reads[0]
			assert.Equal(t, podURL, read.URL.Path)
			assert.Nil(t, read.Body)
			assert.Nil(t, read.GetBody)
			assert.Zero(t, read.ContentLength)
			assert.Equal(t, http.Header{"Accept": {"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"}}, read.Header)
			assert.Zero(t, d.open)
		})
	}
}

// A deletion that is not repeated says why, and with what it has failed.
func TestTransportSaysWhyADeletionIsNotRepeated(t *testing.T) {
	for why, get := range map[string]func(*http.Request) *http.Response{
		"the object cannot be read (": func(req *http.Request) *http.Response { return answer(req, 403, "text/plain", "no") },
		"the object cannot be read":   func(req *http.Request) *http.Response { return answer(req, 302, "text/plain", "elsewhere") },
		"the object of this name may have been created since": func(req *http.Request) *http.Response {
			return metadataOf(req, func(o *metav1.PartialObjectMetadata) { o.CreationTimestamp = metav1.Now() })
		},
		"not repeated: the object cannot be read": func(req *http.Request) *http.Response {
			return metadataOf(req, func(o *metav1.PartialObjectMetadata) { o.Name = "other" })
		},
	} {
		t.Run(why, func(t *testing.T) {
			d := &deletions{get: get}
			_, err := d.send(t, http.MethodDelete, podURL, deleteDoc)
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
			assert.ErrorContains(t, err, why)
			assert.Len(t, d.writes, 1)
			assert.Zero(t, d.open)
		})
	}
}

// A success that the Transport makes of another answer has nothing of that answer.
func TestTransportMakesASuccessOfItsOwn(t *testing.T) {
	now := metav1.Now()
	d := &deletions{get: func(req *http.Request) *http.Response {
		return metadataOf(req, func(o *metav1.PartialObjectMetadata) { o.DeletionTimestamp = &now })
	}}
	resp, err := d.send(t, http.MethodPost, podURL+"/eviction", evictionDoc)
	require.NoError(t, err)
	assert.Equal(t, http.Header{"Content-Type": {"application/json"}}, resp.Header)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.EqualValues(t, len(body), resp.ContentLength)
	var status metav1.Status
	require.NoError(t, json.Unmarshal(body, &status))
	assert.Equal(t, metav1.StatusSuccess, status.Status)
	assert.Len(t, d.writes, 1)
	assert.Zero(t, d.open)
}

func cborOf(t *testing.T, o runtime.Object) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, cbor.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(o, &b))
	return b.Bytes()
}

// Without a body the options are in the query, which does not count beside a body.
func TestTransportRepeatsADeletionWithTheOptionsOfItsQuery(t *testing.T) {
	s := &deletionServer{cluster: newCluster(old()), deletes: []string{"dropped, 504"}}
	serveDeletions(t, protoHTTP2, s)
	client := clientset(t, s.config(), wrapper(t, quickly)).CoreV1().RESTClient()
	require.NoError(t, client.Delete().Namespace("default").Resource("configmaps").Name("a").
		Param("gracePeriodSeconds", "7").Param("propagationPolicy", "Orphan").Do(t.Context()).Error())
	assert.Nil(t, s.cluster.get("a"))
	require.Len(t, s.options, 2)
	assert.Equal(t, "uid-1", string(*s.options[1].Preconditions.UID))
	for _, options := range s.options {
		require.NotNil(t, options.GracePeriodSeconds)
		assert.EqualValues(t, 7, *options.GracePeriodSeconds)
		require.NotNil(t, options.PropagationPolicy)
		assert.Equal(t, metav1.DeletePropagationOrphan, *options.PropagationPolicy)
	}
	assert.Equal(t, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json", s.accept)
}

// A deletion that succeeds, and whose answer is cut, is a success to the Transport. A Do
// repeats it.
func TestTransportReadsAnObjectAfterACutAnswer(t *testing.T) {
	t.Run("of a dry run", func(t *testing.T) {
		s := &deletionServer{cluster: newCluster(young()), deletes: []string{"cut"}}
		serveDeletions(t, protoHTTP1, s)
		client := clientset(t, s.config(), wrapper(t, quickly))
		require.NoError(t, k8sretry.Run(t.Context(), func(ctx context.Context) error {
			return client.CoreV1().ConfigMaps("default").Delete(ctx, "a", metav1.DeleteOptions{DryRun: []string{"All"}})
		}, quickly))
		assert.Len(t, s.options, 2)
		assert.Empty(t, s.accept, "nothing was read")
	})
	t.Run("to an eviction", func(t *testing.T) {
		s := &deletionServer{cluster: newCluster(old()), deletes: []string{"cut"}}
		s.then = func() { s.cluster.put(young()) }
		serveDeletions(t, protoHTTP1, s)
		client := clientset(t, s.config(), wrapper(t, quickly))
		err := k8sretry.WrapRun1(client.CoreV1().Pods("default").EvictV1, quickly)(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default"}})
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.NotNil(t, s.cluster.get("a"), "the new pod is kept")
		assert.Len(t, s.options, 1)
	})
	for _, successor := range []*corev1.ConfigMap{nil, young()} {
		s := &deletionServer{cluster: newCluster(old()), deletes: []string{"cut"}}
		s.then = func() {
			if successor != nil {
				s.cluster.put(successor)
			}
		}
		serveDeletions(t, protoHTTP1, s)
		client := clientset(t, s.config(), wrapper(t, quickly))
		err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
			return client.CoreV1().ConfigMaps("default").Delete(ctx, "a", metav1.DeleteOptions{})
		}, quickly, k8sretry.WithVerb(k8sretry.VerbDelete))
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, successor == nil, apierrors.IsNotFound(err))
		assert.Equal(t, successor != nil, s.cluster.get("a") != nil)
		assert.Len(t, s.options, 1)
	}
}

// Of several deletions in one call, each has its own outcome.
func TestTransportTellsDeletionsOfOneCallApart(t *testing.T) {
	var requests []string
	client := over(t, func(req *http.Request) (*http.Response, error) {
		name := path.Base(req.URL.Path)
		requests = append(requests, req.Method+" "+name)
		switch {
		case len(requests) == 1:
			return answer(req, 504, "text/plain", ""), nil
		case req.Method == http.MethodGet:
			return answer(req, 404, "application/json", string(notFoundJSON(name))), nil
		}
		return answer(req, 200, "application/json", `{"kind":"Status","apiVersion":"v1","status":"Success"}`), nil
	}, wrapper(t, quickly))
	maps := client.CoreV1().ConfigMaps("default")
	n := 0
	err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
		if n++; n > 1 {
			if err := maps.Delete(ctx, "b", metav1.DeleteOptions{}); err != nil {
				return err
			}
		}
		return maps.Delete(ctx, "a", metav1.DeleteOptions{})
	}, quickly)
	assert.True(t, apierrors.IsNotFound(err), "%v", err)
	assert.Equal(t, []string{"DELETE a", "DELETE b", "GET a"}, requests)
}

func notFoundJSON(name string) []byte {
	status := apierrors.NewNotFound(configMaps, name).ErrStatus
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return mustJSON(status)
}

// A write that names a version changes nothing when it is repeated, but its conflict says
// nothing about the first one. A write that names none wins again.
func TestTransportRepeatsWritesOfAVersion(t *testing.T) {
	named := settings("a")
	unnamed := settings("a")
	unnamed.ResourceVersion = ""
	for situation, c := range map[string]struct {
		kind    types.PatchType // "" is an update
		body    string
		refusal int // of the repetition, 0 if it is carried out
	}{
		"update":                       {"", string(mustJSON(unnamed)), 0},
		"update with a version":        {"", string(mustJSON(named)), 409},
		"merge patch":                  {types.MergePatchType, `{"data":{"a":"1"}}`, 0},
		"strategic merge patch":        {types.StrategicMergePatchType, `{"data":{"a":"1"}}`, 0},
		"merge patch with a version":   {types.MergePatchType, `{"metadata":{"resourceVersion":"1"},"data":{"a":"1"}}`, 409},
		"JSON patch that tests it":     {types.JSONPatchType, `[{"op":"test","path":"/metadata/resourceVersion","value":"1"},{"op":"add","path":"/data/a","value":"1"}]`, 422},
		"JSON patch of a tested value": {types.JSONPatchType, `[{"op":"test","path":"/data/a","value":"0"},{"op":"replace","path":"/data/a","value":"1"}]`, 422},
	} {
		t.Run(situation, func(t *testing.T) {
			server := serve(t, protoHTTP2, func(w http.ResponseWriter, _ *http.Request, n int) {
				switch {
				case n == 1:
					reset(w)
				case c.refusal == 0:
					write(w, 200, settings("a"))
				default:
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(c.refusal)
					_, _ = io.WriteString(w, statusJSON(c.refusal, map[int]metav1.StatusReason{409: metav1.StatusReasonConflict, 422: metav1.StatusReasonInvalid}[c.refusal], "the object has been modified"))
				}
			})
			client := clientset(t, server.config(), wrapper(t, quickly)).CoreV1().RESTClient()
			request := client.Put()
			if c.kind != "" {
				request = client.Patch(c.kind)
			} else {
				request.SetHeader("Content-Type", "application/json")
			}
			err := request.Namespace("default").Resource("configmaps").Name("a").Body([]byte(c.body)).Do(t.Context()).Error()
			assert.EqualValues(t, 2, server.sends.Load())
			assert.Equal(t, c.refusal == 409, apierrors.IsConflict(err))
			assert.Equal(t, c.refusal == 422, apierrors.IsInvalid(err))
			assert.Equal(t, c.refusal != 0, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
		})
	}
}

// A success of something in front of the server, such as a login page, was one to every
// client that does not decode the answer: to a deletion and to an eviction.
func TestTransportTakesOnlyAnAnswerOfTheAPIForASuccess(t *testing.T) {
	const pod = "/api/v1/namespaces/a/pods/x"
	writes := []struct{ method, path string }{
		{"DELETE", pod}, {"POST", pod + "/eviction"}, {"POST", "/api/v1/namespaces/a/pods"}, {"PUT", pod}, {"PATCH", pod}, {"DELETE", "/api/v1/namespaces/a/pods"},
		{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"},
	}
	elsewhere := []struct{ method, path string }{{"GET", pod}, {"POST", "/api/v1/namespaces/a/services/s/proxy/orders"}, {"DELETE", "/elsewhere"}}
	for situation, c := range map[string]struct {
		code              int
		contentType, body string
		ok                bool
	}{
		"JSON":                    {200, "application/json", `{"kind":"Status"}`, true},
		"JSON, with a charset":    {201, "application/json; charset=utf-8", `{}`, true},
		"JSON of another kind":    {200, "application/vnd.example+json", `{}`, true},
		"protobuf":                {200, "application/vnd.kubernetes.protobuf", "k8s", true},
		"CBOR":                    {202, "application/cbor", "x", true},
		"YAML":                    {200, "application/yaml", "kind: Status", true},
		"JSON as text":            {200, "text/plain; charset=utf-8", " {}", true},
		"nothing":                 {200, "", "", true},
		"nothing as text":         {200, "text/plain", "", true},
		"no content":              {204, "text/html", "", true},
		"a login page":            {200, "text/html; charset=utf-8", "<html>", false},
		"a login page in XHTML":   {200, "application/xhtml+xml", "<html>", false},
		"XML":                     {200, "application/xml", "<ok/>", false},
		"a text":                  {200, "text/plain", "welcome", false},
		"a picture":               {201, "image/png", "PNG", false},
		"JSON without a type":     {200, "", "{}", true},
		"protobuf without a type": {200, "", "k8s\x00", true},
		"a page without a type":   {200, "", "<html>", false},
		"301":                     {301, "text/html", "", false},
		"302 as the API would do": {302, "application/json", "{}", false},
		"303":                     {303, "", "", false},
	} {
		t.Run(situation, func(t *testing.T) {
			client := &http.Client{
				Transport: wrapper(t, quickly, k8sretry.WithMaxRetries(0))(roundTripper(func(req *http.Request) (*http.Response, error) {
					return answer(req, c.code, c.contentType, c.body), nil
				})),
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}
			send := func(ctx context.Context, method, path string) (string, error) {
				req, err := http.NewRequestWithContext(ctx, method, "https://server"+path, strings.NewReader(`{"kind":"X","metadata":{"name":"x"}}`))
				require.NoError(t, err)
				req.Header.Set("Content-Type", "application/merge-patch+json")
				resp, err := client.Do(req)
				if err != nil {
					return "", err
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				return string(body), err
			}
			for _, r := range writes {
				body, err := send(t.Context(), r.method, r.path)
				verb := k8sretry.WithVerb(k8sretry.VerbUpdate)
				inDo := k8sretry.Run(t.Context(), func(ctx context.Context) error {
					_, err := send(ctx, r.method, r.path)
					return err
				}, verb, k8sretry.WithMaxRetries(0))
				if c.ok {
					require.NoError(t, errors.Join(err, inDo))
					assert.Equal(t, c.body, body)
					continue
				}
				require.Error(t, err)
				require.Error(t, inDo)
				stored := !strings.Contains(r.path, "reviews")
				assert.Equal(t, stored, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%s %s: %v", r.method, r.path, err)
				assert.Equal(t, stored, errors.Is(inDo, k8sretry.ErrOutcomeUnknown), "%s %s: %v", r.method, r.path, inDo)
			}
			for _, r := range elsewhere {
				body, err := send(t.Context(), r.method, r.path)
				require.NoError(t, err)
				assert.Equal(t, c.body, body)
			}
		})
	}
}

// net/http follows a 302 with a GET, and the client got its answer.
func TestTransportDoesNotFollowAWriteWithAGet(t *testing.T) {
	for code, ok := range map[int]bool{301: false, 302: false, 303: false, 307: true, 308: true} {
		server := serve(t, protoHTTP1, func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				http.Redirect(w, r, "/elsewhere"+r.URL.Path, code)
				return
			}
			write(w, 200, settings("a"))
		})
		err := clientset(t, server.config(), wrapper(t, quickly)).CoreV1().ConfigMaps("default").Delete(t.Context(), "a", metav1.DeleteOptions{})
		if ok {
			assert.NoError(t, err)
			assert.EqualValues(t, 2, server.sends.Load())
			continue
		}
		assert.ErrorContains(t, err, "redirected")
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.EqualValues(t, 1, server.sends.Load())
	}
}

// A redirect that net/http follows, above a Transport, is a new request with retries of its own.
func TestTransportRetriesWhatItIsRedirectedTo(t *testing.T) {
	server := serve(t, protoHTTP1, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 2 {
			http.Redirect(w, r, "/elsewhere"+r.URL.Path, http.StatusPermanentRedirect)
			return
		}
		w.WriteHeader(http.StatusTooManyRequests)
	})
	client := clientset(t, server.config(), wrapper(t, quickly, k8sretry.WithMaxRetries(2)))
	_, err := client.CoreV1().ConfigMaps("default").Update(t.Context(), settings("a"), metav1.UpdateOptions{})
	require.True(t, apierrors.IsTooManyRequests(err), "%v", err)
	assert.EqualValues(t, 2+3, server.sends.Load())
}
