package k8sretry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var podResource = schema.GroupResource{Resource: "pods"}

// status is a reply of the API server with nothing but a code.
func status(code int32, reason metav1.StatusReason) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: code, Reason: reason, Message: "the server said so",
	}}
}

func unavailable() error { return status(503, metav1.StatusReasonServiceUnavailable) }
func badGateway() error  { return status(502, "") }
func gatewayTimeout() error {
	return status(504, metav1.StatusReasonTimeout)
}
func notFound() error { return apierrors.NewNotFound(podResource, "web-0") }

// tooMany is a 429 with a Retry-After of the given number of seconds, 0 for none.
func tooMany(seconds int32) error {
	err := status(429, metav1.StatusReasonTooManyRequests)
	if seconds > 0 {
		err.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: seconds}
	}
	return err
}

// withDelay adds a Retry-After to a status.
func withDelay(err error, seconds int32) error {
	err.(*apierrors.StatusError).ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: seconds}
	return err
}

// budgetSpent is the answer to an eviction that a PodDisruptionBudget does not allow.
func budgetSpent() error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: "DisruptionBudget", Message: "The disruption budget web needs 3 healthy pods and has 3 currently"}}
	return err
}

// errPlain is an error that Classify knows nothing about.
var errPlain = errors.New("plain")

// network is an error of the network, as net/http returns it.
func network(op string, errno syscall.Errno) error {
	calls := map[string]string{"dial": "connect", "read": "read", "write": "write"}
	return &url.Error{Op: "Post", URL: "https://10.0.0.1/api/v1/namespaces/default/pods", Err: &net.OpError{
		Op: op, Net: "tcp", Err: os.NewSyscallError(calls[op], errno),
	}}
}

// script is a function to call that returns the given errors, one after the other, and
// then succeeds. It records when it was called.
type script struct {
	mu    sync.Mutex
	fails []error
	at    []time.Time
}

func fails(errs ...error) *script { return &script{fails: errs} }

func (s *script) get(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Now())
	if n := len(s.at); n <= len(s.fails) {
		return "", s.fails[n-1]
	}
	return "value", nil
}

func (s *script) attempts() int { return len(s.at) }

// waits are the times between the attempts.
func (s *script) waits() []time.Duration {
	var waits []time.Duration
	for i := 1; i < len(s.at); i++ {
		waits = append(waits, s.at[i].Sub(s.at[i-1]))
	}
	return waits
}

func seconds(s ...float64) []time.Duration {
	var all []time.Duration
	for _, x := range s {
		all = append(all, time.Duration(x*float64(time.Second)))
	}
	return all
}

func times(n int, err error) []error {
	all := make([]error, n)
	for i := range all {
		all[i] = err
	}
	return all
}

// constantBackoff is a Backoff of a caller.
type constantBackoff struct{ d time.Duration }

func (b constantBackoff) Delay(int) time.Duration { return b.d }

// logs returns a logger and what it has written.
func logs() (k8sretry.Option, *observer.ObservedLogs) {
	core, written := observer.New(zapcore.DebugLevel)
	return k8sretry.WithLogger(zap.New(core)), written
}

// jsonLogs returns a logger that writes JSON, and what it has written.
func jsonLogs() (k8sretry.Option, func(*testing.T) []map[string]any) {
	var out bytes.Buffer
	encoding := zapcore.EncoderConfig{MessageKey: "event", LevelKey: "level", EncodeLevel: zapcore.LowercaseLevelEncoder}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(encoding), zapcore.AddSync(&out), zapcore.DebugLevel)
	return k8sretry.WithLogger(zap.New(core)), func(t *testing.T) []map[string]any {
		t.Helper()
		return decodeLines(t, out.String())
	}
}

func decodeLines(t *testing.T, out string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(out) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		lines = append(lines, fields)
	}
	return lines
}

// messages are the names of the logged events in order.
func messages(written *observer.ObservedLogs) []string {
	var names []string
	for _, entry := range written.All() {
		names = append(names, entry.Message)
	}
	return names
}

// recorder keeps the events of calls.
type recorder struct {
	mu     sync.Mutex
	events []k8sretry.Event
}

func (r *recorder) Observe(_ context.Context, e k8sretry.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) last(t *testing.T) k8sretry.Event {
	t.Helper()
	require.NotEmpty(t, r.events)
	return r.events[len(r.events)-1]
}

// observerFunc is a func as an Observer.
type observerFunc func(context.Context, k8sretry.Event)

func (f observerFunc) Observe(ctx context.Context, e k8sretry.Event) { f(ctx, e) }

// asError is the *Error that a call returned.
func asError(t *testing.T, err error) *k8sretry.Error {
	t.Helper()
	var e *k8sretry.Error
	require.ErrorAs(t, err, &e)
	return e
}

var exact = k8sretry.WithJitter(k8sretry.JitterNone)

func nan() float64 { return math.NaN() }
func inf() float64 { return math.Inf(1) }

func newObserver() (zapcore.Core, *observer.ObservedLogs) { return observer.New(zapcore.DebugLevel) }

// collect runs the garbage collector and the cleanups that it causes.
func collect() {
	for range 3 {
		done := make(chan struct{})
		runtime.AddCleanup(new([16]byte), func(done chan struct{}) { close(done) }, done)
		runtime.GC()
		<-done
	}
}

// quiet is the error log of test servers whose handlers panic on purpose.
var quiet = log.New(io.Discard, "", 0)

func noConnection() error { return network("dial", syscall.ECONNREFUSED) }
