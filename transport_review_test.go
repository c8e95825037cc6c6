package k8sretry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

var _ = bytes.NewReader
var _ = gzip.NewReader
var _ = io.EOF
var _ sync.Mutex
var _ = errors.Is
var _ = fmt.Sprint
var _ = strings.Contains
var _ = apierrors.IsConflict
var _ rest.Config

// scaleRes: a deployment with its scale subresource.
type scaleRes struct {
	k8sretry.DynamicResource
	replicas, rv, gen int64
	lose              int
	puts              int
	events            []watch.Event
}

func (s *scaleRes) scale() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "autoscaling/v1", "kind": "Scale",
		"metadata": map[string]any{"name": "web", "uid": "u", "resourceVersion": fmt.Sprint(s.rv)},
		"spec":     map[string]any{"replicas": s.replicas}}}
}
func (s *scaleRes) deployment() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "web", "uid": "u", "resourceVersion": fmt.Sprint(s.rv), "generation": s.gen},
		"spec":     map[string]any{"replicas": s.replicas}}}
}
func (s *scaleRes) Get(context.Context, string, metav1.GetOptions, ...string) (*unstructured.Unstructured, error) {
	return s.scale(), nil
}
func (s *scaleRes) Update(_ context.Context, o *unstructured.Unstructured, _ metav1.UpdateOptions, _ ...string) (*unstructured.Unstructured, error) {
	s.puts++
	if o.GetResourceVersion() != fmt.Sprint(s.rv) {
		return nil, apierrors.NewConflict(schema.GroupResource{Resource: "deployments"}, "web", errors.New("modified"))
	}
	s.replicas, _, _ = unstructured.NestedInt64(o.Object, "spec", "replicas")
	s.rv++
	s.gen++
	s.events = append(s.events, watch.Event{Type: watch.Modified, Object: s.deployment()})
	if s.lose > 0 {
		s.lose--
		return nil, lostReply()
	}
	return s.scale(), nil
}
func (s *scaleRes) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	w := watch.NewFakeWithChanSize(10, false)
	for _, e := range s.events {
		w.Action(e.Type, e.Object)
	}
	return w, nil
}

func TestReviewScaleTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scaleRes{replicas: 3, rv: 10, gen: 1, lose: 1}
		_, err := k8sretry.Modify(context.Background(), k8sretry.Dynamic(s, "scale"), "web", func(o *unstructured.Unstructured) error {
			n, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
			return unstructured.SetNestedField(o.Object, n+1, "spec", "replicas")
		})
		t.Log(err)
		assert.EqualValues(t, 4, s.replicas)
	})
}

func TestReviewScaleUpdateFalseFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scaleRes{replicas: 3, rv: 10, gen: 1, lose: 1}
		o := s.scale()
		_ = unstructured.SetNestedField(o.Object, int64(4), "spec", "replicas")
		_, err := k8sretry.Update(context.Background(), k8sretry.Dynamic(s, "scale"), o, metav1.UpdateOptions{})
		assert.EqualValues(t, 4, s.replicas)
		if err != nil {
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown, "%v", err)
		}
	})
}

func TestReviewStatusPartialObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		c := newCluster()
		made, err := k8sretry.Create(ctx, k8sretry.Creator[*corev1.ConfigMap](c), configMap("x"), metav1.CreateOptions{})
		require.NoError(t, err)
		o := configMap("x", "n", "1")
		o.ResourceVersion = made.ResourceVersion
		c.on("updatestatus", lost(lostReply()))
		_, err = k8sretry.Update(ctx, k8sretry.StatusSubresource[*corev1.ConfigMap](c), o, metav1.UpdateOptions{})
		assert.Equal(t, "1", c.get("x").Data["n"])
		if err != nil {
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown, "%v", err)
		}
	})
}

func dyn(t *testing.T, h http.HandlerFunc, wrappers ...func(http.RoundTripper) http.RoundTripper) dynamic.ResourceInterface {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	cfg := &rest.Config{Host: s.URL, QPS: -1}
	for _, w := range wrappers {
		cfg.Wrap(w)
	}
	hc, err := rest.HTTPClientFor(cfg)
	require.NoError(t, err)
	t.Cleanup(hc.CloseIdleConnections)
	d, err := dynamic.NewForConfigAndClient(cfg, hc)
	require.NoError(t, err)
	return d.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}).Namespace("default")
}

func TestReviewUnstructuredAnnotationsDropped(t *testing.T) {
	var got string
	r := dyn(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = string(b)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(201)
		w.Write(b)
	})
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Widget",
		"metadata": map[string]any{"name": "w", "annotations": map[string]any{"keep": "me", "build": int64(42)}}}}
	_, err := k8sretry.Create(context.Background(), k8sretry.Dynamic(r), o, metav1.CreateOptions{})
	t.Log(got, err)
	assert.Contains(t, got, `"build":42`)
	assert.Contains(t, got, `"keep"`)
}

func TestReviewUnstructuredIntPanics(t *testing.T) {
	r := dyn(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(201)
		w.Write(b)
	})
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Widget",
		"metadata": map[string]any{"name": "w"}, "spec": map[string]any{"size": 3}}}
	_, err := r.Create(context.Background(), o, metav1.CreateOptions{})
	require.NoError(t, err, "plain")
	assert.NotPanics(t, func() {
		_, err = k8sretry.Create(context.Background(), k8sretry.Dynamic(r), o, metav1.CreateOptions{})
		assert.NoError(t, err)
	})
}

func TestReviewApplyNil(t *testing.T) {
	r := dyn(t, func(w http.ResponseWriter, r *http.Request) {})
	assert.NotPanics(t, func() {
		_, err := k8sretry.Apply(context.Background(), k8sretry.Dynamic(r), nil, metav1.ApplyOptions{})
		assert.Error(t, err)
	})
}

func TestReviewNilNil(t *testing.T) {
	rt := wrapper(t)(roundTripper(func(*http.Request) (*http.Response, error) { return nil, nil }))
	c := &http.Client{Transport: rt}
	assert.NotPanics(t, func() {
		_, err := c.Get("http://x/api/v1/pods/x")
		assert.Error(t, err)
	})
}

func TestReviewNestedDoubt(t *testing.T) {
	body := statusJSON(500, "InternalError", `Internal error occurred: failed calling webhook "x.example.com": failed to call webhook: Post "https://x": dial tcp: connect: connection refused`)
	for n := 1; n <= 3; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sends := 0
				var ws []func(http.RoundTripper) http.RoundTripper
				for range n {
					ws = append(ws, wrapper(t))
				}
				c := over(t, func(req *http.Request) (*http.Response, error) {
					if sends++; sends == 1 {
						return answer(req, 500, "application/json", body), nil
					}
					return answer(req, 201, "application/json", string(mustJSON(settings("x")))), nil
				}, ws...)
				_, err := c.CoreV1().ConfigMaps("default").Create(context.Background(), configMap("x"), metav1.CreateOptions{})
				assert.NoError(t, err)
				assert.Equal(t, 2, sends)
			})
		})
	}
}

func TestReviewDiscardHang(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, protoHTTP1, func(w http.ResponseWriter, r *http.Request, n int) {
		if n > 1 {
			write(w, 200, settings("x"))
			return
		}
		w.WriteHeader(503)
		w.Write(make([]byte, 9<<10))
		w.(http.Flusher).Flush()
		<-release
	})
	defer close(release)
	c := clientset(t, s.config(), wrapper(t, quickly, k8sretry.WithAttemptTimeout(200*time.Millisecond)))
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	at := time.Now()
	_, err := c.CoreV1().ConfigMaps("default").Get(ctx, "x", metav1.GetOptions{})
	assert.NoError(t, err)
	t.Log(time.Since(at))
}

// Without a Transport, net/http keeps the redirect to itself.
func TestReviewRedirects(t *testing.T) {
	for _, code := range []int{301, 307} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			var puts, dels, lookups atomic.Int32
			obj := settings("x")
			real := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.Method {
				case "PUT":
					puts.Add(1)
				case "DELETE":
					dels.Add(1)
				case "GET":
					lookups.Add(1)
				}
				write(w, 200, obj)
			}))
			defer real.Close()
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, real.URL+r.URL.String(), code)
			}))
			defer front.Close()
			c := clientset(t, &rest.Config{Host: front.URL}, wrapper(t, quickly)).CoreV1().ConfigMaps("default")
			ctx := context.Background()
			_, err := k8sretry.Update(ctx, c, obj, metav1.UpdateOptions{}, quickly)
			if err == nil {
				assert.EqualValues(t, 1, puts.Load(), "update")
			}
			_, err = k8sretry.Modify(ctx, c, "x", plusOne, quickly)
			if err == nil {
				assert.EqualValues(t, 2, puts.Load(), "modify")
			}
			err = k8sretry.Delete(ctx, c, obj, metav1.DeleteOptions{}, quickly)
			if err == nil {
				assert.EqualValues(t, 1, dels.Load(), "delete")
			}
		})
	}
}

func TestReviewRedirectThen429InDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		c := over(t, func(req *http.Request) (*http.Response, error) {
			sends++
			switch sends {
			case 1, 3:
				r := answer(req, 307, "text/plain", "", "Location", "https://server2"+req.URL.Path)
				return r, nil
			case 2:
				return answer(req, 429, "application/json", statusJSON(429, "TooManyRequests", "slow")), nil
			}
			return answer(req, 201, "application/json", string(mustJSON(settings("x")))), nil
		}, wrapper(t))
		_, err := k8sretry.Do(context.Background(), func(ctx context.Context) (*corev1.ConfigMap, error) {
			return c.CoreV1().ConfigMaps("default").Create(ctx, configMap("x"), metav1.CreateOptions{})
		}, k8sretry.WithVerb(k8sretry.VerbCreate))
		assert.NoError(t, err)
	})
}

func TestReviewSwallowedEOF(t *testing.T) {
	// a create whose answer was lost, then another that was throttled: together unknown
	for _, lostErr := range []error{io.EOF, io.ErrUnexpectedEOF, errors.New("http2: client connection lost"), errors.New("http: server closed idle connection"),
		errors.New("net/http: timeout awaiting response headers"), errors.New("something odd")} {
		synctest.Test(t, func(t *testing.T) {
			sends := 0
			c := over(t, func(req *http.Request) (*http.Response, error) {
				sends++
				if sends%2 == 1 {
					return nil, lostErr
				}
				return answer(req, 429, "application/json", statusJSON(429, "TooManyRequests", "slow")), nil
			}, wrapper(t))
			_, err := k8sretry.Do(context.Background(), func(ctx context.Context) (*corev1.ConfigMap, error) {
				_, _ = c.CoreV1().ConfigMaps("default").Create(ctx, configMap("x"), metav1.CreateOptions{})
				return c.CoreV1().ConfigMaps("default").Create(ctx, configMap("y"), metav1.CreateOptions{})
			}, k8sretry.WithVerb(k8sretry.VerbCreate))
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown, "%v", lostErr)
			assert.Equal(t, 2, sends, "%v", lostErr)
		})
	}
}

func TestReviewRetryIfMutateError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("x", "n", "0"))
		n := 0
		mine := errors.New("mine")
		_, err := k8sretry.Modify(context.Background(), k8sretry.Updater[*corev1.ConfigMap](c), "x", func(*corev1.ConfigMap) error { n++; return mine },
			k8sretry.WithRetryIf(func(error) bool { return true }))
		assert.Equal(t, 1, n)
		assert.Equal(t, mine, err)
	})
}

func TestReviewHugeRetryAfter(t *testing.T) {
	for _, ra := range []string{"9223372036854775807", "9223372036", "99999999999999999999", "4294967297", "-9223372036854775808", "\x00", "1e9", " 5", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		synctest.Test(t, func(t *testing.T) {
			sends := 0
			c := over(t, func(req *http.Request) (*http.Response, error) {
				sends++
				if sends == 1 {
					return answer(req, 429, "text/plain", "slow", "Retry-After", ra), nil
				}
				return answer(req, 200, "application/json", string(mustJSON(settings("x")))), nil
			}, wrapper(t, k8sretry.WithMaxRetryAfter(1<<63-1)))
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Hour)
			defer cancel()
			_, err := c.CoreV1().ConfigMaps("default").Get(ctx, "x", metav1.GetOptions{})
			if ra == "9223372036" || ra == "4294967297" {
				assert.Equal(t, 1, sends, "%q: far beyond the deadline, so nobody waits", ra)
				assert.True(t, apierrors.IsTooManyRequests(err))
				return
			}
			assert.LessOrEqual(t, sends, 2, "%q", ra)
		})
	}
}
