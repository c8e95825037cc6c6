// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
)

// throttledRetries is the maximum number of retries of a throttled call.
const throttledRetries = 5

// Throttled reads an object with five retries from a server that answers every request with
// 429 and "Retry-After: 1": with a Transport without jitter, or with client-go in a loop of
// github.com/cenkalti/backoff. It returns the number of requests and the duration of the
// call.
func Throttled(ctx context.Context, s Setup, transport bool) (sends int, took time.Duration, err error) {
	r, err := newRun(ctx, s, wrapped{transport}, true)
	if err != nil {
		return 0, 0, err
	}
	defer r.close()
	r.proxy.SetRule(faultproxy.Always(faultproxy.Answer(http.StatusTooManyRequests).RetryAfter("1")))
	get := func() (struct{}, error) {
		_, err := r.maps.Get(ctx, "any", metav1.GetOptions{})
		return struct{}{}, err
	}
	start := time.Now()
	var callErr error
	if transport {
		_, callErr = get()
	} else {
		_, callErr = backoff.Retry(ctx, get, backoff.WithMaxTries(1+throttledRetries),
			backoff.WithBackOff(backoff.NewConstantBackOff(throttledDelay)), backoff.WithMaxElapsedTime(0))
	}
	took = time.Since(start)
	if delay, ok := apierrors.SuggestsClientDelay(callErr); !apierrors.IsTooManyRequests(callErr) || !ok || delay != 1 {
		return 0, took, errors.Join(errors.New("the error is not the 429 with its delay"), callErr)
	}
	return r.proxy.Count(func(faultproxy.Send) bool { return true }), took, nil
}

const throttledDelay = 10 * time.Millisecond

// wrapped is client-go with or without a Transport.
type wrapped struct{ transport bool }

func (w wrapped) prepare(c *rest.Config) {
	if w.transport {
		c.Wrap(k8sretry.Transport(k8sretry.WithMaxRetries(throttledRetries),
			k8sretry.WithInitialDelay(throttledDelay), k8sretry.WithJitter(k8sretry.JitterNone)))
	}
}
