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

// A classifier that says no more than a class leaves the rest as it was.
func TestClassifierLeavesOutWhatItDoesNotSay(t *testing.T) {
	says := func(v k8sretry.Verdict) k8sretry.Option {
		return k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return v, true })
	}
	for _, c := range []struct {
		situation string
		opinion   k8sretry.Verdict
		fail      error
		code      any
		waits     time.Duration // 0 if it is not repeated
	}{
		{"a class alone: the server's wait stays", k8sretry.Verdict{Class: k8sretry.ClassThrottled}, tooMany(7), 429.0, 7 * time.Second},
		{"a wait of its own", k8sretry.Verdict{Class: k8sretry.ClassThrottled, RetryAfter: 3 * time.Second}, tooMany(7), 429.0, 3 * time.Second},
		{"a code of its own", k8sretry.Verdict{Class: k8sretry.ClassServer, StatusCode: 418}, unavailable(), 418.0, time.Second},
		{"a 503 that is forbidden", k8sretry.Verdict{Class: k8sretry.ClassPermanent}, unavailable(), 503.0, 0},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, lines := jsonLogs()
				began := time.Now()
				_, err := k8sretry.Do(t.Context(), fails(c.fail).get, logger, exact, says(c.opinion))
				assert.Equal(t, c.waits == 0, err != nil)
				assert.Equal(t, c.waits, time.Since(began))
				assert.Equal(t, c.code, lines(t)[0]["status_code"])
			})
		})
	}
}

// What no error shows is known of the attempt, whoever judges: the pattern that begins with
// the Verdict of Classify takes nothing back.
func TestClassifierThatBeginsWithClassify(t *testing.T) {
	own := k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) {
		v := k8sretry.Classify(err)
		v.Detail = "mine"
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
		"says canceled": func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("get: %w", context.Canceled) },
		"is of client-go's limiter": func(context.Context) error {
			return fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("rate: Wait(n=1) would exceed context deadline"))
		},
		"says that the time has come": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
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

// The last line tells what the call returns: an attempt that the deadline cuts has nothing
// to say beside the answer before it.
func TestLastLineTellsTheErrorThatIsReturned(t *testing.T) {
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

// What a classifier says beside Classify is its opinion, and stays.
func TestClassifierHasTheLastWord(t *testing.T) {
	mine := errors.New("mine")
	for _, c := range []struct {
		situation string
		opinion   k8sretry.Verdict
		fail      error
		late      bool // the attempt ends by its timeout
		verb      k8sretry.Verb
		attempts  int
	}{
		{"canceled, it says", k8sretry.Verdict{Class: k8sretry.ClassCanceled}, mine, false, k8sretry.VerbGet, 1},
		{"canceled, it says of an attempt that came too late", k8sretry.Verdict{Class: k8sretry.ClassCanceled}, mine, true, k8sretry.VerbGet, 1},
		{"lasting, it says of an attempt that came too late", k8sretry.Verdict{Class: k8sretry.ClassPermanent}, mine, true, k8sretry.VerbGet, 1},
		{"no wait, it says", k8sretry.Verdict{Class: k8sretry.ClassThrottled, RetryAfter: -1}, tooMany(3600), false, k8sretry.VerbGet, 4},
		{"before any object, it says", k8sretry.Verdict{Class: k8sretry.ClassServer, Detail: "our proxy"}, status(500, ""), false, k8sretry.VerbDeleteCollection, 4},
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
					k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return c.opinion, true }))
				assert.ErrorIs(t, err, c.fail)
				assert.Equal(t, c.attempts, attempts)
			})
		})
	}
}

// A doubt that only the wire knows of is not taken back by a classifier that repeats
// Classify: a create whose first request got lost is not made again.
func TestClassifierKeepsTheDoubtOfTheWire(t *testing.T) {
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
