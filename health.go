package k8sretry

import "github.com/k8sretry/k8sretry/internal/health"

// health tells what the verdict on a failed attempt says about the server.
func (v *Verdict) health() health.Health {
	switch v.Class {
	case ClassServer, ClassTimeout:
		switch v.Detail {
		case meansWebhookFailed.detail, meansConversionFailed.detail, meansAggregatedDown.detail, meansNoEndpoints.detail,
			meansNoPeer.detail, meansBackendNotReached.detail, meansKindUnknown.detail, meansQuotaRace.detail,
			meansBudgetRace.detail, meansVersionAhead.detail, meansQuotaTimedOut.detail, meansStreamNotOpened.detail:
			// The server works, and tells of something beside it: neither good nor bad.
			return health.Unknown
		}
		if v.Class == ClassServer {
			return health.Failing
		}
		return health.Unreachable
	case ClassRefused, ClassConnection:
		return health.Unreachable
	case ClassThrottled:
		return health.Throttled
	case ClassBadResponse:
		return health.Healthy
	case ClassConflict, ClassBlocked, ClassDisruptionBudget, ClassPermanent:
		if v.StatusCode != 0 {
			return health.Healthy
		}
	}
	return health.Unknown
}
