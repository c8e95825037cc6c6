package k8sretry

// nothingStored is the detail of the failure of a deletecollection that was a dry run.
const nothingStored = "dry run, nothing is stored"

// beforeAnyObject reports whether a failure of a deletecollection, by which nothing was
// executed, came before its first object was deleted. The server deletes objects one by
// one and asks admission about each (k8s.io/apiserver/pkg/registry/generic/registry/store.go):
// what a webhook denies may be the last one of many.
//
// The order in which a request passes through the server tells which failures come
// before: those of connection, authentication, authorization, overload, and of a request
// that cannot be read.
func (v *Verdict) beforeAnyObject() bool {
	if v.StatusCode == 0 || v.Detail == "" { // no answer, or a verdict of the caller's
		return true
	}
	switch v.Detail {
	case nothingStored, meansTooManyRequests.detail, meansUnauthorized.detail, meansNotAuthorized.detail,
		meansNotServed.detail, meansPathNotFound.detail, meansNotAccepted.detail, meansNotSupported.detail,
		meansRequestRefused.detail, meansRequestCut.detail, meansTooEarly.detail, meansVersionAhead.detail,
		meansServerStarting.detail, meansShuttingDown.detail, meansAdmissionStarting.detail,
		meansAggregatedDown.detail, meansBackendNotReached.detail, meansNoEndpoints.detail, meansNoPeer.detail:
		return true
	}
	return false
}
