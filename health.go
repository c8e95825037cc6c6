package k8sretry

// health is what the end of an attempt tells about the server, as far as budget,
// breaker and gate care.
type health uint8

const (
	unsaid    health = iota // nothing: the caller left, no request was made, a part beside the server is broken
	well                    // an answer that only a working server gives: a success, and a NotFound as well
	failing                 // 408, 500, 502, 503: by chance, or because the server is down
	lost                    // no answer in time, no connection, a lost one
	throttled               // 429
)

// health tells what the verdict on a failed attempt says about the server.
func (v *Verdict) health() health {
	if v.flags&markedPermanent != 0 {
		return unsaid // the class is not that of the failure
	}
	switch v.Class {
	case ClassServer, ClassTimeout:
		if v.flags&besideServer != 0 {
			return unsaid
		}
		if v.Class == ClassServer {
			return failing
		}
		return lost
	case ClassRefused, ClassConnection:
		return lost
	case ClassThrottled:
		return throttled
	case ClassBadResponse:
		return well
	case ClassConflict, ClassBlocked, ClassDisruptionBudget, ClassPermanent:
		if v.StatusCode != 0 {
			return well
		}
	}
	return unsaid
}
