package k8sretry_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// The attempt timeout ends with the headers: neither a last answer nor a stream is cut.
func TestAttemptTimeoutEndsWithTheHeaders(t *testing.T) {
	const short = 100 * time.Millisecond
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		for _, code := range []int{200, 503} {
			t.Run(fmt.Sprint(proto, code), func(t *testing.T) {
				release := make(chan struct{})
				server := serve(t, proto, func(w http.ResponseWriter, _ *http.Request, _ int) {
					w.WriteHeader(code)
					_, _ = io.WriteString(w, strings.Repeat("x", 20<<10))
					_ = http.NewResponseController(w).Flush()
					<-release
					_, _ = io.WriteString(w, "end")
				})
				client := &http.Client{Transport: wrapper(t, quickly, k8sretry.WithMaxRetries(0), k8sretry.WithAttemptTimeout(short))(server.Client().Transport)}
				resp, err := client.Get(server.URL + "/version")
				require.NoError(t, err)
				defer resp.Body.Close()
				timer := time.AfterFunc(2*short, func() { close(release) })
				defer timer.Stop()
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				assert.True(t, strings.HasSuffix(string(body), "end"))
			})
		}
	}
}

// Watches are sent once, and live on when the call that opened them has returned.
func TestWatchesLiveOn(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		for _, around := range []bool{false, true} {
			t.Run(fmt.Sprint(proto, around), func(t *testing.T) {
				more := make(chan struct{})
				server := serve(t, proto, func(w http.ResponseWriter, r *http.Request, _ int) {
					w.Header().Set("Content-Type", "application/json")
					for range 2 {
						_, _ = io.WriteString(w, `{"type":"ADDED","object":`+string(mustJSON(settings("a")))+"}\n")
						_ = http.NewResponseController(w).Flush()
						<-more
					}
				})
				timeout := k8sretry.WithAttemptTimeout(200 * time.Millisecond)
				client := clientset(t, server.config(), wrapper(t, quickly, timeout))
				open := func(ctx context.Context) (interface{ Stop() }, error) {
					w, err := client.CoreV1().ConfigMaps("").Watch(ctx, metav1.ListOptions{})
					if err != nil {
						return nil, err
					}
					require.NotNil(t, (<-w.ResultChan()).Object)
					time.AfterFunc(400*time.Millisecond, func() { close(more) })
					return stopper{w.Stop, func() bool { return (<-w.ResultChan()).Object != nil }}, nil
				}
				var w interface{ Stop() }
				var err error
				if around {
					w, err = k8sretry.Do(t.Context(), open, quickly, timeout)
				} else {
					w, err = open(t.Context())
				}
				require.NoError(t, err)
				assert.True(t, w.(stopper).next(), "cut")
				w.Stop()
				assert.EqualValues(t, 1, server.sends.Load())
			})
		}
	}
}

type stopper struct {
	stop func()
	next func() bool
}

func (s stopper) Stop() { s.stop() }

// A watch that cannot start is the reflector's business: it is sent once, and the
// error is the server's.
func TestWatchStartsAreSentOnce(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		for name, handle := range map[string]func(http.ResponseWriter){
			"429": func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
			},
			"reset": reset,
		} {
			t.Run(proto+", "+name, func(t *testing.T) {
				server := serve(t, proto, func(w http.ResponseWriter, _ *http.Request, _ int) { handle(w) })
				rec := new(recorder)
				client := clientset(t, server.config(), wrapper(t, quickly, k8sretry.WithObserver(rec)))
				start := time.Now()
				_, err := client.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{})
				require.Error(t, err)
				assert.Less(t, time.Since(start), 900*time.Millisecond)
				assert.EqualValues(t, 1, server.sends.Load())
				assert.Empty(t, rec.events)
				if name == "429" {
					delay, _ := apierrors.SuggestsClientDelay(err)
					assert.Equal(t, 1, delay)
					assert.True(t, apierrors.IsTooManyRequests(err))
				}
			})
		}
	}
}

// A context that a call has left behind is no longer part of it: the requests of an
// informer that was started in a Do are repeated as all others are.
func TestRecordsEndWithTheirCall(t *testing.T) {
	server := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n%2 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		write(w, 200, settings("a"))
	})
	client := clientset(t, server.config(), wrapper(t, quickly))
	left, err := k8sretry.Do(t.Context(), func(ctx context.Context) (context.Context, error) { return ctx, nil })
	require.NoError(t, err)
	require.NoError(t, get(left, client))
	assert.EqualValues(t, 2, server.sends.Load())
}

// Logs that are followed go on for as long as the caller reads them.
func TestFollowedLogs(t *testing.T) {
	more := make(chan struct{})
	server := serve(t, protoHTTP2, func(w http.ResponseWriter, _ *http.Request, _ int) {
		for range 2 {
			_, _ = io.WriteString(w, "line\n")
			_ = http.NewResponseController(w).Flush()
			<-more
		}
	})
	client := clientset(t, server.config(), wrapper(t, quickly, k8sretry.WithAttemptTimeout(100*time.Millisecond)))
	logs, err := client.CoreV1().Pods("default").GetLogs("p", &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	require.NoError(t, err)
	defer logs.Close()
	time.AfterFunc(300*time.Millisecond, func() { close(more) })
	lines := bufio.NewScanner(logs)
	assert.True(t, lines.Scan())
	assert.True(t, lines.Scan())
	assert.False(t, lines.Scan())
	assert.NoError(t, lines.Err())
}
