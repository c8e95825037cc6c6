// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// The errors of the last attempts are kept where an option asks for them, in each way.
func TestErrorHistory(t *testing.T) {
	first, second, third, last := badGateway(), gatewayTimeout(), network("read", 104), unavailable()
	for _, c := range []struct {
		situation string
		opts      []k8sretry.Option
		want      []error
	}{
		{"no option: no history", nil, nil},
		{"0: no history", []k8sretry.Option{k8sretry.WithErrorHistory(5), k8sretry.WithErrorHistory(0)}, nil},
		{"fewer attempts than asked for: all errors", []k8sretry.Option{k8sretry.WithErrorHistory(1 << 40)}, []error{first, second, third, last}},
		{"as many attempts as asked for: all errors", []k8sretry.Option{k8sretry.WithErrorHistory(4)}, []error{first, second, third, last}},
		{"more attempts than asked for: the last errors", []k8sretry.Option{k8sretry.WithErrorHistory(2)}, []error{third, last}},
		{"1: the last error", []k8sretry.Option{k8sretry.WithErrorHistory(1)}, []error{last}},
	} {
		for _, way := range ways {
			synctest.Test(t, func(t *testing.T) {
				_, err := way.call(t.Context(), fails(first, second, third, last).get, c.opts)
				e := asError(t, err)
				assert.Equal(t, c.want, e.History(), "%s, %s", c.situation, way.name)
				assert.Equal(t, 4, e.Attempts)
				assert.Positive(t, e.Elapsed, "%s, %s", c.situation, way.name)
			})
		}
	}
	assert.Nil(t, (*k8sretry.Error)(nil).History())
}

// An earlier error answers for nothing, and what a caller does with the history changes nothing.
func TestErrorHistoryIsNotInTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conflict := status(409, metav1.StatusReasonConflict)
		_, err := k8sretry.Do(t.Context(), fails(conflict, unavailable(), unavailable(), unavailable()).get,
			k8sretry.WithErrorHistory(9), k8sretry.WithRetryIf(apierrors.IsConflict))
		e := asError(t, err)
		assert.Equal(t, []error{conflict, unavailable(), unavailable(), unavailable()}, e.History())
		assert.NotErrorIs(t, err, conflict)
		assert.False(t, apierrors.IsConflict(err))
		assert.ErrorIs(t, errors.Join(e.History()...), conflict)
		e.History()[0] = nil
		assert.Equal(t, conflict, e.History()[0])
	})
}

func TestErrorHistoryHasNoMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		final := notFound()
		_, err := k8sretry.Do(t.Context(), fails(gatewayTimeout(), k8sretry.Permanent(gatewayTimeout())).get,
			k8sretry.WithErrorHistory(9), k8sretry.WithVerb(k8sretry.VerbUpdate))
		assert.Equal(t, []error{gatewayTimeout(), gatewayTimeout()}, asError(t, err).History())

		_, err = k8sretry.Do(t.Context(), fails(unavailable(), final).get, k8sretry.WithErrorHistory(9), k8sretry.ForRead())
		assert.Same(t, final, err, "an error that is returned unchanged has no history")
	})
}

// The errors of a Transport are those that a client without one would see.
func TestErrorHistoryOfATransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reset := errors.New("read tcp 10.0.0.1:443: connection reset by peer")
		sends := 0
		client := &http.Client{Transport: k8sretry.Transport(k8sretry.WithErrorHistory(2), k8sretry.WithRetryOn(reset))(roundTripper(
			func(*http.Request) (*http.Response, error) { sends++; return nil, reset },
		))}
		_, err := client.Get("http://in.memory/api/v1/namespaces/default/pods/web-0") //nolint:noctx // a test
		assert.Equal(t, []error{reset, reset}, asError(t, err).History())
		assert.Equal(t, 4, sends)
	})
}

// The history of a safe write has the errors of its checks.
func TestErrorHistoryOfASafeWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster().on("create", lost(lostReply())).on("get", repeated(999, failed(unavailable()))...)
		_, err := k8sretry.Create(t.Context(), c, configMap("settings"), metav1.CreateOptions{}, k8sretry.WithErrorHistory(9), k8sretry.WithMaxRetries(2))
		e := asError(t, err)
		require.Len(t, e.History(), 3)
		assert.Equal(t, lostReply(), e.History()[0])
		assert.True(t, apierrors.IsServiceUnavailable(e.History()[2]), "%v", e.History()[2])
	})
}

type largeError struct {
	error
	_ [1 << 10]byte
}

func (e *largeError) Unwrap() error { return e.error }

// Errors that are no longer in the history are not kept, however long a call goes on.
func TestErrorHistoryForgets(t *testing.T) {
	for name, call := range map[string]func(fn func(context.Context) (int, error), opts ...k8sretry.Option) error{
		"Do": func(fn func(context.Context) (int, error), opts ...k8sretry.Option) error {
			_, err := k8sretry.Do(t.Context(), fn, opts...)
			return err
		},
		"Until": func(fn func(context.Context) (int, error), opts ...k8sretry.Option) error {
			_, err := k8sretry.Until(t.Context(), fn, func(int) (bool, error) { return false, nil }, opts...)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var released atomic.Int32
			attempts := 0
			err := call(func(context.Context) (int, error) {
				attempts++
				if attempts == 100 {
					collect()
					assert.GreaterOrEqual(t, released.Load(), int32(90))
					return 0, k8sretry.Permanent(unavailable())
				}
				err := &largeError{error: unavailable()}
				goruntime.AddCleanup(err, func(r *atomic.Int32) { r.Add(1) }, &released)
				return 0, err
			}, k8sretry.WithErrorHistory(3), k8sretry.WithMaxRetries(1000), k8sretry.WithInitialDelay(0), k8sretry.WithLogger(nil), k8sretry.WithVerb(k8sretry.VerbGet))
			assert.True(t, apierrors.IsServiceUnavailable(err), "%v", err)
			assert.Equal(t, 100, attempts)
		})
	}
}

// Calls that share a Policy share no history.
func TestErrorHistoryBelongsToACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := k8sretry.NewPolicy(k8sretry.WithErrorHistory(2), k8sretry.WithMaxRetries(5), k8sretry.WithLogger(nil))
		var all sync.WaitGroup
		for n := range 50 {
			all.Add(1)
			go func() {
				defer all.Done()
				attempt := 0
				_, err := k8sretry.Do(t.Context(), func(context.Context) (int, error) {
					attempt++
					return 0, apierrors.NewServiceUnavailable(fmt.Sprintf("%d of %d", attempt, n))
				}, policy)
				var e *k8sretry.Error
				if assert.ErrorAs(t, err, &e) && assert.Len(t, e.History(), 2) {
					history := e.History()
					assert.EqualError(t, history[0], fmt.Sprintf("5 of %d", n))
					assert.EqualError(t, history[1], fmt.Sprintf("6 of %d", n))
				}
			}()
		}
		all.Wait()
	})
}
