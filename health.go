package k8sretry

import "github.com/k8sretry/k8sretry/internal/health"

// health returns what a failed attempt with this verdict says about the server. A failure of
// something beside the server, such as a webhook, says nothing.
func (v *Verdict) health() health.Health {
	if v.flags&markedPermanent != 0 {
		return health.Unknown // the class is not that of the failure
	}
	switch v.Class {
	case ClassServer, ClassTimeout:
		if v.flags&besideServer != 0 {
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
