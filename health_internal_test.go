package k8sretry

import (
	"testing"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry/internal/health"
)

func TestVerdictHealth(t *testing.T) {
	for _, c := range []struct {
		v    Verdict
		want health.Health
	}{
		{Verdict{Class: ClassServer, StatusCode: 503}, health.Failing},
		{Verdict{Class: ClassServer, StatusCode: 500, flags: besideServer}, health.Unknown},
		{Verdict{Class: ClassTimeout, StatusCode: 504, flags: besideServer}, health.Unknown},
		{Verdict{Class: ClassServer, StatusCode: 503, flags: besideServer | answered}, health.Unknown},
		{Verdict{Class: ClassTimeout}, health.Unreachable},
		{Verdict{Class: ClassTimeout, StatusCode: 504}, health.Unreachable},
		{Verdict{Class: ClassRefused}, health.Unreachable},
		{Verdict{Class: ClassConnection}, health.Unreachable},
		{Verdict{Class: ClassThrottled, StatusCode: 429}, health.Throttled},
		{Verdict{Class: ClassThrottled, StatusCode: 429, flags: besideServer | answered}, health.Healthy},
		{Classify(&apierrors.StatusError{ErrStatus: metav1.Status{Code: 429, Details: &metav1.StatusDetails{
			RetryAfterSeconds: 10, Causes: []metav1.StatusCause{{Type: causeDisruptionBudget}},
		}}}), health.Healthy}, // it asks one client to wait for one object
		{Verdict{Class: ClassBadResponse}, health.Healthy},
		{Verdict{Class: ClassConflict, StatusCode: 409}, health.Healthy},
		{Verdict{Class: ClassBlocked, StatusCode: 403}, health.Healthy},
		{Verdict{Class: ClassDisruptionBudget, StatusCode: 429}, health.Healthy},
		{Verdict{Class: ClassPermanent, StatusCode: 404}, health.Healthy},
		{Verdict{Class: ClassPermanent}, health.Unknown},
		{Verdict{Class: ClassConflict}, health.Unknown},
		{Verdict{Class: ClassCanceled}, health.Unknown},
		{Verdict{}, health.Unknown},
	} {
		assert.Equal(t, c.want, c.v.health(), "%+v", c.v)
	}
}
