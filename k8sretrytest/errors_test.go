package k8sretrytest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

type errorCase struct {
	name    string
	make    func() error
	class   k8sretry.Class
	outcome k8sretry.Outcome
	after   time.Duration
}

const (
	never = k8sretry.OutcomeNotExecuted
	maybe = k8sretry.OutcomeUnknown
)

func status(code int) func() error { return func() error { return k8sretrytest.Status(code) } }

var errorCases = []errorCase{
	{"400", status(400), k8sretry.ClassPermanent, never, 0},
	{"401", status(401), k8sretry.ClassBlocked, never, 0},
	{"403", status(403), k8sretry.ClassPermanent, never, 0},
	{"404", status(404), k8sretry.ClassPermanent, never, 0},
	{"408", status(408), k8sretry.ClassServer, maybe, 0},
	{"409", status(409), k8sretry.ClassConflict, maybe, 0},
	{"413", status(413), k8sretry.ClassPermanent, never, 0},
	{"422", status(422), k8sretry.ClassPermanent, never, 0},
	{"429", status(429), k8sretry.ClassThrottled, never, 0},
	{"500", status(500), k8sretry.ClassServer, maybe, 0},
	{"501", status(501), k8sretry.ClassPermanent, never, 0},
	{"502", status(502), k8sretry.ClassServer, maybe, 0},
	{"503", status(503), k8sretry.ClassServer, maybe, 0},
	{"504", status(504), k8sretry.ClassTimeout, maybe, 0},
	{"429 with a delay", func() error { return k8sretrytest.TooManyRequests(2500 * time.Millisecond) }, k8sretry.ClassThrottled, never, 3 * time.Second},
	{"429 without one", func() error { return k8sretrytest.TooManyRequests(0) }, k8sretry.ClassThrottled, never, 0},
	{"a status of the server", func() error {
		return k8sretrytest.ServerStatus(504, metav1.StatusReasonTimeout, "Timeout: request did not complete within the allotted timeout")
	}, k8sretry.ClassTimeout, maybe, 0},
	{"etcd timeout", k8sretrytest.EtcdTimeout, k8sretry.ClassServer, maybe, 0},
	{"webhook denied", func() error { return k8sretrytest.WebhookDenied("no limits set") }, k8sretry.ClassPermanent, never, 0},
	{"webhook failed", k8sretrytest.WebhookFailed, k8sretry.ClassServer, never, 0},
	{"quota exceeded", k8sretrytest.QuotaExceeded, k8sretry.ClassBlocked, never, 0},
	{"quota conflict", k8sretrytest.QuotaConflict, k8sretry.ClassServer, never, 0},
	{"disruption budget", k8sretrytest.DisruptionBudget, k8sretry.ClassDisruptionBudget, never, 0},
	{"connection refused", k8sretrytest.ConnectionRefused, k8sretry.ClassRefused, never, 0},
	{"connection reset", k8sretrytest.ConnectionReset, k8sretry.ClassConnection, maybe, 0},
	{"lost reply", k8sretrytest.ConnectionClosed, k8sretry.ClassConnection, maybe, 0},
	{"GOAWAY", k8sretrytest.GoAway, k8sretry.ClassConnection, maybe, 0},
	{"cut body", k8sretrytest.TruncatedBody, k8sretry.ClassConnection, maybe, 0},
	{"no such host", k8sretrytest.NoSuchHost, k8sretry.ClassBlocked, never, 0},
	{"name server timeout", k8sretrytest.DNSTimeout, k8sretry.ClassTimeout, never, 0},
	{"client timeout", k8sretrytest.ClientTimeout, k8sretry.ClassTimeout, maybe, 0},
}

func TestErrorsMeanWhatTheirDocsSay(t *testing.T) {
	for _, c := range errorCases {
		t.Run(c.name, func(t *testing.T) {
			v := k8sretry.Classify(c.make())
			assert.Equal(t, c.class.String(), v.Class.String())
			assert.Equal(t, c.outcome.String(), v.Outcome.String())
			assert.Equal(t, c.after, v.RetryAfter)
			assert.NotSame(t, c.make(), c.make(), "each call makes an error of its own")
		})
	}
}

// inMemory is a real clientset with faults in front of a handler.
func inMemory(t *testing.T, handler http.HandlerFunc) (*kubernetes.Clientset, *k8sretrytest.Faults) {
	t.Helper()
	faults := new(k8sretrytest.Faults)
	cfg := &rest.Config{Host: "http://in.memory", Transport: memory{handler}, QPS: -1}
	cfg.Wrap(faults.Transport)
	cs, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	return cs, faults
}

// What a real client returns for a fault of the Transport is the error that the
// script holds: the same types, and the same meaning.
func TestARealClientReturnsTheSameErrors(t *testing.T) {
	for _, c := range errorCases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cs, faults := inMemory(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was called") })
				faults.FailNext(11, "update", "configmaps", c.make())
				_, err := cs.CoreV1().ConfigMaps("default").Update(t.Context(), configMap("a"), metav1.UpdateOptions{})
				want := c.make()
				assert.Equal(t, types(want), types(err), "%v", err)
				assert.Equal(t, k8sretry.Classify(want), k8sretry.Classify(err))
				if apierrors.ReasonForError(want) != metav1.StatusReasonUnknown {
					assert.Equal(t, mustStatus(t, want).Reason, mustStatus(t, err).Reason)
				}
				sent := 1
				if c.after > 0 {
					sent = 11 // client-go obeys a Retry-After by itself
				}
				assert.Equal(t, sent, faults.Calls("update", "configmaps"))
			})
		})
	}
}

// The errors of the wire, compared with those of a real one.
func TestErrorsLookLikeThoseOfARealWire(t *testing.T) {
	cases := map[string]struct {
		serve http.HandlerFunc
		want  error
	}{
		"reset": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if assert.NoError(t, err) {
				_ = conn.(*net.TCPConn).SetLinger(0) // a close is a reset
				_ = conn.Close()
			}
		}, k8sretrytest.ConnectionReset()},
		"closed": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, k8sretrytest.ConnectionClosed()},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"kind":`)
		}, k8sretrytest.TruncatedBody()},
		"silent": {func(_ http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body) // before that the server does not see the client leave
			<-req.Context().Done()
		}, k8sretrytest.ClientTimeout()},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.serve)
			defer server.Close()
			cfg := &rest.Config{Host: server.URL, QPS: -1}
			if name == "silent" {
				cfg.Timeout = 50 * time.Millisecond
			}
			real := post(t, cfg)
			if name == "silent" && len(types(real)) == 2 && types(real)[1] == "context.deadlineExceededError" {
				return // a race in http.Client, which may come out either way
			}
			assert.Equal(t, types(c.want), types(real), "%v", real)
			assert.Equal(t, k8sretry.Classify(c.want), k8sretry.Classify(real))
			if name != "silent" {
				assert.Equal(t, lastText(c.want), lastText(real))
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		server := httptest.NewServer(nil)
		server.Close()
		real, want := post(t, &rest.Config{Host: server.URL, QPS: -1}), k8sretrytest.ConnectionRefused()
		assert.Equal(t, types(want), types(real), "%v", real)
		assert.Equal(t, k8sretry.Classify(want), k8sretry.Classify(real))
		assert.Equal(t, lastText(want), lastText(real))
	})
}

func post(t *testing.T, cfg *rest.Config) error {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	cfg.Transport = transport
	cs, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	ctx := context.Background()
	_, err = cs.CoreV1().ConfigMaps("default").Create(ctx, configMap("a"), metav1.CreateOptions{})
	require.Error(t, err)
	return err
}

// lastText is the text of the innermost error: the outer ones name addresses.
func lastText(err error) string {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return err.Error()
}
