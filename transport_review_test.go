package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

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
