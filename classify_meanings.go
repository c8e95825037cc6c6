// SPDX-License-Identifier: Apache-2.0

package k8sretry

// meaning is what an error that this package recognises means: the constant part of a
// Verdict.
type meaning struct {
	class   Class
	outcome Outcome
	flags   verdictFlags
	detail  string
}

// What any error can mean.
var (
	meansUnknown = meaning{ClassPermanent, OutcomeNotExecuted, notOfSending, "unknown error"}
	meansTooLong = meaning{ClassPermanent, OutcomeUnknown, 0, "error chain too long"}
)

// What an API status can mean. Those that a text decides are in classify_texts.go.
var (
	meansDeniedByWebhook       = meaning{ClassPermanent, OutcomeNotExecuted, 0, "denied by a webhook"}
	meansDeniedWithDelay       = meaning{ClassBlocked, OutcomeNotExecuted, 0, "denied by a webhook, with a Retry-After"}
	meansNamespaceTerminating  = meaning{ClassPermanent, OutcomeNotExecuted, 0, "namespace is being terminated"}
	meansFieldOwned            = meaning{ClassPermanent, OutcomeNotExecuted, 0, "field owned by another manager"}
	meansVersionTooLarge       = meaning{ClassTimeout, OutcomeNotExecuted, besideServer | beforeObjects, "resource version too large"}
	meansTooManyRequests       = meaning{ClassThrottled, OutcomeNotExecuted, beforeObjects, "too many requests"}
	meansLevelExhausted        = meaning{ClassThrottled, OutcomeNotExecuted, beforeObjects | ofPriorityLevel, "too many requests"}
	meansTooLarge              = meaning{ClassPermanent, OutcomeNotExecuted, 0, "request too large"}
	meansDisruptionInvalid     = meaning{ClassBlocked, OutcomeNotExecuted, 0, "disruption budget has an invalid status"}
	meansDisruptionPending     = meaning{ClassThrottled, OutcomeNotExecuted, besideServer, "disruption budget still being processed"}
	meansDisruptionNotAllowed  = meaning{ClassDisruptionBudget, OutcomeNotExecuted, 0, "disruption budget allows no eviction"}
	meansPlainTextExists       = meaning{ClassPermanent, OutcomeUnknown, 0, "conflict in a response that is no Status"}
	meansPlainTextConflict     = meaning{ClassConflict, OutcomeUnknown, 0, "conflict in a response that is no Status"}
	meansAlreadyExists         = meaning{ClassPermanent, OutcomeNotExecuted, 0, "already exists"}
	meansBeingDeleted          = meaning{ClassBlocked, OutcomeNotExecuted, 0, "name taken by an object that is being deleted"}
	meansPatchTestFailed       = meaning{ClassConflict, OutcomeNotExecuted, 0, "JSON patch does not apply"}
	meansForbidden             = meaning{ClassPermanent, OutcomeNotExecuted, 0, "forbidden"}
	meansUnauthorized          = meaning{ClassBlocked, OutcomeNotExecuted, beforeObjects, "credentials not accepted"}
	meansDeniedByPolicy        = meaning{ClassPermanent, OutcomeNotExecuted, 0, "denied by an admission policy"}
	meansServerTimedOut        = meaning{ClassTimeout, OutcomeUnknown, 0, "server timed out"}
	meansNotCompleted          = meaning{ClassServer, OutcomeUnknown, 0, "not completed by the server"}
	meansInvalid               = meaning{ClassPermanent, OutcomeNotExecuted, 0, "invalid"}
	meansAllocated             = meaning{ClassBlocked, OutcomeNotExecuted, 0, "address or port already allocated"}
	meansExpired               = meaning{ClassPermanent, OutcomeNotExecuted, 0, "resource version or continue token expired"}
	meansStoredUnreadable      = meaning{ClassPermanent, OutcomeNotExecuted, 0, "stored object cannot be read"}
	meansNotAccepted           = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "request not accepted"}
	meansRequestTimeout        = meaning{ClassServer, OutcomeUnknown, 0, "request timeout"}
	meansTooEarly              = meaning{ClassServer, OutcomeNotExecuted, beforeObjects, "too early"}
	meansNotSupported          = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "request not supported"}
	meansServerError           = meaning{ClassServer, OutcomeUnknown, 0, "server error"}
	meansRequestRejected       = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "request rejected"}
	meansNoReason              = meaning{ClassPermanent, OutcomeUnknown, 0, "status without a known code or reason"}
	meansNotServed             = meaning{ClassBlocked, OutcomeNotExecuted, beforeObjects | notOfSending, "API not served"}
	meansPathNotFound          = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "path not found"}
	meansNamespaceNotFound     = meaning{ClassBlocked, OutcomeNotExecuted, 0, "namespace not found"}
	meansNotFound              = meaning{ClassPermanent, OutcomeNotExecuted, 0, "not found"}
	meansQuotaConflict         = meaning{ClassServer, OutcomeNotExecuted, besideServer, "conflict on the status of a quota"}
	meansDisruptionConflict    = meaning{ClassServer, OutcomeNotExecuted, besideServer, "conflict on the status of a disruption budget"}
	meansBindingFailed         = meaning{ClassServer, OutcomeUnknown, 0, "storage failed during a binding"}
	meansConflict              = meaning{ClassConflict, OutcomeNotExecuted, 0, "conflict"}
	meansUIDConflict           = meaning{ClassConflict, OutcomeNotExecuted, versionNamed, "conflict on the UID"}
	meansAggregatedUnavailable = meaning{ClassServer, OutcomeNotExecuted, besideServer | beforeObjects, "aggregated API server unavailable"}
	meansKindUnknown           = meaning{ClassBlocked, OutcomeNotExecuted, 0, "kind unknown to a mutating policy"}
	meansBackendUnreachable    = meaning{ClassServer, OutcomeNotExecuted, besideServer | beforeObjects, "backend unreachable"}
	meansBackendRejected       = meaning{ClassPermanent, OutcomeNotExecuted, besideServer | beforeObjects, "TLS handshake with the backend failed"}
	meansBackendRedirects      = meaning{ClassPermanent, OutcomeNotExecuted, 0, "backend attempted to redirect"}
	meansUnavailable           = meaning{ClassServer, OutcomeUnknown, 0, "service unavailable"}
	meansInternalError         = meaning{ClassServer, OutcomeUnknown, 0, "internal error"}
	meansQuotaInsufficient     = meaning{ClassBlocked, OutcomeNotExecuted, 0, "insufficient quota"}
	meansServerStarting        = meaning{ClassServer, OutcomeNotExecuted, beforeObjects, "server is starting"}
	meansBadPatch              = meaning{ClassPermanent, OutcomeNotExecuted, 0, "patch cannot be applied"}
	meansBadBinding            = meaning{ClassPermanent, OutcomeNotExecuted, 0, "invalid target of a binding"}
	meansTooLargeForEtcd       = meaning{ClassPermanent, OutcomeNotExecuted, 0, "object too large for etcd"}
)

// What an error without an API status can mean.
var (
	meansBadURL              = meaning{ClassPermanent, OutcomeNotExecuted, 0, "malformed URL"}
	meansBadAddress          = meaning{ClassPermanent, OutcomeNotExecuted, 0, "malformed address"}
	meansBadRequest          = meaning{ClassPermanent, OutcomeNotExecuted, 0, "malformed request"}
	meansCanceled            = meaning{ClassCanceled, OutcomeUnknown, 0, "context canceled"}
	meansDeadlineExceeded    = meaning{ClassTimeout, OutcomeUnknown, 0, "deadline exceeded"}
	meansQueueTimeout        = meaning{ClassThrottled, OutcomeNotExecuted, 0, "limiter queue timeout, not sent"}
	meansRateLimiterDeadline = meaning{ClassCanceled, OutcomeNotExecuted, noRoom, "wait for the client's rate limiter would exceed the deadline"}
	meansRateLimiterFailed   = meaning{ClassCanceled, OutcomeNotExecuted, 0, "the client's rate limiter failed"}
	meansRateLimiterCanceled = meaning{ClassCanceled, OutcomeNotExecuted, 0, "canceled in the client's rate limiter"}
	meansRateLimiterTimedOut = meaning{ClassTimeout, OutcomeNotExecuted, besideServer, "deadline exceeded in the client's rate limiter"}
	meansDiscoveryFailed     = meaning{ClassBlocked, OutcomeNotExecuted, notOfSending, "API discovery failed"}
	meansDiscoveryCanceled   = meaning{ClassCanceled, OutcomeNotExecuted, notOfSending, "API discovery canceled"}
	meansPluginMissing       = meaning{ClassPermanent, OutcomeNotExecuted, 0, "credential plugin not found or not allowed"}
	meansPluginFailed        = meaning{ClassRefused, OutcomeNotExecuted, 0, "credential plugin failed"}
	meansNoConnection        = meaning{ClassRefused, OutcomeNotExecuted, 0, "connection not established"}
	meansConnectionRefused   = meaning{ClassRefused, OutcomeNotExecuted, 0, "connection refused"}
	meansConnectionLost      = meaning{ClassConnection, OutcomeUnknown, 0, "connection lost"}
	meansConnectionTimedOut  = meaning{ClassTimeout, OutcomeUnknown, 0, "connection timed out"}
	meansTimedOut            = meaning{ClassTimeout, OutcomeUnknown, 0, "network timeout"}
	meansDNSTimedOut         = meaning{ClassTimeout, OutcomeNotExecuted, 0, "DNS server timed out"}
	meansDNSFailed           = meaning{ClassRefused, OutcomeNotExecuted, 0, "DNS server failed"}
	meansNoSuchHost          = meaning{ClassBlocked, OutcomeNotExecuted, 0, "no such host"}
	meansProxyRejected       = meaning{ClassPermanent, OutcomeNotExecuted, 0, "proxy rejected CONNECT"}
	meansProxyUnavailable    = meaning{ClassRefused, OutcomeNotExecuted, 0, "proxy temporarily rejected CONNECT"}
	meansTLSFailed           = meaning{ClassPermanent, OutcomeNotExecuted, 0, "TLS handshake failed"}
	meansAlertSent           = meaning{ClassPermanent, OutcomeUnknown, 0, "TLS alert sent"}
	meansAlertReceived       = meaning{ClassPermanent, OutcomeNotExecuted, byConnection, "TLS alert received"}
	meansHandshakeTimedOut   = meaning{ClassTimeout, OutcomeNotExecuted, 0, "TLS handshake timed out"}
	meansServerWithoutTLS    = meaning{ClassPermanent, OutcomeNotExecuted, 0, "HTTPS request to an HTTP server"}
	meansHTTP2Closed         = meaning{ClassConnection, OutcomeUnknown, 0, "HTTP/2 connection closed"}
	meansStreamRefused       = meaning{ClassConnection, OutcomeNotExecuted, byConnection, "HTTP/2 stream refused"}
	meansStreamReset         = meaning{ClassConnection, OutcomeUnknown, 0, "HTTP/2 stream reset"}
	meansRequestCanceled     = meaning{ClassCanceled, OutcomeUnknown, 0, "request canceled"}
	meansUnknownHTTP         = meaning{ClassConnection, OutcomeUnknown, 0, "unknown error of the HTTP client"}
	meansBodyCut             = meaning{ClassConnection, OutcomeUnknown, 0, "response body truncated"}
	meansUndecodable         = meaning{ClassBadResponse, OutcomeExecuted, 0, "response cannot be decoded"}
	meansRedirected          = meaning{ClassBlocked, OutcomeUnknown, 0, "write redirected"}
	meansUnknownType         = meaning{ClassServer, OutcomeUnknown, 0, "response of an unknown content type"}
	meansUpgradeFailed       = meaning{ClassServer, OutcomeNotExecuted, besideServer | notOfSending, "connection upgrade failed"}
	meansUpgradeRejected     = meaning{ClassPermanent, OutcomeNotExecuted, besideServer | notOfSending, "connection upgrade rejected"}
	meansUpgradeUnauthorized = meaning{ClassBlocked, OutcomeNotExecuted, besideServer | notOfSending, "connection upgrade not authorized"}
	meansCommandFailed       = meaning{ClassPermanent, OutcomeExecuted, 0, "command failed"}
)
