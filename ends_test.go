package k8sretry_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry"
)

// What each end of a call tells, in one scene after the other.
func TestEndsOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, written := logs()
		_, _ = k8sretry.Do(t.Context(), fails(unavailable()).get, logger)
		assert.Equal(t, "k8s_api_call_succeeded_after_retry", messages(written)[1], "at attempt 2, nobody observing")

		ctx, cancel := context.WithCancel(t.Context())
		err := k8sretry.Run(ctx, func(ctx context.Context) error { cancel(); return ctx.Err() })
		assert.Equal(t, context.Canceled, asError(t, err).Err, "cancelled in attempt 1")

		ctx, cancel = context.WithCancel(t.Context())
		own, n := &url.Error{Op: "Get", URL: "x", Err: context.Canceled}, 0
		err = k8sretry.Run(ctx, func(context.Context) error {
			if n++; n == 1 {
				return unavailable()
			}
			cancel()
			return own
		})
		assert.ErrorIs(t, err, error(own), "the attempt's own error stays in the chain")

		ctx, cancel = context.WithCancel(t.Context())
		logger, written = logs()
		_ = k8sretry.Run(ctx, func(context.Context) error { cancel(); return unavailable() }, logger)
		assert.Equal(t, []string{"k8s_api_call_failed_canceled"}, messages(written), "no retry is announced that will not be")

		var attempt context.Context
		assert.Panics(t, func() {
			_ = k8sretry.Run(t.Context(), func(ctx context.Context) error { attempt = ctx; panic("x") }, k8sretry.WithAttemptTimeout(time.Hour))
		})
		assert.Error(t, attempt.Err(), "over after a panic")

		n = 0
		var inner error
		err = k8sretry.Run(t.Context(), func(ctx context.Context) error {
			if n++; n == 1 {
				return unavailable()
			}
			inner = fmt.Errorf("sync: %w", k8sretry.Run(ctx, func(context.Context) error { return unavailable() }, k8sretry.WithMaxRetries(0)))
			return inner
		})
		assert.Same(t, inner, err, "the inner call told the doubt already")

		ctx, cancel = context.WithCancel(t.Context())
		err = k8sretry.Run(ctx, func(context.Context) error { cancel(); return errNo })
		assert.Equal(t, k8sretry.StopCanceled, asError(t, err).StopReason, "also without any option")
		assert.NotPanics(t, func() {
			_ = (&k8sretry.Error{StopReason: 99}).Error()
			_ = (&k8sretry.Error{StopReason: k8sretry.StopCanceled + 1}).Error()
		})
		assert.Len(t, (&k8sretry.Error{StopReason: k8sretry.StopCanceled, Err: errNo}).Unwrap(), 1, "no nil in the chain")
	})
}
