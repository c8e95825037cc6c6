// SPDX-License-Identifier: Apache-2.0

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
	corev1 "k8s.io/api/core/v1"
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

// A repetition that may do the work twice is reported in the log: the condition of a caller wins over
// the verb, and a call without a verb is repeated as if that were safe.
func TestRiskyRepetitionsAreReported(t *testing.T) {
	always := k8sretry.WithRetryIf(func(error) bool { return true })
	const against, without = "repeated by WithRetryIf or WithRetryOn against the verb", "repeated without a verb"
	for _, c := range []struct {
		situation string
		fail      error
		opts      []k8sretry.Option
		attempts  int
		note      string
	}{
		{"a create with a condition", gatewayTimeout(), []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate), always}, 2, against},
		{"a deletecollection with WithRetryOn", errPlain, []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbDeleteCollection), k8sretry.WithRetryOn(errPlain)}, 2, ""},
		{"a create that was not executed", tooMany(1), []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate), always}, 2, ""},
		{"a delete with a condition", gatewayTimeout(), []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbDelete), always}, 2, ""},
		{"a create with a classifier", gatewayTimeout(), []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) {
			return k8sretry.Verdict{Class: k8sretry.ClassServer}, true
		})}, 2, ""},
		{"a create without a condition", gatewayTimeout(), []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate)}, 1, ""},
		{"no verb", gatewayTimeout(), nil, 2, without},
		{"no verb, ForRead and then ForWrite", gatewayTimeout(), []k8sretry.Option{k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.ForWrite())}, 2, without},
		{"no verb, ForWrite and then ForRead", gatewayTimeout(), []k8sretry.Option{k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.ForRead())}, 2, ""},
		{"no verb, not executed", tooMany(1), nil, 2, ""},
		{"a read", gatewayTimeout(), []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbGet)}, 2, ""},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, lines := jsonLogs()
				s := fails(c.fail)
				_, err := k8sretry.Do(t.Context(), s.get, append(c.opts, logger)...)
				assert.Equal(t, c.attempts == 1, err != nil)
				require.Equal(t, c.attempts, s.attempts())
				detail, _ := lines(t)[0]["detail"].(string)
				if c.note != "" {
					assert.Contains(t, detail, c.note)
				} else {
					assert.NotContains(t, detail, "repeated")
				}
			})
		})
	}
	t.Run("a safe write is checked", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			logger, lines := jsonLogs()
			c := newCluster().on("create", lost(gatewayTimeout()))
			_, err := k8sretry.Create(t.Context(), c, configMap("a"), metav1.CreateOptions{}, always, logger)
			require.NoError(t, err)
			assert.NotContains(t, lines(t)[0]["detail"], "repeated")
			assert.Equal(t, 1, c.created["a"])
		})
	})
}

// NewPolicy(ForRead(), ForWrite()) on a create of a drawn name whose answers are lost made six objects.
func TestPresetsOnACreate(t *testing.T) {
	both := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.ForWrite())
	pod := func() *corev1.Pod { return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-"}} }
	for name, c := range map[string]struct {
		create  func(ctx context.Context, s *store) error
		objects int
	}{
		"a wrapped method": {func(ctx context.Context, s *store) error {
			_, err := k8sretry.Wrap2(s.create, both)(ctx, pod(), metav1.CreateOptions{})
			return err
		}, 1},
		"a Do with a verb": {func(ctx context.Context, s *store) error {
			_, err := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) { return s.create(ctx, pod(), metav1.CreateOptions{}) },
				both, k8sretry.WithVerb(k8sretry.VerbCreate))
			return err
		}, 1},
		"a Do with a verb before": {func(ctx context.Context, s *store) error {
			_, err := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) { return s.create(ctx, pod(), metav1.CreateOptions{}) },
				k8sretry.WithVerb(k8sretry.VerbCreate), both)
			return err
		}, 1},
		"a Do without a verb, as documented": {func(ctx context.Context, s *store) error {
			_, err := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) { return s.create(ctx, pod(), metav1.CreateOptions{}) }, both)
			return err
		}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &store{pods: map[string]*corev1.Pod{}, lose: 99}
				err := c.create(t.Context(), s)
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.Len(t, s.pods, c.objects)
			})
		})
	}
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
		// The assumption was that an attempt ends before the call, if it has a timeout.
		"an attempt's timeout after the deadline": {[]error{unavailable(), limited}, []k8sretry.Option{k8sretry.WithAttemptTimeout(2 * time.Minute)}, true},
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

// A call that does not retry and does not succeed ends for one reason: its error, its
// event and its log line have it. The reasons of guards are in guards_test.go.
func TestStopReasons(t *testing.T) {
	withTimeout := func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, 500*time.Millisecond)
	}
	canceled := func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx, cancel
	}
	for _, c := range []struct {
		stop    k8sretry.StopReason
		level   string
		within  func(context.Context) (context.Context, context.CancelFunc)
		fail    error
		opt     k8sretry.Option
		attempt int
		err     error
	}{
		{k8sretry.StopNonRetryable, "info", nil, notFound(), nil, 1, nil},
		{k8sretry.StopMaxRetries, "error", nil, unavailable(), k8sretry.WithMaxRetries(0), 1, k8sretry.ErrMaxRetries},
		{k8sretry.StopMaxElapsed, "error", nil, tooMany(9), k8sretry.WithMaxElapsed(time.Second), 1, k8sretry.ErrMaxElapsed},
		{k8sretry.StopDeadline, "error", withTimeout, tooMany(9), nil, 1, k8sretry.ErrDeadline},
		{k8sretry.StopRetryAfterTooLong, "error", nil, tooMany(999), nil, 1, k8sretry.ErrRetryAfterTooLong},
		{k8sretry.StopOutcomeUnknown, "error", nil, gatewayTimeout(), k8sretry.WithVerb(k8sretry.VerbCreate), 1, k8sretry.ErrOutcomeUnknown},
		{k8sretry.StopCanceled, "info", canceled, nil, nil, 0, context.Canceled},
	} {
		t.Run(c.stop.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.within != nil {
					var cancel context.CancelFunc
					ctx, cancel = c.within(ctx)
					defer cancel()
				}
				logger, lines := jsonLogs()
				var seen recorder
				_, err := k8sretry.Do(ctx, fails(c.fail).get, logger, c.opt, k8sretry.WithName("f"), k8sretry.WithObserver(&seen))
				if c.err != nil {
					require.ErrorIs(t, err, c.err)
				}
				if c.fail != nil {
					require.ErrorIs(t, err, c.fail)
				}
				if e := new(k8sretry.Error); errors.As(err, &e) {
					assert.Equal(t, c.stop, e.StopReason)
					assert.Equal(t, "f", e.Function)
				} else {
					assert.Contains(t, []k8sretry.StopReason{k8sretry.StopNonRetryable, k8sretry.StopCanceled}, c.stop)
				}
				require.Len(t, seen.events, 1)
				e := seen.events[0]
				assert.Equal(t, k8sretry.EventFailure, e.Kind)
				assert.Equal(t, c.stop, e.StopReason)
				assert.Equal(t, c.attempt, e.Attempt)
				require.Len(t, lines(t), 1)
				line := lines(t)[0]
				assert.Equal(t, "k8s_api_call_failed_"+c.stop.String(), line["event"])
				assert.Equal(t, c.level, line["level"])
				assert.Equal(t, "f", line["function"])
				assert.Equal(t, float64(c.attempt), line["attempt"])
				assert.NotEmpty(t, line["error"])
			})
		})
	}
}

// The caller's own context decides whether it is over.
func TestContext(t *testing.T) {
	cause := errors.New("shutting down")

	t.Run("over before the first attempt: no attempt, and its cause", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		s := fails()
		var seen recorder
		_, err := k8sretry.Do(ctx, s.get, k8sretry.WithObserver(&seen))
		assert.Same(t, cause, err)
		assert.Zero(t, s.attempts())
		last := seen.last(t)
		assert.Equal(t, k8sretry.StopCanceled, last.StopReason)
		assert.Equal(t, k8sretry.ClassCanceled, last.Class)
		assert.Equal(t, cause, last.Err)
	})

	for name, cause := range map[string]error{"no cause": nil, "a cause": cause} {
		t.Run("canceled during a wait, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(1500*time.Millisecond, func() { cancel(cause) })
				s := fails(times(9, unavailable())...)
				logger, written := logs()
				_, err := k8sretry.Do(ctx, s.get, k8sretry.ForWrite(), logger)
				assert.ErrorIs(t, err, context.Canceled)
				assert.True(t, apierrors.IsServiceUnavailable(err))
				if cause != nil {
					assert.ErrorIs(t, err, cause)
					assert.ErrorContains(t, err, "canceled (shutting down)")
				} else {
					assert.NotContains(t, err.Error(), "(context canceled)", "not repeated in the text")
				}
				e := asError(t, err)
				assert.Equal(t, k8sretry.StopCanceled, e.StopReason)
				assert.Equal(t, 1, e.Attempts)
				assert.Equal(t, 1500*time.Millisecond, e.Elapsed)
				assert.Equal(t, []string{"k8s_api_call_failed_retrying", "k8s_api_call_failed_canceled"}, messages(written))
			})
		})
	}

	t.Run("canceled during a transient failure: no retry is logged", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		logger, written := logs()
		err := k8sretry.Run(ctx, func(context.Context) error { cancel(); return unavailable() }, logger)
		assert.ErrorIs(t, err, context.Canceled)
		assert.True(t, apierrors.IsServiceUnavailable(err))
		assert.Equal(t, []string{"k8s_api_call_failed_canceled"}, messages(written))
	})

	t.Run("canceled during an error without an API status", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := k8sretry.Run(ctx, func(context.Context) error { cancel(); return errPlain })
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, errPlain)
		assert.Equal(t, k8sretry.StopCanceled, asError(t, err).StopReason)
	})

	t.Run("canceled during a permanent answer: the answer", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		want := notFound()
		_, err := k8sretry.Do(ctx, func(context.Context) (int, error) { cancel(); return 0, want })
		assert.Same(t, want, err)
	})

	t.Run("a permanent answer that is the cause", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		want := notFound()
		err := k8sretry.Run(ctx, func(context.Context) error { cancel(want); return want })
		assert.ErrorIs(t, err, context.Canceled)
		assert.True(t, apierrors.IsNotFound(err))
		assert.Equal(t, k8sretry.StopCanceled, asError(t, err).StopReason)
	})

	t.Run("canceled during a permanent answer after an unknown outcome: no context error", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			n := 0
			err := k8sretry.Run(ctx, func(context.Context) error {
				if n++; n == 1 {
					return unavailable()
				}
				cancel()
				return notFound()
			})
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.NotErrorIs(t, err, context.Canceled)
		})
	})

	t.Run("canceled during a success", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		v, err := k8sretry.Do(ctx, func(context.Context) (int, error) { cancel(); return 7, nil })
		require.NoError(t, err)
		assert.Equal(t, 7, v)
	})

	t.Run("the next wait would pass the deadline: returns at once, and it is no DeadlineExceeded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			s := fails(times(9, unavailable())...)
			_, err := k8sretry.Do(ctx, s.get, k8sretry.ForWrite(), exact)
			assert.Equal(t, 2*time.Second, time.Since(began), "one wait of 2 s, none of 4 s")
			assert.ErrorIs(t, err, k8sretry.ErrDeadline)
			assert.NotErrorIs(t, err, context.DeadlineExceeded, "it has not passed yet")
			assert.True(t, apierrors.IsServiceUnavailable(err))
		})
	})

	t.Run("the deadline passes during the first attempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := k8sretry.Do(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
			assert.ErrorIs(t, err, k8sretry.ErrDeadline)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			e := asError(t, err)
			assert.Equal(t, 1, e.Attempts)
			assert.Equal(t, context.DeadlineExceeded, e.Err)
		})
	})
}

// If the last attempt only says that the context is over, the answer of the API to the
// attempt before is kept: in the error, the event and the log line.
func TestLastAnswerOfTheAPI(t *testing.T) {
	own := error(&url.Error{Op: "Get", URL: "x", Err: context.Canceled})
	for _, c := range []struct {
		situation string
		fails     []error // nil: the caller cancels, and the attempt returns the context's error
		want      error
		ended     error // also in the chain
	}{
		{"one attempt", []error{nil}, context.Canceled, nil},
		{"the context's error after a 429", []error{tooMany(7), nil}, tooMany(7), context.Canceled},
		{"the context's error after a 503", []error{unavailable(), nil}, unavailable(), context.Canceled},
		{"an error that wraps it", []error{unavailable(), own}, unavailable(), own},
		{"the API's answer after another", []error{badGateway(), unavailable()}, unavailable(), context.Canceled},
		{"a timeout after an answer", []error{unavailable(), context.DeadlineExceeded}, context.DeadlineExceeded, context.Canceled},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				logger, lines := jsonLogs()
				var seen recorder
				n := 0
				err := k8sretry.Run(ctx, func(context.Context) error {
					if n++; n < len(c.fails) {
						return c.fails[n-1]
					}
					cancel()
					if fail := c.fails[n-1]; fail != nil {
						return fail
					}
					return ctx.Err()
				}, logger, k8sretry.WithObserver(&seen))
				assert.ErrorIs(t, err, context.Canceled)
				if c.ended != nil {
					assert.ErrorIs(t, err, c.ended)
				}
				e := asError(t, err)
				want := k8sretry.Classify(c.want)
				assert.Equal(t, c.want, e.Err)
				assert.Equal(t, len(c.fails), e.Attempts)
				assert.Equal(t, want.RetryAfter, e.RetryAfter)
				last := seen.last(t)
				assert.Equal(t, c.want, last.Err)
				assert.Equal(t, want.Class, last.Class)
				assert.Equal(t, want.StatusCode, last.StatusCode)
				assert.Equal(t, want.RetryAfter, last.RetryAfter)
				assert.Equal(t, e.Outcome, last.Outcome)
				line := lines(t)[len(c.fails)-1]
				assert.Equal(t, "k8s_api_call_failed_canceled", line["event"])
				assert.Equal(t, c.want.Error(), line["error"])
			})
		})
	}

	for name, of := range map[string]func(context.Context) error{"the cause": context.Cause, "the context's error, beside a cause": context.Context.Err} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				n := 0
				err := k8sretry.Run(ctx, func(context.Context) error {
					if n++; n == 1 {
						return unavailable()
					}
					cancel(errPlain)
					return of(ctx)
				})
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.ErrorIs(t, err, errPlain)
				assert.ErrorIs(t, err, context.Canceled)
				assert.Equal(t, 2, asError(t, err).Attempts)
			})
		})
	}

	t.Run("at the deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			logger, lines := jsonLogs()
			attempts := 0
			err := k8sretry.Run(ctx, func(ctx context.Context) error {
				if attempts++; attempts == 1 {
					return unavailable()
				}
				<-ctx.Done()
				return ctx.Err()
			}, logger)
			assert.True(t, apierrors.IsServiceUnavailable(err))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			line := lines(t)[1]
			assert.Equal(t, "k8s_api_call_failed_deadline", line["event"])
			assert.Equal(t, "the server said so", line["error"])
			assert.Equal(t, 503.0, line["status_code"])
			assert.Equal(t, "server", line["class"])
			assert.Equal(t, "unknown", line["outcome"])
		})
	})
}

// The outcome of a call is that of all of its attempts.
func TestOutcomeOfAllAttempts(t *testing.T) {
	plainConflict := apierrors.NewGenericServerResponse(409, "post", podResource, "web-0", "no JSON", 0, true)
	inFlight := &url.Error{Op: "Post", URL: "x", Err: context.Canceled}
	for _, c := range []struct {
		situation string
		verb      k8sretry.Verb
		fails     []error
		unknown   bool
	}{
		{"an update that timed out", k8sretry.VerbUpdate, times(4, gatewayTimeout()), true},
		{"an update that was throttled", k8sretry.VerbUpdate, times(4, tooMany(0)), false},
		{"one of many attempts with an unknown outcome", k8sretry.VerbUpdate, []error{gatewayTimeout(), tooMany(0), tooMany(0), tooMany(0)}, true},
		{"a delete that timed out, then NotFound", k8sretry.VerbDelete, []error{gatewayTimeout(), notFound()}, true},
		{"a delete that was throttled, then NotFound", k8sretry.VerbDelete, []error{tooMany(0), notFound()}, false},
		{"a read", k8sretry.VerbList, times(4, gatewayTimeout()), false},
		{"a read, then NotFound", k8sretry.VerbGet, []error{unavailable(), notFound()}, false},
		{"a create that was throttled, then invalid", k8sretry.VerbCreate, []error{tooMany(0), status(422, metav1.StatusReasonInvalid)}, false},
		{"a create whose 409 is in plain text", k8sretry.VerbCreate, []error{plainConflict}, true},
		{"a create that was canceled in flight, not by the caller", k8sretry.VerbCreate, []error{inFlight}, true},
		{"the same without a verb", k8sretry.VerbUnspecified, []error{inFlight}, false},
		{"no verb, and a timeout", k8sretry.VerbUnspecified, times(4, gatewayTimeout()), true},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen recorder
				_, err := k8sretry.Do(t.Context(), fails(c.fails...).get, k8sretry.WithVerb(c.verb), k8sretry.WithObserver(&seen))
				require.Error(t, err)
				assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown))
				if c.unknown {
					assert.Equal(t, k8sretry.OutcomeUnknown, asError(t, err).Outcome)
					assert.Equal(t, k8sretry.OutcomeUnknown, seen.last(t).Outcome)
				}
				if c.verb == k8sretry.VerbGet || c.verb == k8sretry.VerbList {
					for _, e := range seen.events {
						assert.Equal(t, k8sretry.OutcomeNotExecuted, e.Outcome)
					}
				}
			})
		})
	}
}

// An inner call reports its own outcome. An outer call adds that of its earlier attempts.
func TestOutcomeOfNestedCalls(t *testing.T) {
	inner := func(fail error, opts ...k8sretry.Option) func(context.Context) error {
		return func(ctx context.Context) error {
			return k8sretry.Run(ctx, func(context.Context) error { return fail }, append(opts, k8sretry.WithMaxRetries(0))...)
		}
	}
	second := func(first error, then func(context.Context) error) func(context.Context) error {
		n := 0
		return func(ctx context.Context) error {
			if n++; n == 1 {
				return first
			}
			return then(ctx)
		}
	}
	t.Run("unknown in the outer call only", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			err := k8sretry.Run(t.Context(), second(gatewayTimeout(), inner(tooMany(0))))
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.True(t, apierrors.IsTooManyRequests(err))
			assert.Equal(t, 2, asError(t, err).Attempts, "the Error of the outer call")
		})
	})
	t.Run("unknown in both: the inner call has reported it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var fail error
			err := k8sretry.Run(t.Context(), second(unavailable(), func(ctx context.Context) error {
				fail = fmt.Errorf("sync: %w", inner(unavailable())(ctx))
				return fail
			}))
			assert.Same(t, fail, err)
		})
	})
	t.Run("an inner read, canceled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(500*time.Millisecond, cancel)
			err := k8sretry.Run(ctx, func(ctx context.Context) error {
				return k8sretry.Run(ctx, func(context.Context) error { return unavailable() }, k8sretry.WithVerb(k8sretry.VerbGet))
			})
			assert.ErrorIs(t, err, context.Canceled)
			assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		})
	})
}

// uncomparable is an error type that cannot be compared: it contains a slice.
type uncomparable struct{ error }

func newUncomparable(errs ...error) error { return uncomparable{utilerrors.NewAggregate(errs)} }

// An error that cannot be compared does not make a call panic.
func TestUncomparableErrors(t *testing.T) {
	for name, fail := range map[string]error{
		"an Aggregate":       utilerrors.NewAggregate([]error{unavailable()}),
		"a value with one":   newUncomparable(unavailable()),
		"one without status": newUncomparable(errPlain),
	} {
		for when, first := range map[string]error{"the first attempt": nil, "the second attempt": unavailable()} {
			for _, is := range []string{"both", "the cause", "the error"} {
				t.Run(name+", "+when+", "+is, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						ctx, cancel := context.WithCancelCause(t.Context())
						cause, last := fail, fail
						switch is {
						case "the cause":
							last = errPlain
						case "the error":
							cause = nil
						}
						n := 0
						err := k8sretry.Run(ctx, func(context.Context) error {
							if n++; n == 1 && first != nil {
								return first
							}
							cancel(cause)
							return last
						})
						assert.ErrorIs(t, err, context.Canceled)
						assert.ErrorContains(t, err, "canceled")
					})
				})
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		_, err := k8sretry.Do(t.Context(), fails(times(9, utilerrors.NewAggregate([]error{unavailable()}))...).get)
		assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
	})
}

// Without a name, Error.Function is the function that calls Do.
func TestNameOfDoIsItsCaller(t *testing.T) {
	_, err := k8sretry.Do(t.Context(), fails(tooMany(0)).get, k8sretry.WithMaxRetries(0))
	assert.Equal(t, "TestNameOfDoIsItsCaller", asError(t, err).Function)
	_, err = k8sretry.Do(t.Context(), fails(tooMany(0)).get, k8sretry.NewPolicy(k8sretry.WithMaxRetries(0)))
	assert.Equal(t, "TestNameOfDoIsItsCaller", asError(t, err).Function)
	err = k8sretry.Run(t.Context(), func(context.Context) error { return tooMany(0) }, k8sretry.WithMaxRetries(0))
	assert.Equal(t, "TestNameOfDoIsItsCaller", asError(t, err).Function)
	err = k8sretry.Run(t.Context(), func(context.Context) error { return tooMany(0) }, k8sretry.WithMaxRetries(0), k8sretry.WithName("get"), k8sretry.WithName(""))
	assert.Equal(t, "TestNameOfDoIsItsCaller", asError(t, err).Function, "an empty name is none")
}
