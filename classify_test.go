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
	"time"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/k8sretry/k8sretry"
)

func aggregate(errs ...error) error { return utilerrors.NewAggregate(errs) }

// embedding is a status error with something of its own.
type embedding struct {
	*apierrors.StatusError
	attempt int
}

// carrier is a status error of another make.
type carrier struct{ code int32 }

func (c *carrier) Error() string         { return "carrier" }
func (c *carrier) Status() metav1.Status { return metav1.Status{Code: c.code} }

// single, several, multierror and loop are wrappers of other makes. All of them
// panic if they are asked as nil pointers.
type single struct{ err error }

func (s *single) Error() string { return "single: " + s.err.Error() }
func (s *single) Unwrap() error { return s.err }

type several struct{ errs []error }

func (s *several) Error() string   { return fmt.Sprint(len(s.errs)) + " errors" }
func (s *several) Unwrap() []error { return s.errs }

type multierror struct{ errs []error } // as github.com/hashicorp/go-multierror

func (m *multierror) Error() string          { return fmt.Sprint(len(m.errs)) + " errors" }
func (m *multierror) WrappedErrors() []error { return m.errs }
func (m *multierror) Unwrap() error          { return &single{m.errs[0]} }

type list struct{ errs []error } // as an Aggregate

func (l *list) Error() string   { return fmt.Sprint(len(l.errs)) + " errors" }
func (l *list) Errors() []error { return l.errs }

type loop struct{}

func (*loop) Error() string   { return "loop" }
func (l *loop) Unwrap() error { return l }

type fork struct{}

func (*fork) Error() string     { return "fork" }
func (f *fork) Unwrap() []error { return []error{f, f} }

// nils are nil pointers in error interfaces.
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

type plain struct{ text string }

func (p *plain) Error() string { return p.text }

// chains are the ways in which a status can come to a caller.
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
		"own Error":             &k8sretry.Error{Err: err},
		"own Error, wrapped":    fmt.Errorf("a: %w", &k8sretry.Error{Err: fmt.Errorf("b: %w", err)}),
		"in a url.Error":        &url.Error{Op: "Get", URL: "https://x", Err: err},
		"in an OpError":         &net.OpError{Op: "dial", Err: err},
		"in an os.SyscallError": &os.SyscallError{Syscall: "read", Err: err},
	}
	for name, hole := range nils() {
		all["behind a nil "+name] = errors.Join(hole, err)
		all["before a nil "+name] = errors.Join(err, hole)
	}
	return all
}

func TestIsRetryableK8sErrorByCode(t *testing.T) {
	retryable := map[int32]bool{408: true, 429: true, 500: true, 502: true, 503: true, 504: true}
	for code := int32(-1); code < 700; code++ {
		for _, reason := range []metav1.StatusReason{"", metav1.StatusReasonConflict, metav1.StatusReasonTooManyRequests} {
			assert.Equal(t, retryable[code], k8sretry.IsRetryableK8sError(failure(code, reason, "")), "%d %q", code, reason)
		}
	}
}

func TestIsRetryableK8sErrorAnywhereInTheChain(t *testing.T) {
	for name, err := range chains(failure(503, metav1.StatusReasonServiceUnavailable, "")) {
		assert.True(t, k8sretry.IsRetryableK8sError(err), "503 %s", name)
	}
	for name, err := range chains(failure(404, metav1.StatusReasonNotFound, "")) {
		assert.False(t, k8sretry.IsRetryableK8sError(err), "404 %s", name)
	}
	for name, err := range chains(embedding{failure(502, "", ""), 1}) {
		assert.True(t, k8sretry.IsRetryableK8sError(err), "embedded 502 %s", name)
	}
	for name, err := range chains(&carrier{504}) {
		assert.True(t, k8sretry.IsRetryableK8sError(err), "504 of another make %s", name)
	}
}

func TestIsRetryableK8sErrorFirstStatusDecides(t *testing.T) {
	notFound, unavailable, empty := failure(404, "", ""), failure(503, "", ""), failure(0, "", "")
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"404 before 503", errors.Join(notFound, unavailable), false},
		{"503 before 404", errors.Join(unavailable, notFound), true},
		{"depth first", errors.Join(fmt.Errorf("a: %w", errors.Join(io.EOF, notFound)), unavailable), false},
		{"a status without a code decides too", errors.Join(empty, unavailable), false},
		{"the aggregate before", errors.Join(aggregate(unavailable), notFound), true},
		{"own Error: the last error of the API, not the context", errors.Join(&k8sretry.Error{Err: notFound}, unavailable), false},
	} {
		assert.Equal(t, c.want, k8sretry.IsRetryableK8sError(c.err), c.name)
	}
	// The same order as the predicates of apierrors.
	assert.True(t, apierrors.IsNotFound(errors.Join(fmt.Errorf("a: %w", apierrors.NewNotFound(pods, "a")), unavailable)))
}

func TestNoStatusIsNoRetryableK8sError(t *testing.T) {
	for _, err := range []error{nil, io.EOF, context.DeadlineExceeded, errors.New("503"), errors.Join(io.EOF), &k8sretry.Error{}} {
		assert.False(t, k8sretry.IsRetryableK8sError(err), "%v", err)
	}
}

func TestNilPointersNeverPanic(t *testing.T) {
	unknown := k8sretry.Verdict{Class: permanent, Detail: "unknown error"}
	for name, err := range nils() {
		for wrapping, err := range map[string]error{"bare": err, "joined": errors.Join(err), "aggregate": aggregate(err), "wrapped": &single{err}} {
			assert.NotPanics(t, func() {
				assert.False(t, k8sretry.IsRetryableK8sError(err), "%s %s", name, wrapping)
				assert.False(t, k8sretry.IsRetryableConnectionError(err), "%s %s", name, wrapping)
				assert.Equal(t, unknown, k8sretry.Classify(err), "%s %s", name, wrapping)
			}, "%s %s", name, wrapping)
		}
	}
	assert.Equal(t, connection, k8sretry.Classify(&url.Error{Op: "Get", Err: (*single)(nil)}).Class, "nil pointer from the wire")
	assert.Equal(t, connection, k8sretry.Classify(&url.Error{Op: "Get"}).Class, "nothing from the wire")
	assert.Equal(t, refused, k8sretry.Classify(&net.OpError{Op: "dial"}).Class, "nothing from a dial")
}

func TestNilIsNoFailure(t *testing.T) {
	assert.Zero(t, k8sretry.Classify(nil))
	assert.False(t, k8sretry.IsRetryableK8sError(nil))
	assert.False(t, k8sretry.IsRetryableConnectionError(nil))
}

func TestEndlessChainsEnd(t *testing.T) {
	wide := make([]error, 100_000)
	for i := range wide {
		wide[i] = io.EOF
	}
	deep := error(io.EOF)
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
	assert.True(t, k8sretry.IsRetryableK8sError(found), "what comes before the endless part decides")
	assert.Equal(t, 503, k8sretry.Classify(found).StatusCode)
	assert.False(t, k8sretry.IsRetryableK8sError(errors.Join(&fork{}, failure(503, "", ""))))
	assert.Equal(t, server, k8sretry.Classify(&several{append(make([]error, 1000), failure(503, "", ""))}).Class, "1000 members are no reason to give up")
}

// exported is v with its exported fields alone, to compare it with a literal.
func exported(v k8sretry.Verdict) k8sretry.Verdict {
	return k8sretry.Verdict{Class: v.Class, Outcome: v.Outcome, StatusCode: v.StatusCode, RetryAfter: v.RetryAfter, Detail: v.Detail}
}

// Of several errors the least safe stands.
func TestJoinedErrors(t *testing.T) {
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
		{"lasting and passing", failure(404, "", ""), failure(503, "", ""), permanent, maybe, 404, 0},
		{"conflict and passing", quota, failure(503, "", ""), conflict, maybe, 409, 0},
		{"blocked and passing", failure(401, "", ""), failure(429, "", ""), blocked, never, 401, 0},
		{"permanent and conflict", failure(422, "", ""), quota, permanent, never, 422, 0},
		{"conflict and blocked", quota, failure(401, "", ""), conflict, never, 409, 0},
		{"canceled and permanent", context.Canceled, failure(404, "", ""), canceled, maybe, 404, 0},
		{"unknown outcome and none", failure(503, "", ""), failure(429, "", ""), server, maybe, 503, 0},
		{"the longer delay", failure(503, "", ""), delayed(failure(429, "", ""), 9), server, maybe, 503, 9 * time.Second},
		{"refused and reset", refusal, reset, connection, maybe, 0, 0},
		{"a status and a dropped connection", failure(429, "", ""), reset, connection, maybe, 429, 0},
		{"undecodable and timed out", errors.New("couldn't get version/kind; json parse error: x"), context.DeadlineExceeded, unusable, did, 0, 0},
		{"the caller's error says nothing", errors.New("mine"), failure(503, "", ""), server, maybe, 503, 0},
	} {
		for order, err := range map[string]error{"": errors.Join(c.a, c.b), " (reversed)": aggregate(c.b, c.a)} {
			v := exported(k8sretry.Classify(err))
			v.Detail = ""
			assert.Equal(t, k8sretry.Verdict{Class: c.class, Outcome: c.outcome, StatusCode: c.code, RetryAfter: c.after}, v, c.name+order)
		}
	}
	// Of two that are alike the first stands.
	assert.Equal(t, refused, k8sretry.Classify(errors.Join(refusal, failure(429, "", ""))).Class)
	assert.Equal(t, 429, k8sretry.Classify(errors.Join(refusal, failure(429, "", ""))).StatusCode)
	assert.Equal(t, throttled, k8sretry.Classify(errors.Join(failure(429, "", ""), refusal)).Class)
	first := k8sretry.Classify(errors.Join(failure(404, "", ""), failure(422, "", "")))
	assert.Equal(t, 404, first.StatusCode)
	assert.Equal(t, "not found", first.Detail)
}

func TestAStatusGoesBeforeWhatIsWrappedAroundIt(t *testing.T) {
	for name, err := range chains(failure(404, metav1.StatusReasonNotFound, "")) {
		v := k8sretry.Classify(err)
		assert.Equal(t, permanent, v.Class, name)
		assert.Equal(t, 404, v.StatusCode, name)
		assert.False(t, k8sretry.IsRetryableConnectionError(err), name)
	}
}

func TestOwnErrorIsJudgedByTheLastErrorOfTheAPI(t *testing.T) {
	last := failure(503, metav1.StatusReasonServiceUnavailable, "")
	err := fmt.Errorf("a: %w", &k8sretry.Error{Attempts: 4, StopReason: k8sretry.StopMaxRetries, Outcome: maybe, Err: last})
	assert.Equal(t, k8sretry.Classify(last), k8sretry.Classify(err))
	assert.Equal(t, "unknown error", k8sretry.Classify(&k8sretry.Error{StopReason: k8sretry.StopMaxRetries}).Detail)
}

// What gate or breaker did not let through was not sent, whatever the error of another
// call says that the breaker shows.
func TestARefusedCallIsNotExecuted(t *testing.T) {
	held := k8sretry.Classify(fmt.Errorf("a: %w", &k8sretry.Error{StopReason: k8sretry.StopQueueTimeout}))
	assert.Equal(t, k8sretry.Verdict{Class: k8sretry.ClassThrottled, Detail: "limiter queue timeout, not sent"}, held)

	last := failure(503, metav1.StatusReasonServiceUnavailable, "")
	open := k8sretry.Classify(&k8sretry.Error{StopReason: k8sretry.StopBreakerOpen, RetryAfter: time.Second, Err: last})
	assert.Equal(t, k8sretry.ClassServer, open.Class)
	assert.Equal(t, k8sretry.OutcomeNotExecuted, open.Outcome)
	assert.Equal(t, time.Second, open.RetryAfter)

	later := k8sretry.Classify(&k8sretry.Error{StopReason: k8sretry.StopBreakerOpen, Attempts: 1, Err: last})
	assert.Equal(t, k8sretry.OutcomeUnknown, later.Outcome, "of the attempt that was made")
}

func TestForeignPanicsAreNotHidden(t *testing.T) {
	assert.Panics(t, func() { k8sretry.Classify(&single{panicking{}}) })
}

type panicking struct{}

func (panicking) Error() string { panic("mine") }
