package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// What a classifier leaves zero is filled in from Classify.
func TestClassifierMaySetNothingButAClass(t *testing.T) {
	returns := func(v k8sretry.Verdict) k8sretry.Option {
		return k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return v, true })
	}
	for _, c := range []struct {
		situation string
		verdict   k8sretry.Verdict
		fail      error
		code      any
		waits     time.Duration // 0 if it is not repeated
	}{
		{"a class alone, with the Retry-After of the server", k8sretry.Verdict{Class: k8sretry.ClassThrottled}, tooMany(7), 429.0, 7 * time.Second},
		{"a Retry-After of its own", k8sretry.Verdict{Class: k8sretry.ClassThrottled, RetryAfter: 3 * time.Second}, tooMany(7), 429.0, 3 * time.Second},
		{"a code of its own", k8sretry.Verdict{Class: k8sretry.ClassServer, StatusCode: 418}, unavailable(), 418.0, time.Second},
		{"a 503 as permanent", k8sretry.Verdict{Class: k8sretry.ClassPermanent}, unavailable(), 503.0, 0},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, lines := jsonLogs()
				began := time.Now()
				_, err := k8sretry.Do(t.Context(), fails(c.fail).get, logger, exact, returns(c.verdict))
				assert.Equal(t, c.waits == 0, err != nil)
				assert.Equal(t, c.waits, time.Since(began))
				assert.Equal(t, c.code, lines(t)[0]["status_code"])
			})
		})
	}
}

// A classifier that starts from the Verdict of Classify keeps what is known beyond the
// error: that an attempt timed out, or that it had no connection.
func TestClassifierThatStartsFromClassify(t *testing.T) {
	own := k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) {
		v := k8sretry.Classify(err)
		v.Detail = "own"
		return v, true
	})
	t.Run("a create that got no connection", func(t *testing.T) {
		client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("the proxy is away")
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
		"returns context.Canceled": func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("get: %w", context.Canceled) },
		"returns an error of the client's rate limiter": func(context.Context) error {
			return fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("rate: Wait(n=1) would exceed context deadline"))
		},
		"returns context.DeadlineExceeded": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		for name, opts := range map[string][]k8sretry.Option{
			"a classifier":    {k8sretry.ForRead(), own},
			"ForConnection()": {k8sretry.ForConnection(), k8sretry.WithMaxRetries(3)},
		} {
			t.Run("an attempt timeout that "+situation+", "+name, func(t *testing.T) {
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

// An attempt that ends with the deadline of the call does not replace the API error before
// it, neither in the returned error nor in the log.
func TestLastLineHasTheErrorThatIsReturned(t *testing.T) {
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
}

// What a classifier sets to another value than Classify remains.
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
		{"canceled, for an attempt that timed out", k8sretry.Verdict{Class: k8sretry.ClassCanceled}, own, true, k8sretry.VerbGet, 1},
		{"permanent, for an attempt that timed out", k8sretry.Verdict{Class: k8sretry.ClassPermanent}, own, true, k8sretry.VerbGet, 1},
		{"no Retry-After", k8sretry.Verdict{Class: k8sretry.ClassThrottled, RetryAfter: -1}, tooMany(3600), false, k8sretry.VerbGet, 4},
		{"not executed, for a deletecollection", k8sretry.Verdict{Class: k8sretry.ClassServer, Detail: "our proxy"}, status(500, ""), false, k8sretry.VerbDeleteCollection, 4},
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

// A create is not repeated after a request whose response was lost, although the last
// request of the attempt was refused and the classifier says no more than Classify.
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
