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
	meansUnknown = meaning{ClassPermanent, OutcomeNotExecuted, 0, "unknown error"}
	meansTooLong = meaning{ClassPermanent, OutcomeUnknown, 0, "error chain too long"}
)

// What an API status can mean. Those that a text decides are in classify_texts.go.
var (
	meansDeniedByWebhook       = meaning{ClassPermanent, OutcomeNotExecuted, 0, "denied by a webhook"}
	meansDeniedWithDelay       = meaning{ClassBlocked, OutcomeNotExecuted, 0, "denied by a webhook, which names a delay"}
	meansNamespaceTerminating  = meaning{ClassPermanent, OutcomeNotExecuted, 0, "namespace is being terminated"}
	meansFieldOwned            = meaning{ClassPermanent, OutcomeNotExecuted, 0, "field owned by another manager"}
	meansVersionTooLarge       = meaning{ClassTimeout, OutcomeNotExecuted, besideServer | beforeObjects, "resource version ahead of the server"}
	meansTooManyRequests       = meaning{ClassThrottled, OutcomeNotExecuted, beforeObjects, "too many requests"}
	meansTooLarge              = meaning{ClassPermanent, OutcomeNotExecuted, 0, "request too large"}
	meansDisruptionInvalid     = meaning{ClassBlocked, OutcomeNotExecuted, 0, "disruption budget cannot be used"}
	meansDisruptionPending     = meaning{ClassThrottled, OutcomeNotExecuted, 0, "disruption budget still being processed"}
	meansDisruptionNotAllowed  = meaning{ClassDisruptionBudget, OutcomeNotExecuted, 0, "disruption budget allows no eviction"}
	meansPlainTextExists       = meaning{ClassPermanent, OutcomeUnknown, 0, "conflict of unknown origin"}
	meansPlainTextConflict     = meaning{ClassConflict, OutcomeUnknown, 0, "conflict of unknown origin"}
	meansAlreadyExists         = meaning{ClassPermanent, OutcomeNotExecuted, 0, "already exists"}
	meansForbidden             = meaning{ClassPermanent, OutcomeNotExecuted, 0, "forbidden"}
	meansUnauthorized          = meaning{ClassBlocked, OutcomeNotExecuted, beforeObjects, "credentials not accepted"}
	meansDeniedByPolicy        = meaning{ClassPermanent, OutcomeNotExecuted, 0, "denied by an admission policy"}
	meansServerTimedOut        = meaning{ClassTimeout, OutcomeUnknown, 0, "timeout in the server"}
	meansNotCompleted          = meaning{ClassServer, OutcomeUnknown, 0, "not completed by the server"}
	meansInvalid               = meaning{ClassPermanent, OutcomeNotExecuted, 0, "invalid"}
	meansExpired               = meaning{ClassPermanent, OutcomeNotExecuted, 0, "expired: start the list or watch again"}
	meansStoredUnreadable      = meaning{ClassPermanent, OutcomeNotExecuted, 0, "stored object cannot be read"}
	meansNotAccepted           = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "request not accepted"}
	meansRequestTimeout        = meaning{ClassServer, OutcomeUnknown, 0, "request timeout"}
	meansTooEarly              = meaning{ClassServer, OutcomeNotExecuted, beforeObjects, "too early"}
	meansNotSupported          = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "request not supported"}
	meansServerError           = meaning{ClassServer, OutcomeUnknown, 0, "server error"}
	meansRequestRejected       = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "request refused"}
	meansNoReason              = meaning{ClassPermanent, OutcomeUnknown, 0, "status without a meaning"}
	meansNotServed             = meaning{ClassBlocked, OutcomeNotExecuted, beforeObjects, "API not served"}
	meansPathNotFound          = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "path not found"}
	meansNamespaceNotFound     = meaning{ClassBlocked, OutcomeNotExecuted, 0, "namespace not found"}
	meansNotFound              = meaning{ClassPermanent, OutcomeNotExecuted, 0, "not found"}
	meansQuotaConflict         = meaning{ClassServer, OutcomeNotExecuted, besideServer, "race for the quota's status"}
	meansDisruptionConflict    = meaning{ClassServer, OutcomeNotExecuted, besideServer, "race for the disruption budget's status"}
	meansBindingFailed         = meaning{ClassServer, OutcomeUnknown, 0, "storage fault during a binding"}
	meansConflict              = meaning{ClassConflict, OutcomeNotExecuted, 0, "conflict"}
	meansAggregatedUnavailable = meaning{ClassServer, OutcomeNotExecuted, besideServer | beforeObjects, "aggregated server not available"}
	meansKindUnknown           = meaning{ClassBlocked, OutcomeNotExecuted, 0, "kind unknown to a mutating policy"}
	meansBackendUnreachable    = meaning{ClassServer, OutcomeNotExecuted, besideServer | beforeObjects, "backend not reached"}
	meansBackendRedirects      = meaning{ClassPermanent, OutcomeNotExecuted, 0, "backend redirects"}
	meansUnavailable           = meaning{ClassServer, OutcomeUnknown, 0, "service unavailable"}
	meansInternalError         = meaning{ClassServer, OutcomeUnknown, 0, "internal error"}
	meansQuotaInsufficient     = meaning{ClassBlocked, OutcomeNotExecuted, 0, "insufficient quota"}
	meansServerStarting        = meaning{ClassServer, OutcomeNotExecuted, beforeObjects, "server is starting"}
	meansTooLargeForEtcd       = meaning{ClassPermanent, OutcomeNotExecuted, 0, "object too large for etcd"}
)

// What an error without an API status can mean.
var (
	meansBadURL              = meaning{ClassPermanent, OutcomeNotExecuted, 0, "malformed URL"}
	meansBadAddress          = meaning{ClassPermanent, OutcomeNotExecuted, 0, "malformed address"}
	meansBadRequest          = meaning{ClassPermanent, OutcomeNotExecuted, 0, "malformed request"}
	meansCanceled            = meaning{ClassCanceled, OutcomeUnknown, 0, "context canceled"}
	meansDeadlineExceeded    = meaning{ClassTimeout, OutcomeUnknown, 0, "deadline exceeded"}
	meansQueueTimeout        = meaning{ClassThrottled, OutcomeNotExecuted, 0, "held back, not sent"}
	meansRateLimiterDeadline = meaning{ClassCanceled, OutcomeNotExecuted, 0, "no time left for the client's rate limiter"}
	meansRateLimiterFailed   = meaning{ClassCanceled, OutcomeNotExecuted, 0, "the client's rate limiter refused"}
	meansDiscoveryFailed     = meaning{ClassBlocked, OutcomeNotExecuted, 0, "API discovery failed"}
	meansPluginMissing       = meaning{ClassPermanent, OutcomeNotExecuted, 0, "credential plugin missing"}
	meansPluginFailed        = meaning{ClassRefused, OutcomeNotExecuted, 0, "credential plugin failed"}
	meansNoConnection        = meaning{ClassRefused, OutcomeNotExecuted, 0, "no connection"}
	meansConnectionRefused   = meaning{ClassRefused, OutcomeNotExecuted, 0, "connection refused"}
	meansConnectionLost      = meaning{ClassConnection, OutcomeUnknown, 0, "connection lost"}
	meansConnectionTimedOut  = meaning{ClassTimeout, OutcomeUnknown, 0, "connection timed out"}
	meansTimedOut            = meaning{ClassTimeout, OutcomeUnknown, 0, "timeout of the connection"}
	meansDNSTimedOut         = meaning{ClassTimeout, OutcomeNotExecuted, 0, "name server timed out"}
	meansDNSFailed           = meaning{ClassRefused, OutcomeNotExecuted, 0, "name server failed"}
	meansNoSuchHost          = meaning{ClassBlocked, OutcomeNotExecuted, 0, "no such host"}
	meansProxyRejected       = meaning{ClassPermanent, OutcomeNotExecuted, 0, "proxy refuses"}
	meansProxyUnavailable    = meaning{ClassRefused, OutcomeNotExecuted, 0, "proxy refuses for now"}
	meansTLSFailed           = meaning{ClassPermanent, OutcomeNotExecuted, 0, "TLS refused"}
	meansAlertSent           = meaning{ClassPermanent, OutcomeUnknown, 0, "TLS alert sent"}
	meansAlertReceived       = meaning{ClassPermanent, OutcomeNotExecuted, 0, "TLS alert received"}
	meansHandshakeTimedOut   = meaning{ClassTimeout, OutcomeNotExecuted, 0, "TLS handshake timed out"}
	meansServerWithoutTLS    = meaning{ClassPermanent, OutcomeNotExecuted, 0, "server does not speak TLS"}
	meansHTTP2Closed         = meaning{ClassConnection, OutcomeUnknown, 0, "HTTP/2 connection closed"}
	meansStreamRefused       = meaning{ClassConnection, OutcomeNotExecuted, 0, "HTTP/2 stream refused"}
	meansStreamReset         = meaning{ClassConnection, OutcomeUnknown, 0, "HTTP/2 stream reset"}
	meansRequestCanceled     = meaning{ClassCanceled, OutcomeUnknown, 0, "request canceled"}
	meansUnknownHTTP         = meaning{ClassConnection, OutcomeUnknown, 0, "unknown error of the HTTP client"}
	meansBodyCut             = meaning{ClassConnection, OutcomeUnknown, 0, "response body cut"}
	meansUndecodable         = meaning{ClassBadResponse, OutcomeExecuted, 0, "answer cannot be decoded"}
	meansUnknownType         = meaning{ClassServer, OutcomeUnknown, 0, "answer of an unknown type"}
	meansUpgradeFailed       = meaning{ClassServer, OutcomeNotExecuted, besideServer, "stream not opened"}
	meansCommandFailed       = meaning{ClassPermanent, OutcomeExecuted, 0, "the command ran and failed"}
)
