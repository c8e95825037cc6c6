// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/k8sretry/k8sretry"
)

func aggregate(errs ...error) error { return utilerrors.NewAggregate(errs) }

// embedding is an error type of a caller that embeds a status error.
type embedding struct {
	*apierrors.StatusError
	attempt int
}

// carrier is a status error of another type.
type carrier struct{ code int32 }

func (c *carrier) Error() string { return "carrier" }

func (c *carrier) Status() metav1.Status { return metav1.Status{Code: c.code} }

// single, several, multierror and list are wrappers of other packages. Their methods
// panic on a nil pointer.
type single struct{ err error }

func (s *single) Error() string { return "single: " + s.err.Error() }

func (s *single) Unwrap() error { return s.err }

type several struct{ errs []error }

func (s *several) Error() string { return fmt.Sprint(len(s.errs)) + " errors" }

func (s *several) Unwrap() []error { return s.errs }

type multierror struct{ errs []error } // as github.com/hashicorp/go-multierror

func (m *multierror) Error() string { return fmt.Sprint(len(m.errs)) + " errors" }

func (m *multierror) WrappedErrors() []error { return m.errs }

func (m *multierror) Unwrap() error { return &single{m.errs[0]} }

type list struct{ errs []error } // as an Aggregate

func (l *list) Error() string { return fmt.Sprint(len(l.errs)) + " errors" }

func (l *list) Errors() []error { return l.errs }

type loop struct{}

func (*loop) Error() string { return "loop" }

func (l *loop) Unwrap() error { return l }

type fork struct{}

func (*fork) Error() string { return "fork" }

func (f *fork) Unwrap() []error { return []error{f, f} }

type plain struct{ text string }

func (p *plain) Error() string { return p.text }

type panicking struct{}

func (panicking) Error() string { panic("caller") }

// nils are error interfaces that contain nil pointers.
func nils() map[string]error {
	return map[string]error{
		"StatusError":    (*apierrors.StatusError)(nil),
		"url.Error":      (*url.Error)(nil),
		"OpError":        (*net.OpError)(nil),
		"DNSError":       (*net.DNSError)(nil),
		"SyscallError":   (*os.SyscallError)(nil),
		"Error":          (*k8sretry.Error)(nil),
		"APIStatus":      (*carrier)(nil),
		"Unwrap":         (*single)(nil),
		"Unwrap many":    (*several)(nil),
		"WrappedErrors":  (*multierror)(nil),
		"Errors":         (*list)(nil),
		"plain":          (*plain)(nil),
		"embedded nil":   embedding{attempt: 1},
		"embedded, &nil": &embedding{},
	}
}

// chains are the ways in which a status can be wrapped.
func chains(err error) map[string]error {
	all := map[string]error{
		"bare":                  err,
		"wrapped":               fmt.Errorf("a: %w", err),
		"wrapped often":         fmt.Errorf("a: %w", fmt.Errorf("b: %w", fmt.Errorf("c: %w", err))),
		"two %w":                fmt.Errorf("%w: %w", errors.New("sentinel"), err),
		"joined":                errors.Join(errors.New("first"), err, errors.New("last")),
		"aggregate":             aggregate(errors.New("first"), err),
		"aggregate in a join":   errors.Join(fmt.Errorf("a: %w", aggregate(err))),
		"join in an aggregate":  aggregate(errors.Join(err)),
		"hashicorp":             &multierror{[]error{errors.New("first"), err}},
		"single":                &single{err},
		"several":               &several{[]error{nil, err}},
		"Error":                 &k8sretry.Error{Err: err},
		"Error, wrapped":        fmt.Errorf("a: %w", &k8sretry.Error{Err: fmt.Errorf("b: %w", err)}),
		"in a url.Error":        &url.Error{Op: "Get", URL: "https://x", Err: err},
		"in an OpError":         &net.OpError{Op: "dial", Err: err},
		"in an os.SyscallError": &os.SyscallError{Syscall: "read", Err: err},
	}
	for name, empty := range nils() {
		all["after a nil "+name] = errors.Join(empty, err)
		all["before a nil "+name] = errors.Join(err, empty)
	}
	return all
}

func TestStatusTakesPrecedenceOverItsWrappers(t *testing.T) {
	for name, err := range chains(failure(404, metav1.StatusReasonNotFound, "")) {
		v := k8sretry.Classify(err)
		assert.Equal(t, permanent, v.Class, name)
		assert.Equal(t, 404, v.StatusCode, name)
		assert.False(t, k8sretry.IsRetryableConnectionError(err), name)
	}
}

func TestLeastSafeOfJoinedErrorsDecides(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	refusal := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	quota := apierrors.NewConflict(pods, "a", errRemodeled)
	for _, c := range []struct {
		name    string
		a, b    error
		class   k8sretry.Class
		outcome k8sretry.Outcome
		code    int
		after   time.Duration
	}{
		{"permanent and transient", failure(404, "", ""), failure(503, "", ""), permanent, maybe, 404, 0},
		{"conflict and transient", quota, failure(503, "", ""), conflict, maybe, 409, 0},
		{"blocked and transient", failure(401, "", ""), failure(429, "", ""), blocked, never, 401, 0},
		{"permanent and conflict", failure(422, "", ""), quota, permanent, never, 422, 0},
		{"conflict and blocked", quota, failure(401, "", ""), conflict, never, 409, 0},
		{"canceled and permanent", context.Canceled, failure(404, "", ""), permanent, maybe, 404, 0},
		{"canceled and transient", context.Canceled, failure(503, "", ""), server, maybe, 503, 0},
		{"canceled and not executed", context.Canceled, failure(429, "", ""), throttled, maybe, 429, 0},
		{"canceled and conflict", context.Canceled, quota, conflict, maybe, 409, 0},
		{"canceled and refused", from(context.Canceled), refusal, refused, maybe, 0, 0},
		{"canceled and lost", from(errors.New("net/http: request canceled")), reset, connection, maybe, 0, 0},
		{"canceled and timed out", context.Canceled, context.DeadlineExceeded, timeout, maybe, 0, 0},
		{"no room in the rate limiter and transient", errors.New("rate: Wait(n=1) would exceed context deadline"), failure(503, "", ""), server, maybe, 503, 0},
		{"canceled twice", context.Canceled, from(context.Canceled), canceled, maybe, 0, 0},
		{"an error of the caller has no meaning beside a cancellation", errors.New("caller"), context.Canceled, canceled, maybe, 0, 0},
		{"unknown outcome and not executed", failure(503, "", ""), failure(429, "", ""), server, maybe, 503, 0},
		{"the longer delay", failure(503, "", ""), delayed(failure(429, "", ""), 9), server, maybe, 503, 9 * time.Second},
		{"refused and reset", refusal, reset, connection, maybe, 0, 0},
		{"a status and a lost connection", failure(429, "", ""), reset, connection, maybe, 429, 0},
		{"undecodable and timed out", errors.New("couldn't get version/kind; json parse error: x"), context.DeadlineExceeded, unusable, did, 0, 0},
		{"an error of the caller has no meaning", errors.New("caller"), failure(503, "", ""), server, maybe, 503, 0},
	} {
		for order, err := range map[string]error{"": errors.Join(c.a, c.b), " (reversed)": aggregate(c.b, c.a)} {
			v := exported(k8sretry.Classify(err))
			v.Detail = ""
			assert.Equal(t, k8sretry.Verdict{Class: c.class, Outcome: c.outcome, StatusCode: c.code, RetryAfter: c.after}, v, c.name+order)
		}
	}
	// Of two that are equally safe, the first decides.
	assert.Equal(t, refused, k8sretry.Classify(errors.Join(refusal, failure(429, "", ""))).Class)
	assert.Equal(t, 429, k8sretry.Classify(errors.Join(refusal, failure(429, "", ""))).StatusCode)
	assert.Equal(t, throttled, k8sretry.Classify(errors.Join(failure(429, "", ""), refusal)).Class)
	first := k8sretry.Classify(errors.Join(failure(404, "", ""), failure(422, "", "")))
	assert.Equal(t, 404, first.StatusCode)
	assert.Equal(t, "not found", first.Detail)
}

// A cancellation in a join was taken for that of the caller. But one of two requests that
// fails cancels the other, while the caller's context lives.
func TestCallOfTwoRequestsIsRetriedIfOneFailsAndCancelsTheOther(t *testing.T) {
	for name, err := range map[string]error{
		"failed first":   errors.Join(unavailable(), from(context.Canceled)),
		"canceled first": errors.Join(from(context.Canceled), unavailable()),
		"aggregate":      aggregate(context.Canceled, unavailable()),
		"refused":        errors.Join(context.Canceled, noConnection()),
	} {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			assert.NoError(t, k8sretry.Run(t.Context(), func(context.Context) error {
				if attempts++; attempts == 1 {
					return err
				}
				return nil
			}, k8sretry.ReadOnly()), name)
			assert.Equal(t, 2, attempts, name)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := k8sretry.Run(ctx, func(context.Context) error {
		cancel()
		return errors.Join(unavailable(), context.Canceled)
	})
	assert.Equal(t, k8sretry.StopCanceled, asError(t, err).StopReason, "the caller's own context ended")
}

func TestErrorIsClassifiedByTheAPIErrorInIt(t *testing.T) {
	last := failure(503, metav1.StatusReasonServiceUnavailable, "")
	err := fmt.Errorf("a: %w", &k8sretry.Error{Attempts: 4, StopReason: k8sretry.StopMaxRetries, Outcome: maybe, Err: last})
	assert.Equal(t, k8sretry.Classify(last), k8sretry.Classify(err))
	assert.Equal(t, "unknown error", k8sretry.Classify(&k8sretry.Error{StopReason: k8sretry.StopMaxRetries}).Detail)
}

// The API error in the Error of an open breaker belongs to another call.
func TestRejectedCallIsNotExecuted(t *testing.T) {
	queued := k8sretry.Classify(fmt.Errorf("a: %w", &k8sretry.Error{StopReason: k8sretry.StopQueueTimeout}))
	assert.Equal(t, k8sretry.Verdict{Class: k8sretry.ClassThrottled, Detail: "limiter queue timeout, not sent"}, queued)

	last := failure(503, metav1.StatusReasonServiceUnavailable, "")
	open := k8sretry.Classify(&k8sretry.Error{StopReason: k8sretry.StopBreakerOpen, RetryAfter: time.Second, Err: last})
	assert.Equal(t, k8sretry.ClassServer, open.Class)
	assert.Equal(t, k8sretry.OutcomeNotExecuted, open.Outcome)
	assert.Equal(t, time.Second, open.RetryAfter)
	assert.True(t, open.Retryable(k8sretry.VerbDeleteCollection), "nothing was sent, whatever the other call was answered")

	later := k8sretry.Classify(&k8sretry.Error{StopReason: k8sretry.StopBreakerOpen, Attempts: 1, Err: last})
	assert.Equal(t, k8sretry.OutcomeUnknown, later.Outcome, "the outcome of the attempt that was made")
}

func TestNilPointersNeverPanic(t *testing.T) {
	unknown := k8sretry.Verdict{Class: permanent, Detail: "unknown error"}
	for name, err := range nils() {
		for wrapping, err := range map[string]error{"bare": err, "joined": errors.Join(err), "aggregate": aggregate(err), "wrapped": &single{err}} {
			assert.NotPanics(t, func() {
				assert.False(t, k8sretry.IsRetryableK8sError(err), "%s %s", name, wrapping)
				assert.False(t, k8sretry.IsRetryableConnectionError(err), "%s %s", name, wrapping)
				assert.Equal(t, unknown, exported(k8sretry.Classify(err)), "%s %s", name, wrapping)
			}, "%s %s", name, wrapping)
		}
	}
	assert.Equal(t, connection, k8sretry.Classify(&url.Error{Op: "Get", Err: (*single)(nil)}).Class, "a nil pointer from the HTTP client")
	assert.Equal(t, connection, k8sretry.Classify(&url.Error{Op: "Get"}).Class, "nothing from the HTTP client")
	assert.Equal(t, refused, k8sretry.Classify(&net.OpError{Op: "dial"}).Class, "nothing from a dial")
}

func TestPanicOfAnErrorMethodIsNotRecovered(t *testing.T) {
	assert.Panics(t, func() { k8sretry.Classify(&single{panicking{}}) })
}

func TestEndlessChainIsPermanentAndUnknown(t *testing.T) {
	wide := make([]error, 100_000)
	for i := range wide {
		wide[i] = io.EOF
	}
	deep := io.EOF
	for range 100_000 {
		deep = &single{deep}
	}
	cycle := &several{}
	cycle.errs = []error{errors.New("x"), cycle}
	for name, err := range map[string]error{
		"loop": &loop{}, "fork": &fork{}, "cycle": cycle, "deep": deep, "wide": errors.Join(wide...), "only nils": &several{make([]error, 100_000)},
	} {
		v := k8sretry.Classify(err)
		assert.Equal(t, permanent, v.Class, name)
		assert.Equal(t, maybe, v.Outcome, name)
		assert.Equal(t, "error chain too long", v.Detail, name)
		assert.False(t, k8sretry.IsRetryableK8sError(err), name)
		assert.False(t, k8sretry.IsRetryableConnectionError(err), name)
	}
	found := errors.Join(failure(503, "", ""), &fork{})
	assert.True(t, k8sretry.IsRetryableK8sError(found), "the part before the endless one decides")
	assert.Equal(t, 503, k8sretry.Classify(found).StatusCode)
	assert.False(t, k8sretry.IsRetryableK8sError(errors.Join(&fork{}, failure(503, "", ""))))
	assert.Equal(t, server, k8sretry.Classify(&several{append(make([]error, 1000), failure(503, "", ""))}).Class, "1000 members are not too many")
}

// A call formats, compares and logs the errors of fn. None of that may call a method of a
// nil pointer.
func TestCallSurvivesNilPointers(t *testing.T) {
	for name, fails := range nils() {
		t.Run(name, func(t *testing.T) {
			logger, _ := logs()
			for _, opt := range []k8sretry.Option{k8sretry.WithObserver(new(recorder)), logger} {
				assert.NotPanics(t, func() {
					_ = k8sretry.Run(t.Context(), func(context.Context) error { return fails }, opt)
				})
			}
			assert.NotPanics(t, func() {
				ctx, cancel := context.WithCancel(t.Context())
				err := k8sretry.Run(ctx, func(context.Context) error { cancel(); return fails })
				_ = err.Error()
			}, "canceled")
		})
	}
}

// wide wraps itself n times.
type wide struct{ n int }

func (*wide) Error() string { return "wide" }

func (w *wide) Unwrap() []error {
	all := make([]error, w.n)
	for i := range all {
		all[i] = w
	}
	return all
}

func TestCallSurvivesEndlessChains(t *testing.T) {
	for name, fails := range map[string]error{"one member": &loop{}, "two": &fork{}, "twelve": &wide{12}} {
		logger, written := logs()
		err := k8sretry.Run(t.Context(), func(context.Context) error { return fails }, logger)
		assert.Same(t, fails, err, name)
		assert.Len(t, messages(written), 1, name)
	}
}

func TestErrorOfAnInnerCallIsFoundInAJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		_ = k8sretry.Run(t.Context(), func(ctx context.Context) error {
			attempts++
			err := k8sretry.Run(ctx, func(context.Context) error { return unavailable() }, k8sretry.WithMaxRetries(0))
			for range 7 {
				err = errors.Join(err, unavailable())
			}
			return err
		})
		assert.Equal(t, 1, attempts, "what an inner call gave up is not retried")
	})
}

// wrapsNothing has an Unwrap that returns nil, as types of the standard library get one.
type wrapsNothing string

func (e wrapsNothing) Error() string { return string(e) }
func (wrapsNothing) Unwrap() error   { return nil }

// An error that could wrap another one, and does not, is judged by itself.
func TestAnErrorThatWrapsNothing(t *testing.T) {
	is("not usable", from(wrapsNothing("http2: client conn not usable")), refused, never).holds(t)
	for _, text := range []string{"Bad Gateway", "Forbidden"} { // of a proxy, if it is directly in the *url.Error
		assert.Equal(t, k8sretry.Classify(from(errors.New(text))), k8sretry.Classify(from(wrapsNothing(text))), text)
		assert.NotEqual(t, k8sretry.Classify(from(errors.New("x"))).Detail, k8sretry.Classify(from(wrapsNothing(text))).Detail, text)
	}
}
