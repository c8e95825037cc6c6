package k8sretry

import (
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Causes that k8s.io/api defines, which this file does not import.
const (
	causeNamespaceTerminating metav1.CauseType = "NamespaceTerminating"
	causeDisruptionBudget     metav1.CauseType = "DisruptionBudget"
)

// judgeStatus says what a status of the API means. The order of the questions
// matters: a webhook may deny with any code, reason and cause it likes, causes are
// more exact than reasons, reasons more exact than codes. Message texts are read
// only where nothing else tells two meanings apart.
func judgeStatus(s *metav1.Status) *meaning {
	if deniedByWebhook(s.Message) {
		if (s.Code == http.StatusTooManyRequests || s.Code == http.StatusServiceUnavailable) && retryAfter(s) > 0 {
			return &meansDeniedWithDelay
		}
		return &meansDeniedByWebhook
	}

	var generic *metav1.StatusCause
	if s.Details != nil {
		for i := range s.Details.Causes {
			switch c := &s.Details.Causes[i]; c.Type {
			case metav1.CauseTypeUnexpectedServerResponse:
				generic = c
			case causeNamespaceTerminating:
				return &meansNamespaceEnds
			case causeDisruptionBudget:
				return judgeEviction(s)
			case metav1.CauseTypeFieldManagerConflict:
				return &meansFieldOwned
			case metav1.CauseTypeResourceVersionTooLarge:
				return &meansVersionAhead
			}
		}
	}

	// apierrors.IsTooManyRequests and IsRequestEntityTooLargeError accept the code
	// whatever the reason.
	switch s.Code {
	case http.StatusTooManyRequests:
		return &meansTooManyRequests
	case http.StatusRequestEntityTooLarge:
		return &meansTooLarge
	}
	if m := judgeReason(s.Reason, s, generic); m != nil {
		return m
	}
	if m := judgeReason(reasonOf(s.Code), s, generic); m != nil {
		return m
	}
	return judgeCode(s.Code)
}

// deniedByWebhook recognises the beginning that kube-apiserver gives to the message
// of every denial (k8s.io/apiserver/pkg/admission/plugin/webhook/errors/statuserror.go).
func deniedByWebhook(message string) bool {
	const begin, then = `admission webhook "`, `denied the request`
	return len(message) > len(begin) && message[0] == begin[0] && message[:len(begin)] == begin && strings.Contains(message, then)
}

// retryAfter is the delay in the details. An int32 of seconds, 68 years, always
// fits a Duration.
func retryAfter(s *metav1.Status) time.Duration {
	if s.Details == nil || s.Details.RetryAfterSeconds <= 0 {
		return 0
	}
	return time.Duration(s.Details.RetryAfterSeconds) * time.Second
}

// judgeEviction judges an eviction that a PodDisruptionBudget refused
// (k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go).
func judgeEviction(s *metav1.Status) *meaning {
	switch {
	case s.Code != http.StatusTooManyRequests:
		return &meansBudgetUnusable
	case retryAfter(s) > 0:
		return &meansBudgetPending
	default:
		return &meansBudgetSpent
	}
}

// reasonOf is the reason that the predicates of apierrors assume for a code whose
// own reason they do not know.
func reasonOf(code int32) metav1.StatusReason {
	switch code {
	case http.StatusBadRequest:
		return metav1.StatusReasonBadRequest
	case http.StatusUnauthorized:
		return metav1.StatusReasonUnauthorized
	case http.StatusForbidden:
		return metav1.StatusReasonForbidden
	case http.StatusNotFound:
		return metav1.StatusReasonNotFound
	case http.StatusMethodNotAllowed:
		return metav1.StatusReasonMethodNotAllowed
	case http.StatusNotAcceptable:
		return metav1.StatusReasonNotAcceptable
	case http.StatusConflict:
		return metav1.StatusReasonConflict
	case http.StatusGone:
		return metav1.StatusReasonGone
	case http.StatusUnsupportedMediaType:
		return metav1.StatusReasonUnsupportedMediaType
	case http.StatusUnprocessableEntity:
		return metav1.StatusReasonInvalid
	case http.StatusInternalServerError:
		return metav1.StatusReasonInternalError
	case http.StatusServiceUnavailable:
		return metav1.StatusReasonServiceUnavailable
	case http.StatusGatewayTimeout:
		return metav1.StatusReasonTimeout
	}
	return metav1.StatusReasonUnknown
}

// judgeReason judges by the reason, and is nil for one it does not know. A
// generic status is one that client-go made of an answer that held none; its cause
// has the body.
func judgeReason(r metav1.StatusReason, s *metav1.Status, generic *metav1.StatusCause) *meaning {
	switch r {
	case metav1.StatusReasonNotFound:
		return judgeNotFound(s, generic)
	case metav1.StatusReasonConflict:
		return judgeConflict(s, generic)
	case metav1.StatusReasonAlreadyExists:
		if generic != nil {
			return &meansForeignExists
		}
		return &meansAlreadyExists
	case metav1.StatusReasonForbidden:
		if generic != nil {
			return &meansForbidden
		}
		return judgeForbidden(s.Message)
	case metav1.StatusReasonUnauthorized:
		if strings.Contains(s.Message, "ValidatingAdmissionPolicy '") {
			return &meansDeniedByPolicy
		}
		return &meansUnauthorized
	case metav1.StatusReasonServiceUnavailable:
		return judgeUnavailable(s, generic)
	case metav1.StatusReasonTimeout:
		return &meansServerTimedOut
	case metav1.StatusReasonServerTimeout:
		return &meansNotCompleted
	case metav1.StatusReasonTooManyRequests:
		return &meansTooManyRequests
	case metav1.StatusReasonInternalError:
		return judgeInternal(s, generic)
	case metav1.StatusReasonInvalid:
		return &meansInvalid
	case metav1.StatusReasonGone, metav1.StatusReasonExpired:
		return &meansExpired
	case metav1.StatusReasonStoreReadError:
		return &meansStoreUnreadable
	case metav1.StatusReasonBadRequest, metav1.StatusReasonMethodNotAllowed, metav1.StatusReasonNotAcceptable,
		metav1.StatusReasonRequestEntityTooLarge, metav1.StatusReasonUnsupportedMediaType:
		return &meansNotAccepted
	}
	return nil
}

// judgeCode judges a code that no reason stands for.
func judgeCode(code int32) *meaning {
	switch code {
	case http.StatusRequestTimeout:
		// Some proxies answer it for a request that they have passed on.
		return &meansRequestTimeout
	case http.StatusTooEarly:
		return &meansTooEarly
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusVariantAlsoNegotiates,
		http.StatusNotExtended, http.StatusNetworkAuthenticationRequired:
		return &meansNotSupported
	}
	switch {
	case code >= 500:
		return &meansServerError
	case code >= 300:
		return &meansRequestRefused
	default:
		// No code at all, or one of success that is no success to client-go.
		return &meansNothing
	}
}

func judgeNotFound(s *metav1.Status, generic *metav1.StatusCause) *meaning {
	switch {
	case generic != nil && strings.HasPrefix(generic.Message, "404 page not found"):
		return &meansNotServed
	case generic != nil:
		return &meansPathNotFound
	case s.Details != nil && s.Details.Kind == "namespaces":
		return &meansNamespaceNotFound
	}
	return &meansNotFound
}

// judgeConflict tells a conflict about the object of the call from those in which
// the server lost a race of its own.
func judgeConflict(s *metav1.Status, generic *metav1.StatusCause) *meaning {
	if generic != nil {
		return &meansForeignConflict
	}
	if s.Details != nil {
		switch s.Details.Kind {
		case "resourcequotas", "clusterresourcequotas":
			return &meansQuotaRace
		case "poddisruptionbudgets":
			return &meansBudgetRace
		case "pods/binding":
			// Whatever fails in a binding becomes a conflict, faults of the storage too.
			if _, cause, ok := strings.Cut(s.Message, `": `); ok && isStorageFault(cause) {
				return &meansBindingFault
			}
		}
	}
	return &meansConflict
}

// judgeForbidden reads the message that admission.NewForbidden and
// apierrors.NewForbidden write: the object, "is forbidden: ", then the cause.
func judgeForbidden(message string) *meaning {
	_, cause, _ := strings.Cut(message, "forbidden: ")
	if m := begun(forbiddenTexts, cause); m != nil {
		return m
	}
	return &meansForbidden
}

// judgeUnavailable tells from the text whether a 503 was written before the
// request reached the server that would carry it out.
func judgeUnavailable(s *metav1.Status, generic *metav1.StatusCause) *meaning {
	text := s.Message
	if generic != nil {
		text = generic.Message
	}
	if m := begun(unavailableTexts, text); m != nil {
		return m
	}
	switch {
	case generic != nil && text == "service unavailable": // kube-aggregator, before it proxies
		return &meansAggregatedDown
	case strings.HasPrefix(text, "Resource kind ") && strings.Contains(text, "delay between when CustomResourceDefinitions are created"):
		return &meansKindUnknown
	}
	if cause, ok := strings.CutPrefix(text, "error trying to reach service: "); ok && isDialText(cause) {
		return &meansBackendNotReached
	}
	return &meansUnavailable
}

// isDialText reports whether the text of an error between two servers says that no
// connection came about. The second form is of an egress proxy.
func isDialText(text string) bool {
	return strings.HasPrefix(text, "dial ") || strings.HasPrefix(text, "proxyconnect ") ||
		strings.HasPrefix(text, "proxy error from ") && strings.Contains(text, " while dialing ")
}

// judgeInternal reads the message: everything that the server could not convert to
// a status of its own is a 500, from a webhook that could not be called to a write
// that etcd may yet apply.
func judgeInternal(s *metav1.Status, generic *metav1.StatusCause) *meaning {
	if s.Code > http.StatusInternalServerError {
		if generic != nil && strings.Contains(generic.Message, "the backend attempted to redirect this request") {
			return &meansBackendRedirects
		}
		return judgeCode(s.Code)
	}
	if generic == nil {
		text := strings.TrimPrefix(s.Message, "Internal error occurred: ")
		if m := begun(internalTexts, text); m != nil {
			return m
		}
		for i := range storageTexts {
			if q := &storageTexts[i]; strings.Contains(text, q.text) {
				return q.means
			}
		}
	}
	return &meansInternalError
}

// isStorageFault reports whether a text comes from etcd or the way to it.
func isStorageFault(text string) bool {
	for _, s := range [...]string{"etcdserver: ", "rpc error: ", "raft proposal dropped", "context deadline exceeded", "context canceled"} {
		if strings.HasPrefix(text, s) {
			return true
		}
	}
	return false
}

// forbiddenTexts begin the cause of a 403.
var forbiddenTexts = []quote{
	{"exceeded quota", &meansQuotaExceeded},
	{"insufficient quota", &meansQuotaInsufficient},
	{"status unknown for quota", &meansQuotaUnknown},
	{"error looking up service account", &meansNoServiceAccount},
	{`User "`, &meansNotAuthorized},
	{"not yet ready to handle request", &meansAdmissionStarting},
	{"create not allowed while custom resource definition is terminating",
		&meansDefinitionEnds},
}

// unavailableTexts begin the text of a 503 that was written before anything ran.
var unavailableTexts = []quote{
	{"apiserver is shutting down", &meansShuttingDown},
	{"the request has been made before all known HTTP paths have been installed",
		&meansServerStarting},
	{"wait for storage version registration", &meansServerStarting},
	{"no endpoints available for service", &meansNoEndpoints},
	{"Error getting ip and port info of the remote server", &meansNoPeer},
}

// internalTexts begin the message of a 500. They go before storageTexts, which
// their second half may quote.
var internalTexts = []quote{
	{"failed calling webhook", &meansWebhookFailed},
	{"conversion webhook for", &meansConversionFailed},
	{"resource quota evaluation timed out", &meansQuotaTimedOut},
	{"insufficient quota to match these scopes", &meansQuotaInsufficient},
	{"error dialing backend", &meansBackendNotReached},
	{"resourceVersion should not be set on objects to be created",
		&meansVersionOnCreate},
	{"This pod has more than one PodDisruptionBudget",
		&meansTwoBudgets},
}

// storageTexts stand somewhere in the message of a 500, most of them those of etcd.
// What is not listed may have been applied, or may yet be: with its quorum lost,
// etcd stores some writes after their timeout was answered.
var storageTexts = []quote{
	{"etcdserver: request is too large", &meansTooLargeForEtcd},
	{"trying to send message larger than max", &meansTooLargeForEtcd},
	{"etcdserver: too many requests", &meansEtcdBusy},
	{"mvcc: database space exceeded", &meansEtcdFull},
	{"etcdserver: request timed out", &meansEtcdTimedOut},
	{"etcdserver: leader changed", &meansEtcdNewLeader},
	{"etcdserver: no leader", &meansEtcdNoLeader},
	{"rpc error: code = Unavailable", &meansEtcdLost},
	{"request declared a Content-Length of", &meansRequestCut}, // net/http's server, HTTP/2
}

// What an API status can mean.
var (
	meansDeniedWithDelay   = meaning{ClassBlocked, OutcomeNotExecuted, 0, "denied by a webhook, which names a delay"}
	meansDeniedByWebhook   = meaning{ClassPermanent, OutcomeNotExecuted, 0, "denied by a webhook"}
	meansNamespaceEnds     = meaning{ClassPermanent, OutcomeNotExecuted, 0, "namespace is being terminated"}
	meansFieldOwned        = meaning{ClassPermanent, OutcomeNotExecuted, 0, "field owned by another manager"}
	meansVersionAhead      = meaning{ClassTimeout, OutcomeNotExecuted, beside | beforeObjects, "resource version ahead of the server"}
	meansTooManyRequests   = meaning{ClassThrottled, OutcomeNotExecuted, beforeObjects, "too many requests"}
	meansTooLarge          = meaning{ClassPermanent, OutcomeNotExecuted, 0, "request too large"}
	meansBudgetUnusable    = meaning{ClassBlocked, OutcomeNotExecuted, 0, "disruption budget cannot be used"}
	meansBudgetPending     = meaning{ClassThrottled, OutcomeNotExecuted, 0, "disruption budget still being processed"}
	meansBudgetSpent       = meaning{ClassDisruptionBudget, OutcomeNotExecuted, 0, "disruption budget allows no eviction"}
	meansForeignExists     = meaning{ClassPermanent, OutcomeUnknown, 0, "conflict of unknown origin"}
	meansAlreadyExists     = meaning{ClassPermanent, OutcomeNotExecuted, 0, "already exists"}
	meansForbidden         = meaning{ClassPermanent, OutcomeNotExecuted, 0, "forbidden"}
	meansNotAuthorized     = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "not authorized"}
	meansDeniedByPolicy    = meaning{ClassPermanent, OutcomeNotExecuted, 0, "denied by an admission policy"}
	meansUnauthorized      = meaning{ClassBlocked, OutcomeNotExecuted, beforeObjects, "credentials not accepted"}
	meansServerTimedOut    = meaning{ClassTimeout, OutcomeUnknown, 0, "timeout in the server"}
	meansNotCompleted      = meaning{ClassServer, OutcomeUnknown, 0, "not completed by the server"}
	meansInvalid           = meaning{ClassPermanent, OutcomeNotExecuted, 0, "invalid"}
	meansExpired           = meaning{ClassPermanent, OutcomeNotExecuted, 0, "expired: start the list or watch again"}
	meansStoreUnreadable   = meaning{ClassPermanent, OutcomeNotExecuted, 0, "stored object cannot be read"}
	meansNotAccepted       = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "request not accepted"}
	meansRequestTimeout    = meaning{ClassServer, OutcomeUnknown, 0, "request timeout"}
	meansTooEarly          = meaning{ClassServer, OutcomeNotExecuted, beforeObjects, "too early"}
	meansNotSupported      = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "request not supported"}
	meansServerError       = meaning{ClassServer, OutcomeUnknown, 0, "server error"}
	meansRequestRefused    = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "request refused"}
	meansNothing           = meaning{ClassPermanent, OutcomeUnknown, 0, "status without a meaning"}
	meansNotServed         = meaning{ClassBlocked, OutcomeNotExecuted, beforeObjects, "API not served"}
	meansPathNotFound      = meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "path not found"}
	meansNamespaceNotFound = meaning{ClassBlocked, OutcomeNotExecuted, 0, "namespace not found"}
	meansNotFound          = meaning{ClassPermanent, OutcomeNotExecuted, 0, "not found"}
	meansForeignConflict   = meaning{ClassConflict, OutcomeUnknown, 0, "conflict of unknown origin"}
	meansQuotaRace         = meaning{ClassServer, OutcomeNotExecuted, beside, "race for the quota's status"}
	meansBudgetRace        = meaning{ClassServer, OutcomeNotExecuted, beside, "race for the disruption budget's status"}
	meansBindingFault      = meaning{ClassServer, OutcomeUnknown, 0, "storage fault during a binding"}
	meansConflict          = meaning{ClassConflict, OutcomeNotExecuted, 0, "conflict"}
	meansAggregatedDown    = meaning{ClassServer, OutcomeNotExecuted, beside | beforeObjects, "aggregated server not available"}
	meansKindUnknown       = meaning{ClassBlocked, OutcomeNotExecuted, 0, "kind unknown to a mutating policy"}
	meansBackendNotReached = meaning{ClassServer, OutcomeNotExecuted, beside | beforeObjects, "backend not reached"}
	meansUnavailable       = meaning{ClassServer, OutcomeUnknown, 0, "service unavailable"}
	meansBackendRedirects  = meaning{ClassPermanent, OutcomeNotExecuted, 0, "backend redirects"}
	meansInternalError     = meaning{ClassServer, OutcomeUnknown, 0, "internal error"}
	meansQuotaExceeded     = meaning{ClassBlocked, OutcomeNotExecuted, 0, "exceeded quota"}
	meansQuotaInsufficient = meaning{ClassBlocked, OutcomeNotExecuted, 0, "insufficient quota"}
	meansQuotaUnknown      = meaning{ClassBlocked, OutcomeNotExecuted, 0, "status unknown for quota"}
	meansNoServiceAccount  = meaning{ClassBlocked, OutcomeNotExecuted, 0, "service account not found"}
	meansAdmissionStarting = meaning{ClassServer, OutcomeNotExecuted, beforeObjects, "admission not yet ready"}
	meansDefinitionEnds    = meaning{ClassPermanent, OutcomeNotExecuted, 0, "custom resource definition is being terminated"}
	meansShuttingDown      = meaning{ClassServer, OutcomeNotExecuted, beforeObjects, "server is shutting down"}
	meansServerStarting    = meaning{ClassServer, OutcomeNotExecuted, beforeObjects, "server is starting"}
	meansNoEndpoints       = meaning{ClassServer, OutcomeNotExecuted, beside | beforeObjects, "service without endpoints"}
	meansNoPeer            = meaning{ClassServer, OutcomeNotExecuted, beside | beforeObjects, "peer server not found"}
	meansWebhookFailed     = meaning{ClassServer, OutcomeNotExecuted, beside, "failed calling webhook"}
	meansConversionFailed  = meaning{ClassServer, OutcomeUnknown, beside, "conversion webhook failed"}
	meansQuotaTimedOut     = meaning{ClassServer, OutcomeNotExecuted, beside, "quota evaluation timed out"}
	meansRequestCut        = meaning{ClassServer, OutcomeNotExecuted, beforeObjects, "request body cut"}
	meansVersionOnCreate   = meaning{ClassPermanent, OutcomeNotExecuted, 0, "resourceVersion set on create"}
	meansTwoBudgets        = meaning{ClassPermanent, OutcomeNotExecuted, 0, "more than one disruption budget"}
	meansTooLargeForEtcd   = meaning{ClassPermanent, OutcomeNotExecuted, 0, "object too large for etcd"}
	meansEtcdBusy          = meaning{ClassServer, OutcomeNotExecuted, 0, "too many requests for etcd"}
	meansEtcdFull          = meaning{ClassBlocked, OutcomeUnknown, 0, "etcd is full"}
	meansEtcdTimedOut      = meaning{ClassServer, OutcomeUnknown, 0, "etcd timed out"}
	meansEtcdNewLeader     = meaning{ClassServer, OutcomeUnknown, 0, "etcd changed its leader"}
	meansEtcdNoLeader      = meaning{ClassServer, OutcomeUnknown, 0, "etcd has no leader"}
	meansEtcdLost          = meaning{ClassServer, OutcomeUnknown, 0, "connection to etcd lost"}
)
