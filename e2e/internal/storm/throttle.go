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

// throttledRetries are the retries that a throttled call is allowed.
const throttledRetries = 5

// Throttled reads one object once from a server that answers nothing but 429 with
// "Retry-After: 1", with five retries: through a Transport, or, as it is done without,
// in a loop of github.com/cenkalti/backoff around client-go. The server's wait is kept to
// the moment, without jitter. It returns how many
// requests the server has seen, and after how long the caller was told.
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
	begin := time.Now()
	var told error
	if transport {
		_, told = get()
	} else {
		_, told = backoff.Retry(ctx, get, backoff.WithMaxTries(1+throttledRetries),
			backoff.WithBackOff(backoff.NewConstantBackOff(throttledDelay)), backoff.WithMaxElapsedTime(0))
	}
	took = time.Since(begin)
	if delay, ok := apierrors.SuggestsClientDelay(told); !apierrors.IsTooManyRequests(told) || !ok || delay != 1 {
		return 0, took, errors.Join(errors.New("the caller was not told of the 429 and its delay"), told)
	}
	return r.proxy.Count(func(faultproxy.Send) bool { return true }), took, nil
}

const throttledDelay = 10 * time.Millisecond

// wrapped is client-go as it is, on a Transport or not.
type wrapped struct{ transport bool }

func (w wrapped) prepare(c *rest.Config) {
	if w.transport {
		c.Wrap(k8sretry.Transport(k8sretry.WithMaxRetries(throttledRetries),
			k8sretry.WithInitialDelay(throttledDelay), k8sretry.WithJitter(k8sretry.JitterNone)))
	}
}
