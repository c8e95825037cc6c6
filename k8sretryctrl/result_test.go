// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// gaveUp returns the error of a call whose attempts have failed with err.
func gaveUp(err error, opts ...k8sretry.Option) error {
	return k8sretry.Run(context.Background(), func(context.Context) error { return err },
		append([]k8sretry.Option{k8sretry.WithMaxRetries(0)}, opts...)...)
}

// permanentAfterUnknownOutcome returns the error of a call whose first attempt had an unknown
// outcome and whose second attempt failed with a permanent error.
func permanentAfterUnknownOutcome(permanent error) error {
	n := 0
	return k8sretry.Run(context.Background(), func(context.Context) error {
		if n++; n == 1 {
			return unknownOutcome()
		}
		return permanent
	}, k8sretry.WithVerb(k8sretry.VerbUpdate), k8sretry.WithInitialDelay(0))
}

// ofGateway is what client-go makes of an answer that is none of the API.
func ofGateway(code int, text string) error {
	return apierrors.NewGenericServerResponse(code, "POST", corev1.Resource("pods"), "web-0", text, 0, true)
}

func TestResultOfEachKindOfError(t *testing.T) {
	pods := corev1.Resource("pods")
	invalid := apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), "web-0", field.ErrorList{})
	bad := apierrors.NewBadRequest("no")
	conflict := apierrors.NewConflict(pods, "web-0", errors.New("modified"))
	notFound := apierrors.NewNotFound(pods, "web-0")
	const long, short = 15 * time.Second, time.Second
	cycle := &loop{}
	cycle.next = cycle
	var none *apierrors.StatusError
	var noError *k8sretry.Error

	for _, c := range []struct {
		situation string
		err       error
		after     time.Duration // 0 for an error
		terminal  bool
	}{
		{"no error", nil, 0, false},

		{"an outage", gaveUp(k8sretrytest.Status(503)), long, false},
		{"an outage, wrapped", fmt.Errorf("sync: %w", gaveUp(k8sretrytest.Status(503))), long, false},
		{"a lost connection", gaveUp(k8sretrytest.ConnectionReset()), long, false},
		{"a Retry-After of 40 s", gaveUp(k8sretrytest.TooManyRequests(40 * time.Second)), 40 * time.Second, false},
		{"a Retry-After of a second", gaveUp(k8sretrytest.TooManyRequests(time.Second)), time.Second, false},
		{"a Retry-After that is too long to wait for", gaveUp(k8sretrytest.TooManyRequests(time.Hour), k8sretry.WithMaxRetries(3)), time.Hour, false},
		{"a disruption budget", gaveUp(k8sretrytest.DisruptionBudget()), long, false},
		{"a create with an unknown outcome", gaveUp(unknownOutcome(), k8sretry.WithVerb(k8sretry.VerbCreate)), long, false},
		{"a conflict after an unknown outcome", permanentAfterUnknownOutcome(conflict), short, false},
		{"not found after an unknown outcome", permanentAfterUnknownOutcome(notFound), short, false},
		{"invalid after an unknown outcome", permanentAfterUnknownOutcome(invalid), short, false},
		{"a conflict", conflict, short, false},
		{"a conflict, wrapped", fmt.Errorf("sync: %w", conflict), short, false},

		{"bad request, wrapped", fmt.Errorf("sync: %w", bad), 0, true},
		{"bad request", bad, 0, true},
		{"too large", apierrors.NewRequestEntityTooLargeError("no"), 0, true},
		{"method not allowed", apierrors.NewMethodNotSupported(pods, "create"), 0, true},

		{"not found", notFound, 0, false},
		{"invalid, such as a node port that another service has", invalid, 0, false},
		{"invalid, by a ValidatingAdmissionPolicy", k8sretrytest.ServerStatus(422, metav1.StatusReasonInvalid,
			`pods "web-0" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no`), 0, false},
		{"already exists", apierrors.NewAlreadyExists(pods, "web-0"), 0, false},
		{"forbidden", apierrors.NewForbidden(pods, "web-0", errors.New("RBAC")), 0, false},
		{"quota", k8sretrytest.QuotaExceeded(), 0, false},
		{"unauthorized", apierrors.NewUnauthorized("no"), 0, false},
		{"expired", apierrors.NewResourceExpired("list again"), 0, false},
		{"a field of another owner", apierrors.NewApplyConflict([]metav1.StatusCause{{Type: metav1.CauseTypeFieldManagerConflict}}, "no"), 0, false},
		{"denied by a webhook", k8sretrytest.WebhookDenied("no"), 0, false},
		{"denied by a webhook that says bad request", k8sretrytest.ServerStatus(400, "", `admission webhook "a.b.c" denied the request: no`), 0, false},
		{"too large, by a ValidatingAdmissionPolicy", k8sretrytest.ServerStatus(413, metav1.StatusReasonRequestEntityTooLarge,
			`pods "web-0" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no`), 0, false},
		{"an unknown field, which a newer definition of the kind may have", k8sretrytest.ServerStatus(400, metav1.StatusReasonBadRequest,
			`Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.size"`), 0, false},
		{"the log of a container that does not run yet", k8sretrytest.ServerStatus(400, metav1.StatusReasonBadRequest,
			`container "web" in pod "web-0" is waiting to start: ContainerCreating`), 0, false},
		{"the log of a pod without a node", k8sretrytest.ServerStatus(400, metav1.StatusReasonBadRequest, `pod web-0 does not have a host assigned`), 0, false},
		{"bad request, by a gateway", ofGateway(400, "Client sent an HTTP request to an HTTPS server."), 0, false},
		{"method not allowed, by a gateway", ofGateway(405, "no"), 0, false},
		{"too large, by a gateway", ofGateway(413, "no"), 0, false},
		{"unsupported type, by a gateway, wrapped", fmt.Errorf("sync: %w", ofGateway(415, "no")), 0, false},
		{"a 503 without retries", k8sretrytest.Status(503), 0, false},

		{"an error of another package", io.EOF, 0, false},
		{"a context error", context.Canceled, 0, false},
		{"a TerminalError", reconcile.TerminalError(conflict), 0, true},
		{"a TerminalError and a conflict", errors.Join(reconcile.TerminalError(conflict), conflict), 0, false},
		{"an infinite tree", wide{}, 0, false},
		{"a nil *StatusError", none, 0, false},
		{"a nil *k8sretry.Error", noError, 0, false},
		{"a cycle", cycle, 0, false},

		{"two outages, with the longer delay", errors.Join(gaveUp(k8sretrytest.Status(503)), gaveUp(k8sretrytest.TooManyRequests(40*time.Second))), 40 * time.Second, false},
		{"the longer delay first", errors.Join(gaveUp(k8sretrytest.TooManyRequests(40*time.Second)), conflict), 40 * time.Second, false},
		{"an aggregate of two", utilerrors.NewAggregate([]error{conflict, gaveUp(unknownOutcome())}), long, false},
		{"two bad requests", errors.Join(bad, nil, fmt.Errorf("b: %w", bad)), 0, true},
		{"an outage and a bad request", errors.Join(gaveUp(unknownOutcome()), bad), 0, false},
		{"an outage and an error of another package", errors.Join(gaveUp(unknownOutcome()), io.EOF), 0, false},
		{"conflicts within a join and a wrap", fmt.Errorf("a: %w, b: %w", errors.Join(conflict), conflict), short, false},
	} {
		t.Run(c.situation, func(t *testing.T) {
			result, err := k8sretryctrl.Result(c.err)
			if c.after > 0 {
				require.NoError(t, err)
				assert.GreaterOrEqual(t, result.RequeueAfter, c.after)
				assert.LessOrEqual(t, result.RequeueAfter, c.after*6/5)
				return
			}
			assert.Zero(t, result)
			if c.terminal {
				assert.ErrorIs(t, err, reconcile.TerminalError(nil))
				assert.ErrorIs(t, err, c.err)
				return
			}
			assert.Equal(t, c.err, err)
		})
	}
	t.Run("delays are spread", func(t *testing.T) {
		waits := map[time.Duration]bool{}
		for range 20 {
			result, _ := k8sretryctrl.Result(conflict)
			waits[result.RequeueAfter] = true
		}
		assert.Greater(t, len(waits), 1)
	})
	t.Run("a canceled call", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := k8sretry.Run(ctx, func(context.Context) error { cancel(); return unknownOutcome() })
		result, err := k8sretryctrl.Result(err)
		assert.NoError(t, err)
		assert.NotZero(t, result.RequeueAfter)
	})
}

// loop is an error that wraps itself.
type loop struct{ next error }

func (*loop) Error() string   { return "loop" }
func (l *loop) Unwrap() error { return l.next }

// wide is an infinite tree of errors.
type wide struct{}

func (wide) Error() string   { return "wide" }
func (wide) Unwrap() []error { return []error{wide{}, wide{}} }

func FuzzResult(f *testing.F) {
	f.Add(int32(503), "ServiceUnavailable", "text", int32(3), uint8(0))
	f.Add(int32(409), "Conflict", `admission webhook "a" denied the request`, int32(0), uint8(1))
	f.Add(int32(422), "Invalid", "", int32(-1), uint8(2))
	f.Fuzz(func(t *testing.T, code int32, reason, message string, retryAfter int32, shape uint8) {
		var err error = &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: code, Reason: metav1.StatusReason(reason), Message: message,
			Details: &metav1.StatusDetails{RetryAfterSeconds: retryAfter},
		}}
		switch shape % 4 {
		case 1:
			err = gaveUp(err)
		case 2:
			err = errors.Join(err, gaveUp(err))
		case 3:
			err = utilerrors.NewAggregate([]error{err, wide{}})
		}
		result, out := k8sretryctrl.Result(err)
		if out == nil {
			assert.Positive(t, result.RequeueAfter)
		} else {
			assert.Zero(t, result)
			assert.Contains(t, out.Error(), err.Error())
		}
	})
}
