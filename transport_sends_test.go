package k8sretry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

func get(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.CoreV1().ConfigMaps("default").Get(ctx, "a", metav1.GetOptions{})
	return err
}

// One owner of retries: a server that always answers the same sees one send more than
// there are retries, and the client gets its answer. The same in a Do around.
func TestPersistentAnswers(t *testing.T) {
	const retries = 5
	for _, c := range []struct {
		situation  string
		code       int
		retryAfter string
		media      string
		sends      int
		took       time.Duration // with exact delays of a second
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
		for _, around := range []bool{false, true} {
			name := c.situation
			if around {
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
					if around {
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
					if around && c.sends == 1 && c.retryAfter == "30" {
						assert.ErrorIs(t, err, k8sretry.ErrRetryAfterTooLong)
						assert.Equal(t, 30*time.Second, asError(t, err).RetryAfter)
					}
				})
			})
		}
	}
}

// A whole clientset with one line: what passes is repeated, and the caller sees none
// of it.
func TestPassingFailures(t *testing.T) {
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

// Connections that break for ever, over real networks.
func TestPersistentConnectionErrors(t *testing.T) {
	const retries = 3
	breaks := map[string]func(http.ResponseWriter){
		"reset": reset,
		"closed": func(w http.ResponseWriter) {
			panic(http.ErrAbortHandler)
		},
	}
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		for name, broken := range breaks {
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
						broken(w)
					})
					client := clientset(t, server.config(), wrapper(t, quickly, k8sretry.WithMaxRetries(retries)))
					for range healthy {
						require.NoError(t, get(t.Context(), client))
					}
					start := time.Now()
					err := get(t.Context(), client)
					assert.Less(t, time.Since(start), time.Second, "client-go has waited")
					assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
					assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown, "a read")
					if name == "reset" && proto == protoHTTP1 {
						assert.ErrorIs(t, err, syscall.ECONNRESET)
					}
					assert.EqualValues(t, healthy+retries+1, server.sends.Load())
				})
			}
		}
	}
}

// Do(5) around Transport(3): 6 sends, and the errors without a shield.
func TestDoAroundTransport(t *testing.T) {
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

// A body that breaks off was handed on already: it is the Do around that repeats.
func TestTruncatedBodies(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		t.Run(proto, func(t *testing.T) {
			server := serve(t, proto, func(w http.ResponseWriter, _ *http.Request, _ int) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(w, `{"kind":"ConfigMap"`)
				_ = http.NewResponseController(w).Flush()
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

// What may be repeated without knowing what became of it, by what the request says.
func TestVerbsOverABrokenWire(t *testing.T) {
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
		}, 1, true},
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
		{"apply", func(c kubernetes.Interface) error { return patch(c, types.ApplyPatchType, `{}`) }, 3, true},
		{"JSON patch", func(c kubernetes.Interface) error {
			return patch(c, types.JSONPatchType, `[{"op":"add","path":"/data/list/-","value":"1"}]`)
		}, 1, true},
		{"JSON patch with a test", func(c kubernetes.Interface) error {
			return patch(c, types.JSONPatchType, `[{"op":"test","path":"/data/a","value":"1"},{"op":"replace","path":"/data/a","value":"2"}]`)
		}, 3, true},
		{"delete", func(c kubernetes.Interface) error {
			return c.CoreV1().ConfigMaps("default").Delete(ctx, "a", metav1.DeleteOptions{})
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

// In a Do without a verb the caller vouches for the call. What the wire knows better
// is not repeated all the same.
func TestWireKnowsBetterThanNoVerb(t *testing.T) {
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

// A function of two writes is not replayed when the first was carried out, however
// harmless the failure of the second.
func TestTwoWritesInOneAttempt(t *testing.T) {
	for _, first := range []int{201, 429, 504} {
		t.Run(http.StatusText(first), func(t *testing.T) {
			server := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, n int) {
				if n == 1 {
					if first == 201 {
						write(w, first, settings("a"))
					} else {
						w.WriteHeader(first)
					}
					return
				}
				w.WriteHeader(http.StatusTooManyRequests)
			})
			client := clientset(t, server.config(), wrapper(t, quickly))
			attempts := 0
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
				attempts++
				maps := client.CoreV1().ConfigMaps("default")
				_, _ = maps.Create(ctx, settings("a"), metav1.CreateOptions{})
				_, err := maps.Create(ctx, settings("b"), metav1.CreateOptions{})
				return err
			}, quickly, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithMaxRetries(1))
			require.True(t, apierrors.IsTooManyRequests(err))
			if first == 429 {
				assert.Equal(t, 2, attempts)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			} else {
				assert.Equal(t, 1, attempts)
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			}
		})
	}
}

// An answer that says less than is known comes in an Error that says all: the update
// may have made the conflict itself.
func TestDoubtReachesTheClient(t *testing.T) {
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
	} {
		for where, run := range map[string]func(context.Context, func(context.Context) error) error{
			"Transport": func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) },
			"Do over it": func(ctx context.Context, fn func(context.Context) error) error {
				return k8sretry.Run(ctx, fn, k8sretry.WithVerb(k8sretry.VerbPatch))
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
