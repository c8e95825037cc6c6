package k8sretry_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/clientgo"
)

// A refused connection stays visible: reflectors ask for it.
func TestRefusedStaysVisible(t *testing.T) {
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

// A create that was refused was never sent, and is repeated.
func TestRefusedCreatesAreRepeated(t *testing.T) {
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

// The timeout of rest.Config covers all sends and waits of a call together.
func TestTimeoutOfTheConfig(t *testing.T) {
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
		assert.Equal(t, 8*time.Second, time.Since(start), "the third wait would pass the timeout")
	})
}

// The caller's own hooks in net/http are called as without a Transport.
func TestHooksOfTheCaller(t *testing.T) {
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

// A review asks a question: it is repeated whatever became of it, and leaves no doubt.
func TestReviewsInADo(t *testing.T) {
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

// Safe writes send once for each of their attempts through a Transport, too.
func TestSafeWritesThroughATransport(t *testing.T) {
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

// The error of a Transport is classified in the same way outside of a Do as without a
// Transport, whether it was revealed or not.
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
