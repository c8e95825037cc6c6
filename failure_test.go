package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/k8sretry/k8sretry"
)

// The verdict.

// After a failure with an unknown outcome the verb decides.
func TestUnknownOutcomeIsRepeatedByVerb(t *testing.T) {
	notTwice := map[k8sretry.Verb]bool{k8sretry.VerbCreate: true, k8sretry.VerbDeleteCollection: true}
	for verb := k8sretry.VerbUnspecified; verb <= k8sretry.VerbDeleteCollection; verb++ {
		t.Run("verb "+verb.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(tooMany(0), tooMany(3))
				_, err := k8sretry.Do(t.Context(), s.get, k8sretry.WithVerb(verb))
				require.NoError(t, err, "429: not executed, so every verb is repeated")
				assert.Equal(t, 3, s.attempts())

				s = fails(gatewayTimeout())
				logger, written := logs()
				_, err = k8sretry.Do(t.Context(), s.get, k8sretry.WithVerb(verb), logger)
				if !notTwice[verb] {
					require.NoError(t, err)
					assert.Equal(t, 2, s.attempts())
					return
				}
				assert.Equal(t, 1, s.attempts(), "504: perhaps executed")
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.True(t, apierrors.IsTimeout(err))
				e := asError(t, err)
				assert.Equal(t, k8sretry.StopOutcomeUnknown, e.StopReason)
				assert.Equal(t, k8sretry.OutcomeUnknown, e.Outcome)
				assert.Equal(t, []string{"k8s_api_call_failed_outcome_unknown"}, messages(written))
			})
		})
	}
}

// Whether the caller's context has ended is read from the context, never from an error.
func TestContextErrorsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fails(context.DeadlineExceeded)
		_, err := k8sretry.Do(t.Context(), s.get)
		require.NoError(t, err)
		assert.Equal(t, 2, s.attempts(), "the timeout of something else")

		for _, opts := range [][]k8sretry.Option{nil, {k8sretry.WithAttemptTimeout(time.Second)}} {
			s = fails(context.Canceled)
			_, err = k8sretry.Do(t.Context(), s.get, opts...)
			assert.Same(t, context.Canceled, err)
			assert.Equal(t, 1, s.attempts(), "not canceled by the caller")
		}
	})
}

// The verdict on an attempt that its own timeout has ended.
func TestVerdictOnAnAttemptTimeout(t *testing.T) {
	rateLimiter := fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("rate: Wait(n=1) would exceed context deadline"))
	type verdict struct {
		class   k8sretry.Class
		outcome k8sretry.Outcome
		code    int
	}
	timeout, unknown := k8sretry.ClassTimeout, k8sretry.OutcomeUnknown
	for _, c := range []struct {
		situation string
		timeout   time.Duration
		late      bool // the attempt ends with its timeout
		cancel    bool // the caller cancels during the attempt
		fail      error
		want      verdict
		stop      k8sretry.StopReason
	}{
		{"DeadlineExceeded", time.Second, true, false, context.DeadlineExceeded, verdict{timeout, unknown, 0}, k8sretry.StopMaxRetries},
		{"Canceled, as of an HTTP/2 stream or of a derived context", time.Second, true, false, context.Canceled, verdict{timeout, unknown, 0}, k8sretry.StopMaxRetries},
		{"an error that Classify does not know", time.Second, true, false, errors.New("stream closed"), verdict{timeout, unknown, 0}, k8sretry.StopMaxRetries},
		{"an answer of the server", time.Second, true, false, notFound(), verdict{k8sretry.ClassPermanent, k8sretry.OutcomeNotExecuted, 404}, k8sretry.StopNonRetryable},
		{"the rate limiter of the client has no room before the timeout", time.Second, false, false, rateLimiter, verdict{timeout, k8sretry.OutcomeNotExecuted, 0}, k8sretry.StopMaxRetries},
		{"the rate limiter, and no timeout", 0, false, false, rateLimiter, verdict{k8sretry.ClassCanceled, k8sretry.OutcomeNotExecuted, 0}, k8sretry.StopNonRetryable},
		{"the rate limiter, and the caller cancels", time.Second, false, true, rateLimiter, verdict{k8sretry.ClassCanceled, k8sretry.OutcomeNotExecuted, 0}, k8sretry.StopCanceled},
		{"Canceled in flight, before the timeout", time.Second, false, false, &url.Error{Op: "Get", URL: "x", Err: context.Canceled}, verdict{k8sretry.ClassCanceled, unknown, 0}, k8sretry.StopNonRetryable},
		{"an error that Classify does not know, before the timeout", time.Second, false, false, errPlain, verdict{k8sretry.ClassPermanent, k8sretry.OutcomeNotExecuted, 0}, k8sretry.StopNonRetryable},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var seen recorder
				err := k8sretry.Run(ctx, func(ctx context.Context) error {
					if c.cancel {
						cancel()
					}
					if c.late {
						<-ctx.Done()
					}
					return c.fail
				}, k8sretry.WithAttemptTimeout(c.timeout), k8sretry.WithMaxRetries(0), k8sretry.WithObserver(&seen))
				assert.ErrorIs(t, err, c.fail)
				last := seen.last(t)
				assert.Equal(t, c.want, verdict{last.Class, last.Outcome, last.StatusCode})
				assert.Equal(t, c.stop, last.StopReason)
			})
		})
	}
}

// What an inner call gave up on is not repeated by an outer call, whatever its options.
func TestNested(t *testing.T) {
	always := []k8sretry.Option{
		k8sretry.WithMaxRetries(5), k8sretry.WithRetryIf(func(error) bool { return true }),
		k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{Class: k8sretry.ClassServer}, true }),
	}
	for name, wrap := range map[string]func(error) error{
		"as it is":             func(err error) error { return err },
		"wrapped":              func(err error) error { return fmt.Errorf("sync: %w", err) },
		"joined":               func(err error) error { return errors.Join(errPlain, err) },
		"in an Aggregate":      func(err error) error { return utilerrors.NewAggregate([]error{errPlain, err}) },
		"in a wrapped one":     func(err error) error { return fmt.Errorf("sync: %w", utilerrors.NewAggregate([]error{errPlain, err})) },
		"beside a transient":   func(err error) error { return errors.Join(unavailable(), err) },
		"in another attempt's": func(err error) error { return &k8sretry.Error{Err: err} },
	} {
		for way, opts := range map[string][]k8sretry.Option{"no option": nil, "options that repeat everything": always} {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := fails(times(99, unavailable())...)
					var inner error
					_, err := k8sretry.Do(t.Context(), func(ctx context.Context) (string, error) {
						v, err := k8sretry.Do(ctx, s.get, k8sretry.WithMaxRetries(2), k8sretry.WithVerb(k8sretry.VerbGet))
						inner = wrap(err)
						return v, inner
					}, opts...)
					assert.Equal(t, 3, s.attempts(), "not 6 times 3")
					assert.Equal(t, inner, err)
				})
			})
		}
	}

	t.Run("an Error that was made without a StopReason", func(t *testing.T) {
		e := &k8sretry.Error{Err: unavailable(), Outcome: k8sretry.OutcomeUnknown}
		for _, opts := range [][]k8sretry.Option{nil, {k8sretry.WithVerb(k8sretry.VerbCreate)}, always} {
			_, err := k8sretry.Do(t.Context(), fails(e).get, opts...)
			assert.Same(t, e, err)
		}
	})

	t.Run("the event", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var seen recorder
			_ = k8sretry.Run(t.Context(), func(ctx context.Context) error {
				return k8sretry.Run(ctx, func(context.Context) error { return unavailable() }, k8sretry.WithMaxRetries(0))
			}, k8sretry.WithObserver(&seen))
			e := seen.last(t)
			assert.Equal(t, "an inner call gave up", e.Detail)
			assert.Equal(t, 503, e.StatusCode)
			assert.Equal(t, k8sretry.OutcomeUnknown, e.Outcome)
			assert.Equal(t, k8sretry.StopNonRetryable, e.StopReason)
		})
	})
}

// The caller's conditions and classifier.

func TestRetryOnAndRetryIf(t *testing.T) {
	notFound, conflict := notFound(), status(409, metav1.StatusReasonConflict)
	read := k8sretry.WithVerb(k8sretry.VerbGet)
	for _, c := range []struct {
		situation string
		fails     []error
		opts      []k8sretry.Option
		attempts  int
		err       error
	}{
		{"WithRetryOn repeats what is listed", []error{fmt.Errorf("list: %w", io.EOF), context.DeadlineExceeded, errPlain},
			[]k8sretry.Option{k8sretry.WithRetryOn(io.EOF, context.DeadlineExceeded, errPlain)}, 4, nil},
		{"WithRetryOn leaves other errors to Classify", []error{unavailable(), errPlain}, []k8sretry.Option{k8sretry.WithRetryOn(io.EOF), read}, 2, errPlain},
		{"WithRetryOn without errors", []error{unavailable(), errPlain}, []k8sretry.Option{k8sretry.WithRetryOn(), read}, 2, errPlain},
		{"WithRetryIf repeats what it returns true for", []error{conflict, conflict, notFound}, []k8sretry.Option{k8sretry.WithRetryIf(apierrors.IsConflict)}, 3, notFound},
		{"WithRetryIf decides before the verb", []error{unavailable()},
			[]k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithRetryIf(apierrors.IsServiceUnavailable)}, 2, nil},
		{"the later of the two: WithRetryIf", []error{errPlain, notFound}, []k8sretry.Option{k8sretry.WithRetryOn(errPlain), k8sretry.WithRetryIf(apierrors.IsNotFound)}, 1, errPlain},
		{"the later of the two: WithRetryOn", []error{errPlain, notFound}, []k8sretry.Option{k8sretry.WithRetryIf(apierrors.IsNotFound), k8sretry.WithRetryOn(errPlain)}, 2, notFound},
		{"the number of retries holds", times(9, errPlain), []k8sretry.Option{k8sretry.WithRetryOn(errPlain), k8sretry.WithMaxRetries(1)}, 2, k8sretry.ErrMaxRetries},
		{"a Retry-After that is too long ends the call", []error{tooMany(100)}, []k8sretry.Option{k8sretry.WithRetryIf(apierrors.IsTooManyRequests)}, 1, k8sretry.ErrRetryAfterTooLong},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(c.fails...)
				_, err := k8sretry.Do(t.Context(), s.get, c.opts...)
				assert.ErrorIs(t, err, c.err)
				assert.Equal(t, c.attempts, s.attempts())
			})
		})
	}
}

// ownWebhook is a 503 that is known to be permanent.
var ownWebhook = error(&apierrors.StatusError{ErrStatus: metav1.Status{Code: 503, Reason: metav1.StatusReasonServiceUnavailable, Message: "our quota service is down"}})

func forbidOwnWebhook(err error) (k8sretry.Verdict, bool) {
	return k8sretry.Verdict{Class: k8sretry.ClassPermanent}, errors.Is(err, ownWebhook)
}

func TestClassifierComesFirst(t *testing.T) {
	always, read := k8sretry.WithRetryIf(func(error) bool { return true }), k8sretry.WithVerb(k8sretry.VerbGet)
	for _, c := range []struct {
		situation string
		fails     []error
		opts      []k8sretry.Option
		attempts  int
		err       error
	}{
		{"a transient error is permanent", []error{ownWebhook}, []k8sretry.Option{k8sretry.WithClassifier(forbidOwnWebhook)}, 1, ownWebhook},
		{"it overrides WithRetryIf, and has no opinion on other errors", []error{unavailable(), ownWebhook}, []k8sretry.Option{k8sretry.WithClassifier(forbidOwnWebhook), always, read}, 2, ownWebhook},
		{"in the other order", []error{unavailable(), ownWebhook}, []k8sretry.Option{always, k8sretry.WithClassifier(forbidOwnWebhook), read}, 2, ownWebhook},
		{"a permanent error is transient", []error{notFound()}, []k8sretry.Option{k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) {
			return k8sretry.Verdict{Class: k8sretry.ClassServer}, apierrors.IsNotFound(err)
		})}, 2, nil},
		{"the verb decides about the outcome that it returns", []error{notFound()}, []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate),
			k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) {
				return k8sretry.Verdict{Class: k8sretry.ClassServer, Outcome: k8sretry.OutcomeUnknown}, true
			})}, 1, k8sretry.ErrOutcomeUnknown},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(c.fails...)
				_, err := k8sretry.Do(t.Context(), s.get, c.opts...)
				assert.ErrorIs(t, err, c.err)
				assert.Equal(t, c.attempts, s.attempts())
			})
		})
	}
}

// Each of them is called once for each failed attempt.
func TestClassifierAndConditionAreCalledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		classified, asked := 0, 0
		s := fails(times(3, unavailable())...)
		_, err := k8sretry.Do(t.Context(), s.get,
			k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { classified++; return k8sretry.Verdict{}, false }),
			k8sretry.WithRetryIf(func(error) bool { asked++; return false }))
		require.NoError(t, err)
		assert.Equal(t, []int{3, 3}, []int{classified, asked})
	})
}

// What a classifier leaves zero is completed with what Classify found.
func TestClassifierMayReturnNothingButAClass(t *testing.T) {
	for _, c := range []struct {
		situation string
		verdict   k8sretry.Verdict
		fail      error
		code      any
		waits     time.Duration // 0 if it is not repeated
	}{
		{"a class alone, with the Retry-After of the server", k8sretry.Verdict{Class: k8sretry.ClassThrottled}, tooMany(7), 429.0, 7 * time.Second},
		{"another Retry-After", k8sretry.Verdict{Class: k8sretry.ClassThrottled, RetryAfter: 3 * time.Second}, tooMany(7), 429.0, 3 * time.Second},
		{"another code", k8sretry.Verdict{Class: k8sretry.ClassServer, StatusCode: 418}, unavailable(), 418.0, time.Second},
		{"a 503 as permanent", k8sretry.Verdict{Class: k8sretry.ClassPermanent}, unavailable(), 503.0, 0},
		{"an error without an answer, with a code", k8sretry.Verdict{Class: k8sretry.ClassBlocked, StatusCode: 418}, errPlain, 418.0, 0},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, lines := jsonLogs()
				began := time.Now()
				_, err := k8sretry.Do(t.Context(), fails(c.fail).get, logger, exact,
					k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return c.verdict, true }))
				assert.Equal(t, c.waits == 0, err != nil)
				assert.Equal(t, c.waits, time.Since(began))
				assert.Equal(t, c.code, lines(t)[0]["status_code"])
				assert.Equal(t, c.verdict.Class.String(), lines(t)[0]["class"])
			})
		})
	}
}

// What a classifier sets to another value than Classify stays.
func TestClassifierOverridesClassify(t *testing.T) {
	own := errors.New("own")
	for _, c := range []struct {
		situation string
		verdict   k8sretry.Verdict
		fail      error
		late      bool // the attempt ends with its timeout
		verb      k8sretry.Verb
		attempts  int
	}{
		{"canceled", k8sretry.Verdict{Class: k8sretry.ClassCanceled}, own, false, k8sretry.VerbGet, 1},
		{"canceled, after an attempt timeout", k8sretry.Verdict{Class: k8sretry.ClassCanceled}, own, true, k8sretry.VerbGet, 1},
		{"permanent, after an attempt timeout", k8sretry.Verdict{Class: k8sretry.ClassPermanent}, own, true, k8sretry.VerbGet, 1},
		{"no Retry-After", k8sretry.Verdict{Class: k8sretry.ClassThrottled, RetryAfter: -1}, tooMany(3600), false, k8sretry.VerbGet, 4},
		{"not executed, for a deletecollection", k8sretry.Verdict{Class: k8sretry.ClassServer, Detail: "our proxy"}, status(500, ""), false, k8sretry.VerbDeleteCollection, 4},
		{"not executed, for a create", k8sretry.Verdict{Class: k8sretry.ClassServer}, gatewayTimeout(), false, k8sretry.VerbCreate, 4},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
					attempts++
					if c.late {
						<-ctx.Done()
					}
					return c.fail
				}, k8sretry.WithVerb(c.verb), k8sretry.WithAttemptTimeout(time.Minute),
					k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return c.verdict, true }))
				assert.ErrorIs(t, err, c.fail)
				assert.Equal(t, c.attempts, attempts)
			})
		})
	}
}

// A classifier that starts from the Verdict of Classify keeps what the error does not say:
// that the attempt timed out, or had no connection.
func TestClassifierThatStartsFromClassify(t *testing.T) {
	own := k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) {
		v := k8sretry.Classify(err)
		v.Detail = "own"
		return v, true
	})
	t.Run("a create without a connection", func(t *testing.T) {
		client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("the proxy is down")
		}}}
		attempts := 0
		err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
			attempts++
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1/", nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			return fmt.Errorf("%w: %w", err, syscall.ECONNRESET)
		}, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithInitialDelay(0), own)
		assert.Equal(t, 4, attempts)
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
	})
	for situation, fail := range map[string]func(context.Context) error{
		"context.Canceled": func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("get: %w", context.Canceled) },
		"an error of the client's rate limiter": func(context.Context) error {
			return fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("rate: Wait(n=1) would exceed context deadline"))
		},
		"context.DeadlineExceeded": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		for name, opts := range map[string][]k8sretry.Option{
			"a classifier":  {k8sretry.ForRead(), own},
			"ForConnection": {k8sretry.ForConnection(), k8sretry.WithMaxRetries(3)},
		} {
			t.Run("an attempt timeout with "+situation+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					attempts := 0
					err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
						attempts++
						return fail(ctx)
					}, append(opts, k8sretry.WithAttemptTimeout(time.Second))...)
					assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
					assert.Equal(t, 4, attempts)
				})
			})
		}
	}
}

// A create is not repeated after a request without an answer, although the last request of
// the attempt was refused and the classifier returns no more than Classify.
func TestClassifierKeepsAnUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		client := over(t, func(*http.Request) (*http.Response, error) {
			if sends++; sends%2 == 1 {
				return nil, errors.Unwrap(network("read", syscall.ECONNRESET))
			}
			return nil, errors.Unwrap(network("dial", syscall.ECONNREFUSED))
		}, wrapper(t))
		err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
			_, err := client.CoreV1().ConfigMaps("default").Create(ctx, settings("a"), metav1.CreateOptions{})
			if err != nil {
				_, err = client.CoreV1().ConfigMaps("default").Create(ctx, settings("a"), metav1.CreateOptions{})
			}
			return err
		}, k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) { return k8sretry.Classify(err), true }))
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, 2, sends)
	})
}

func TestEndedContextOverridesConditionsAndClassifiers(t *testing.T) {
	for name, opt := range map[string]k8sretry.Option{
		"WithRetryIf":    k8sretry.WithRetryIf(func(error) bool { return true }),
		"WithRetryOn":    k8sretry.WithRetryOn(errPlain),
		"WithClassifier": k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{Class: k8sretry.ClassServer}, true }),
	} {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err := k8sretry.Run(ctx, func(context.Context) error { n++; cancel(); return errPlain }, opt)
		assert.Equal(t, 1, n, name)
		assert.ErrorIs(t, err, context.Canceled, name)
		assert.ErrorIs(t, err, errPlain, name)
	}
}

// If client-go's rate limiter sees no room before the deadline of the call, the call ends as
// at the deadline, and the last answer of the API is kept.
func TestRateLimiterWithoutRoomBeforeTheDeadline(t *testing.T) {
	limited := fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("rate: Wait(n=1) would exceed context deadline"))
	for name, c := range map[string]struct {
		fails   []error
		opts    []k8sretry.Option
		unknown bool
	}{
		"no verb":                {[]error{unavailable(), limited}, nil, true},
		"a read":                 {[]error{unavailable(), limited}, []k8sretry.Option{k8sretry.ForRead()}, false},
		"a write":                {[]error{unavailable(), limited}, []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbUpdate)}, true},
		"a create":               {[]error{tooMany(0), limited}, []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate)}, false},
		"with a classifier":      {[]error{unavailable(), limited}, []k8sretry.Option{k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{}, false })}, true},
		"unknown outcome before": {[]error{gatewayTimeout(), tooMany(0), limited}, []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbUpdate)}, true},
		"an attempt's timeout":   {[]error{unavailable(), limited}, []k8sretry.Option{k8sretry.WithMaxRetries(1), k8sretry.WithAttemptTimeout(time.Second)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				seen := new(recorder)
				_, err := k8sretry.Do(ctx, fails(c.fails...).get, append(c.opts, k8sretry.WithObserver(seen))...)
				e := asError(t, err)
				assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown))
				if name == "an attempt's timeout" {
					assert.Equal(t, k8sretry.StopMaxRetries, e.StopReason, "it is not the call's deadline that is near")
					return
				}
				assert.Equal(t, k8sretry.StopDeadline, e.StopReason)
				assert.Same(t, c.fails[len(c.fails)-2], e.Err, "the last answer of the API")
				assert.ErrorIs(t, err, k8sretry.ErrDeadline)
				assert.ErrorIs(t, err, limited)
				assert.NotErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, k8sretry.StopDeadline, seen.last(t).StopReason)
				assert.Equal(t, e.Err, seen.last(t).Err)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		_, err := k8sretry.Do(t.Context(), fails(limited).get)
		assert.Same(t, limited, err, "no answer before it")
		s := fails(unavailable(), limited)
		_, err = k8sretry.Do(t.Context(), s.get, k8sretry.WithRetryIf(func(error) bool { return true }))
		assert.NoError(t, err, "the caller repeats it")
		assert.Equal(t, 3, s.attempts())
	})
}
