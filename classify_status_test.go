// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry"
)

var (
	pods         = schema.GroupResource{Resource: "pods"}
	errRemodeled = errors.New("the object has been modified; please apply your changes to the latest version and try again")
)

// situation is a row of the tables: an error and what it means.
type situation struct {
	name    string
	err     error
	class   k8sretry.Class
	outcome k8sretry.Outcome
	after   time.Duration
}

// holds asserts that the error, bare and wrapped, means what the row says.
func (s situation) holds(t *testing.T) {
	t.Helper()
	for name, err := range map[string]error{
		"bare":        s.err,
		"wrapped":     fmt.Errorf("reconciling web: %w", s.err),
		"two %w":      fmt.Errorf("%w: %w", errors.New("error of the caller"), s.err),
		"joined":      errors.Join(errors.New("error of the caller"), s.err),
		"joined last": errors.Join(s.err, errors.New("error of the caller")),
		"aggregate":   aggregate(s.err),
	} {
		v := k8sretry.Classify(err)
		assert.Equal(t, s.class, v.Class, "class, %s: %v", name, v)
		assert.Equal(t, s.outcome, v.Outcome, "outcome, %s: %v", name, v)
		assert.Equal(t, s.after, v.RetryAfter, "retry after, %s: %v", name, v)
		assert.NotEmpty(t, v.Detail, "detail, %s", name)
	}
}

func run(t *testing.T, situations []situation) {
	t.Helper()
	for _, s := range situations {
		t.Run(s.name, s.holds)
	}
}

// failure is a status as the server sends it. client-go takes it from the body.
func failure(code int32, reason metav1.StatusReason, message string) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}}
}

// about adds details to a status.
func about(err *apierrors.StatusError, group, kind, name string, causes ...metav1.StatusCause) *apierrors.StatusError {
	err.ErrStatus.Details = &metav1.StatusDetails{Group: group, Kind: kind, Name: name, Causes: causes}
	return err
}

// delayed adds retryAfterSeconds to a status.
func delayed(err *apierrors.StatusError, seconds int32) *apierrors.StatusError {
	if err.ErrStatus.Details == nil {
		err.ErrStatus.Details = &metav1.StatusDetails{}
	}
	err.ErrStatus.Details.RetryAfterSeconds = seconds
	return err
}

// caused adds a cause to a status.
func caused(err *apierrors.StatusError, cause metav1.CauseType, message string) *apierrors.StatusError {
	if err.ErrStatus.Details == nil {
		err.ErrStatus.Details = &metav1.StatusDetails{}
	}
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: cause, Message: message})
	return err
}

// generic is the status that client-go makes of a response whose body is no Status.
func generic(code int, method, body string, seconds int) *apierrors.StatusError {
	return apierrors.NewGenericServerResponse(code, method, pods, "web-0", body, seconds, true)
}

const (
	permanent  = k8sretry.ClassPermanent
	server     = k8sretry.ClassServer
	timeout    = k8sretry.ClassTimeout
	throttled  = k8sretry.ClassThrottled
	refused    = k8sretry.ClassRefused
	connection = k8sretry.ClassConnection
	disruption = k8sretry.ClassDisruptionBudget
	conflict   = k8sretry.ClassConflict
	blocked    = k8sretry.ClassBlocked
	unusable   = k8sretry.ClassBadResponse
	canceled   = k8sretry.ClassCanceled

	never = k8sretry.OutcomeNotExecuted
	maybe = k8sretry.OutcomeUnknown
	did   = k8sretry.OutcomeExecuted
)

// A proxy can send every code with a page of its own.
func TestResponseThatIsNoStatusIsClassifiedByItsCode(t *testing.T) {
	type meaning struct {
		class   k8sretry.Class
		outcome k8sretry.Outcome
	}
	special := map[int]meaning{
		401: {blocked, never},
		408: {server, maybe},
		425: {server, never},
		429: {throttled, never},
		501: {permanent, never},
		503: {server, maybe},
		504: {timeout, maybe},
		505: {permanent, never},
		506: {permanent, never},
		510: {permanent, never},
		511: {permanent, never},
	}
	for code := 100; code < 600; code++ {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			for _, body := range []string{"<html>proxy</html>", "unknown", ""} {
				want, ok := special[code]
				switch {
				case ok:
				case code == 409 && method == http.MethodPost:
					want = meaning{permanent, maybe}
				case code == 409:
					want = meaning{conflict, maybe}
				case code < 300:
					want = meaning{permanent, maybe}
				case code < 500:
					want = meaning{permanent, never}
				default:
					want = meaning{server, maybe}
				}
				err := generic(code, method, body, 7)
				v := k8sretry.Classify(err)
				assert.Equal(t, want, meaning{v.Class, v.Outcome}, "%s, response %d %q", method, code, body)
				assert.Equal(t, code, v.StatusCode)
				assert.Equal(t, 7*time.Second, v.RetryAfter)
				assert.False(t, k8sretry.IsRetryableConnectionError(err))
			}
		}
	}
}

func TestResponseThatIsNoStatusIsRecognisedByItsBody(t *testing.T) {
	run(t, []situation{
		{"404 of a CRD that is not yet served", generic(404, "GET", "404 page not found", 0), blocked, never, 0},
		{"404 of a proxy", generic(404, "GET", "<html>nothing here</html>", 0), permanent, never, 0},
		{"429 of an overloaded server", generic(429, "POST", "Too many requests, please try again later.", 1), throttled, never, time.Second},
		{"502 of a backend that redirects", generic(502, "GET", "the backend attempted to redirect this request, which is not permitted", 0), permanent, never, 0},
		{"502 of a load balancer", generic(502, "POST", "Bad Gateway", 0), server, maybe, 0},
		{"503 of the aggregator", generic(503, "POST", "service unavailable", 0), server, never, 0},
		{"503 of a load balancer", generic(503, "POST", "Service Unavailable", 3), server, maybe, 3 * time.Second},
		{"503, backend refused the aggregator", generic(503, "POST", "error trying to reach service: dial tcp 10.0.0.7:443: connect: connection refused", 0), server, never, 0},
		{"503, backend dropped the aggregator", generic(503, "POST", "error trying to reach service: EOF", 0), server, maybe, 0},
		{"503, egress proxy could not dial", generic(503, "POST", "error trying to reach service: proxy error from 127.0.0.1:8090 while dialing 10.0.0.7:443, code 503: 503 Service Unavailable", 0), server, never, 0},
		{"503, backend that quotes an egress proxy", generic(503, "POST", "error trying to reach service: EOF after proxy error from a while dialing b", 0), server, maybe, 0},
		{"503, egress proxy failed otherwise", generic(503, "POST", "error trying to reach service: proxy error from 127.0.0.1:8090, stream closed", 0), server, maybe, 0},
		{"503, proxy of the aggregator refused", generic(503, "POST", "error trying to reach service: proxyconnect tcp: dial tcp 10.0.0.7:3128: connect: connection refused", 0), server, never, 0},
		{"504 in text", generic(504, "POST", "Timeout: request did not complete within the allotted timeout", 0), timeout, maybe, 0},
		{"400 to HTTP on a TLS port", generic(400, "GET", "Client sent an HTTP request to an HTTPS server.", 0), permanent, never, 0},
		{"403 of a firewall that mentions quotas", generic(403, "GET", "forbidden: exceeded quota", 0), permanent, never, 0},
		{"500 of a proxy that mentions webhooks", generic(500, "POST", "failed calling webhook", 0), server, maybe, 0},
		{"500 of a proxy that mentions etcd", generic(500, "POST", "etcdserver: request is too large", 0), server, maybe, 0},
	})
}

func TestReasonDecides(t *testing.T) {
	run(t, []situation{
		{"unauthorized", apierrors.NewUnauthorized("token expired"), blocked, never, 0},
		{"forbidden by RBAC", apierrors.NewForbidden(pods, "web-0", errors.New(`User "bob" cannot get resource "pods"`)), permanent, never, 0},
		{"not found", apierrors.NewNotFound(pods, "web-0"), permanent, never, 0},
		{"parent not found", apierrors.NewNotFound(schema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"}, "web"), permanent, never, 0},
		{"already exists", apierrors.NewAlreadyExists(pods, "web-0"), permanent, never, 0},
		{"generated name taken", apierrors.NewGenerateNameConflict(pods, "web-x7f2", 1), permanent, never, time.Second},
		{"stale resource version", apierrors.NewConflict(pods, "web-0", errRemodeled), conflict, never, 0},
		{"UID of no object", apierrors.NewConflict(pods, "web-0", errors.New("uid mismatch: the provided object specified uid a, and no existing object was found")), conflict, never, 0},
		{"UID of another object", apierrors.NewConflict(pods, "web-0", errors.New("StorageError: invalid object, Code: 4, Key: /registry/pods/default/web-0, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: a, UID in object meta: b")), conflict, never, 0},
		{"UID precondition", apierrors.NewConflict(schema.GroupResource{Resource: "Pod"}, "web-0", errors.New("the UID in the precondition does not match")), conflict, never, 0},
		{"scale conflict", apierrors.NewConflict(schema.GroupResource{Group: "apps", Resource: "deployments/scale"}, "web", errRemodeled), conflict, never, 0},
		{"gone", failure(410, metav1.StatusReasonGone, "gone"), permanent, never, 0},
		{"expired", apierrors.NewResourceExpired("too old resource version"), permanent, never, 0},
		{"invalid", apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "web-0", nil), permanent, never, 0},
		{"JSON patch that does not apply", apierrors.NewGenericServerResponse(422, "", schema.GroupResource{}, "", "testing value /spec/replicas failed: test failed", 0, false), conflict, never, 0},
		{"server timeout", apierrors.NewServerTimeout(pods, "list", 2), server, maybe, 2 * time.Second},
		{"store read error", failure(500, "StorageReadError", "corrupt object"), permanent, never, 0},
		{"timeout", apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0), timeout, maybe, 0},
		{"too many requests", apierrors.NewTooManyRequests("storage is (re)initializing", 30), throttled, never, 30 * time.Second},
		{"too many requests without a code", failure(0, metav1.StatusReasonTooManyRequests, "slow down"), throttled, never, 0},
		{"event rate limit", apierrors.NewTooManyRequestsError("limit reached on type Namespace"), throttled, never, 0},
		{"bad request", apierrors.NewBadRequest("no"), permanent, never, 0},
		{"method not supported", apierrors.NewMethodNotSupported(pods, "patch"), permanent, never, 0},
		{"not acceptable", failure(406, metav1.StatusReasonNotAcceptable, "only application/json"), permanent, never, 0},
		{"too large", apierrors.NewRequestEntityTooLargeError("limit is 3145728"), permanent, never, 0},
		{"too large without a code", failure(0, metav1.StatusReasonRequestEntityTooLarge, "limit"), permanent, never, 0},
		{"unsupported media type", failure(415, metav1.StatusReasonUnsupportedMediaType, "cbor"), permanent, never, 0},
		{"internal error", apierrors.NewInternalError(errors.New("unable to transform key")), server, maybe, 0},
		{"unreadable content type", apierrors.NewInternalError(errors.New("mime: no media type")), server, maybe, 0},
		{"service unavailable", apierrors.NewServiceUnavailable("not now"), server, maybe, 0},
		{"no reason, no code", failure(0, "", "who knows"), permanent, maybe, 0},
		{"a failure with a code of success", failure(200, "", "who knows"), permanent, maybe, 0},
	})
}

// As for the predicates of apierrors.
func TestCodeDecidesWithoutAKnownReason(t *testing.T) {
	for _, reason := range []metav1.StatusReason{"", "TeapotShortAndStout"} {
		for code, want := range map[int32]situation{
			400: {class: permanent}, 401: {class: blocked}, 403: {class: permanent}, 404: {class: permanent},
			405: {class: permanent}, 406: {class: permanent}, 409: {class: conflict}, 410: {class: permanent},
			413: {class: permanent}, 415: {class: permanent}, 418: {class: permanent}, 422: {class: permanent},
			408: {class: server, outcome: maybe}, 425: {class: server}, 429: {class: throttled},
			500: {class: server, outcome: maybe}, 501: {class: permanent}, 502: {class: server, outcome: maybe},
			503: {class: server, outcome: maybe}, 504: {class: timeout, outcome: maybe},
			507: {class: server, outcome: maybe}, 508: {class: server, outcome: maybe}, 520: {class: server, outcome: maybe},
		} {
			want.err = failure(code, reason, "message")
			t.Run(fmt.Sprintf("%d %q", code, reason), want.holds)
		}
	}
	details := map[int32]string{
		400: "request not accepted", 405: "request not accepted", 406: "request not accepted", 415: "request not accepted",
		410: "resource version or continue token expired", 422: "invalid", 403: "forbidden", 404: "not found", 413: "request too large",
	}
	for code, detail := range details {
		assert.Equal(t, detail, k8sretry.Classify(failure(code, "", "")).Detail, "%d", code)
	}
}

// Where code and reason contradict each other, Classify follows the predicates of apierrors.
func TestContradictionOfCodeAndReason(t *testing.T) {
	run(t, []situation{
		{"500 that is a timeout", failure(500, metav1.StatusReasonTimeout, "x"), timeout, maybe, 0},
		{"429 with the reason of a conflict", failure(429, metav1.StatusReasonConflict, "x"), throttled, never, 0},
		{"413 with the reason of an internal error", failure(413, metav1.StatusReasonInternalError, "x"), permanent, never, 0},
		{"404 with the reason of a conflict", failure(404, metav1.StatusReasonConflict, "x"), conflict, never, 0},
		{"502 with the reason of an internal error", failure(502, metav1.StatusReasonInternalError, "x"), server, maybe, 0},
		{"501 with the reason of an internal error", failure(501, metav1.StatusReasonInternalError, "x"), permanent, never, 0},
		{"400 with the reason of an internal error", failure(400, metav1.StatusReasonInternalError, "x"), server, maybe, 0},
		{"internal error without a code", failure(0, metav1.StatusReasonInternalError, "Internal error occurred: failed calling webhook"), server, never, 0},
	})
}

func TestServerThatStartsOrStops(t *testing.T) {
	run(t, []situation{
		{"shutting down", apierrors.NewServiceUnavailable("apiserver is shutting down"), server, never, 0},
		{"paths not yet installed", delayed(apierrors.NewServiceUnavailable("the request has been made before all known HTTP paths have been installed, please try again"), 5), server, never, 5 * time.Second},
		{"storage versions not yet registered", apierrors.NewServiceUnavailable("wait for storage version registration to complete for resource: pods, last seen error: <nil>"), server, never, 0},
		{"peer unknown", apierrors.NewServiceUnavailable("Error getting ip and port info of the remote server while proxying"), server, never, 0},
		{"service proxy without endpoints", apierrors.NewServiceUnavailable(`no endpoints available for service "web"`), server, never, 0},
		{"pod proxy, refused", apierrors.NewServiceUnavailable("error trying to reach service: dial tcp 10.0.0.7:80: connect: connection refused"), server, never, 0},
		{"pod proxy, reset", apierrors.NewServiceUnavailable("error trying to reach service: read tcp 10.0.0.7:80: connection reset by peer"), server, maybe, 0},
		{"a 503 that only mentions a dial", apierrors.NewServiceUnavailable("dial tcp 10.0.0.7:80: connect: connection refused"), server, maybe, 0},
		{"service unavailable in a Status is not the aggregator", apierrors.NewServiceUnavailable("service unavailable"), server, maybe, 0},
		{"kind unknown to a mutating policy", apierrors.NewServiceUnavailable("Resource kind example.com/v1, Kind=Web not found. There can be a delay between when CustomResourceDefinitions are created and when they are available."), blocked, never, 0},
		{"a kind not found for another reason", apierrors.NewServiceUnavailable("Resource kind example.com/v1, Kind=Web not found."), server, maybe, 0},
		{"resource version ahead of the cache", caused(apierrors.NewTimeoutError("Too large resource version: 9, current: 5", 1), metav1.CauseTypeResourceVersionTooLarge, "Too large resource version"), timeout, never, time.Second},
	})
}

func TestDenialOfAWebhookIsRecognisedBeforeItsReason(t *testing.T) {
	const denied = `admission webhook "guard.example.com" denied the request`
	run(t, []situation{
		{"denied", failure(400, "", denied+": no"), permanent, never, 0},
		{"denied without explanation", failure(400, "", denied+" without explanation"), permanent, never, 0},
		{"denied with the reason of a conflict", failure(409, metav1.StatusReasonConflict, denied+": taken"), permanent, never, 0},
		{"denied with the reason of a timeout", failure(504, metav1.StatusReasonTimeout, denied+": slow"), permanent, never, 0},
		{"denied with 500", failure(500, metav1.StatusReasonInternalError, denied+": etcdserver: request timed out"), permanent, never, 0},
		{"denied, quoting a webhook that could not be called", failure(500, metav1.StatusReasonInternalError, denied+": Internal error occurred: failed calling webhook"), permanent, never, 0},
		{"denied about a quota", about(failure(409, metav1.StatusReasonConflict, denied), "", "resourcequotas", "q"), permanent, never, 0},
		{"denied with the cause of a disruption budget", caused(failure(429, metav1.StatusReasonTooManyRequests, denied), "DisruptionBudget", "x"), permanent, never, 0},
		{"denied with 429", failure(429, metav1.StatusReasonTooManyRequests, denied), permanent, never, 0},
		{"denied with 429 and a delay", delayed(failure(429, metav1.StatusReasonTooManyRequests, denied), 7), blocked, never, 7 * time.Second},
		{"denied with 503 and a delay", delayed(failure(503, metav1.StatusReasonServiceUnavailable, denied), 7), blocked, never, 7 * time.Second},
		{"denied with 500 and a delay", delayed(failure(500, metav1.StatusReasonInternalError, denied), 7), permanent, never, 7 * time.Second},
		{"a message that only begins like a denial", failure(503, metav1.StatusReasonServiceUnavailable, `admission webhook "guard.example.com" is loading`), server, maybe, 0},
		{"a message that quotes a denial", apierrors.NewInternalError(errors.New("job failed: " + denied)), server, maybe, 0},
		{"dry run unsupported", apierrors.NewBadRequest(`admission webhook "guard.example.com" does not support dry run`), permanent, never, 0},
		{"could not be called", apierrors.NewInternalError(errors.New(`failed calling webhook "guard.example.com": failed to call webhook: Post "https://guard.default.svc:443/?timeout=10s": dial tcp 10.0.0.9:443: connect: connection refused`)), server, never, 0},
		{"could not be called, quoting etcd", apierrors.NewInternalError(errors.New(`failed calling webhook "guard.example.com": etcdserver: request is too large`)), server, never, 0},
		{"timeout while webhooks were called", apierrors.NewTimeoutError("request did not complete within requested timeout", 0), timeout, maybe, 0},
		{"denied by a policy with 401", failure(401, metav1.StatusReasonUnauthorized, `pods "web-0" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no`), permanent, never, 0},
		{"denied by a policy", failure(422, metav1.StatusReasonInvalid, `pods "web-0" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no`), permanent, never, 0},
	})
}

func TestAdmissionQuotasAndNamespaces(t *testing.T) {
	forbidden := func(cause string) *apierrors.StatusError {
		return apierrors.NewForbidden(pods, "web-0", errors.New(cause))
	}
	run(t, []situation{
		{"namespace terminating", caused(forbidden("unable to create new content in namespace a because it is being terminated"), "NamespaceTerminating", "x"), permanent, never, 0},
		{"definition terminating", forbidden("create not allowed while custom resource definition is terminating"), permanent, never, 0},
		{"exceeded quota", forbidden("exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5"), blocked, never, 0},
		{"insufficient quota", forbidden("insufficient quota to consume: pods"), blocked, never, 0},
		{"insufficient quota for the scopes", failure(500, "", "insufficient quota to match these scopes: [...]"), blocked, never, 0},
		{"status unknown for quota", forbidden("status unknown for quota: q, resources: pods"), blocked, never, 0},
		{"a denial that mentions quotas", forbidden(`User "exceeded quota" cannot create resource "pods"`), permanent, never, 0},
		{"conflict on the status of a quota", apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "q", errRemodeled), server, never, 0},
		{"conflict on the status of a quota, OpenShift", apierrors.NewConflict(schema.GroupResource{Group: "quota.openshift.io", Resource: "clusterresourcequotas"}, "q", errRemodeled), server, never, 0},
		{"quota evaluation timed out", apierrors.NewInternalError(errors.New("resource quota evaluation timed out")), server, never, 0},
		{"admission not ready", forbidden("not yet ready to handle request"), server, never, 0},
		{"service account not found", forbidden(`error looking up service account a/default: serviceaccount "default" not found`), blocked, never, 0},
		{"namespace not found", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "a"), blocked, never, 0},
		{"field owned by another manager", caused(apierrors.NewConflict(pods, "web-0", errors.New("conflict with kubectl")), metav1.CauseTypeFieldManagerConflict, "x"), permanent, never, 0},
	})
}

func TestStorageErrors(t *testing.T) {
	etcd := func(message string) error { return failure(500, "", message) }
	run(t, []situation{
		{"timed out", etcd("etcdserver: request timed out"), server, maybe, 0},
		{"timed out, leader failed", etcd("etcdserver: request timed out, possibly due to previous leader failure"), server, maybe, 0},
		{"leader changed", etcd("etcdserver: leader changed"), server, maybe, 0},
		{"no leader", etcd("etcdserver: no leader"), server, maybe, 0},
		{"stopped", etcd("etcdserver: server stopped"), server, maybe, 0},
		{"connection lost", etcd("rpc error: code = Unavailable desc = error reading from server: EOF"), server, maybe, 0},
		{"could not dial", etcd("rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial tcp 127.0.0.1:2379: connect: connection refused\""), server, maybe, 0},
		{"deadline", etcd("context deadline exceeded"), server, maybe, 0},
		{"canceled", etcd("context canceled"), server, maybe, 0},
		{"proposal dropped", etcd("raft proposal dropped"), server, maybe, 0},
		{"too many requests", etcd("etcdserver: too many requests"), server, never, 0},
		{"too large", etcd("etcdserver: request is too large"), permanent, never, 0},
		{"too large, in an internal error", apierrors.NewInternalError(errors.New("etcdserver: request is too large")), permanent, never, 0},
		{"message too large", etcd("rpc error: code = ResourceExhausted desc = trying to send message larger than max (2097160 vs. 2097152)"), permanent, never, 0},
		{"full", etcd("etcdserver: mvcc: database space exceeded"), blocked, maybe, 0},
		{"resource version on create", etcd("resourceVersion should not be set on objects to be created"), permanent, never, 0},
		{"two disruption budgets", etcd("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."), permanent, never, 0},
		{"conversion webhook", etcd("conversion webhook for example.com/v1, Kind=Web failed: EOF"), server, maybe, 0},
		{"conversion webhook, quoting etcd", etcd("conversion webhook for example.com/v1, Kind=Web failed: etcdserver: request is too large"), server, maybe, 0},
		{"request body truncated", etcd("request declared a Content-Length of 512 but only wrote 0 bytes"), server, never, 0},
		{"kubelet not reached", etcd("error dialing backend: dial tcp 10.0.0.3:10250: connect: connection refused"), server, never, 0},
		{"anything else", etcd("no kind \"Web\" is registered"), server, maybe, 0},
	})
	for message, detail := range map[string]string{
		"etcdserver: request timed out":                       "etcd timed out",
		"etcdserver: leader changed":                          "etcd leader changed",
		"etcdserver: no leader":                               "etcd has no leader",
		"rpc error: code = Unavailable desc = EOF":            "connection to etcd lost",
		"conversion webhook for example.com/v1 failed":        "conversion webhook failed",
		"error dialing backend: EOF":                          "backend unreachable",
		"Internal error occurred: unable to transform key":    "internal error",
		"Internal error occurred: etcdserver: request is too": "internal error",
	} {
		assert.Equal(t, detail, k8sretry.Classify(etcd(message)).Detail, message)
	}
}

// A 500 was taken for a fault of the server. kube-apiserver also sends it for errors of the
// client that it has not converted, all of them before anything is stored.
func TestErrorsOfTheClientThatTheServerReportsAs500(t *testing.T) {
	for _, message := range []string{
		`failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema`,
		`failed to create typed live object (default/web; example.com/v1, Kind=Web): .spec.a: expected string, got 1`,
		`map: map[image:nginx] does not contain declared merge key: name`,
		`unknown patch type: shuffle in map: map[$patch:shuffle]`,
		"The order in patch list:\n[map[name:a] map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:b] map[name:a]]\n",
		`unable to find api field in struct PodSpec for the json field "container"`,
		`unable to find api field "container"`,
		`invalid value for special key: $patch`,
		`cannot merge lists without merge key for io.k8s.api.core.v1.PodSpec`,
		`merging lists cannot yet be specified in the patch`,
		`value for key name is not a map`,
		`list element types are not identical: [int string]`,
		`invalid element type in merging list:[1]`,
		"cannot find merge key `name` in merging list element:map[image:nginx]",
		`unexpected patch strategy: [replace merge]`,
		`expected a map, but received a slice`,
		`strconv.ParseUint: parsing "abc": invalid syntax`,
		`target.name: Required value`,
		`target.kind: Unsupported value: "Pod": supported values: "<empty>", "Node"`,
		`[target.kind: Unsupported value: "Pod": supported values: "<empty>", "Node", target.name: Required value]`,
		`target.name: Invalid value: "A": a lowercase RFC 1123 subdomain`,
	} {
		for _, message := range []string{message, "Internal error occurred: " + message} {
			situation{message, failure(500, "", message), permanent, never, 0}.holds(t)
			situation{message, failure(500, "", "stored, but the audit failed: "+message), server, maybe, 0}.holds(t)
			situation{message, generic(500, "POST", message, 0), server, maybe, 0}.holds(t)
		}
	}
}

// A text was believed wherever it stood in a message. But a server may quote the error of
// another one after it has stored something itself. So a text that says that nothing was
// executed counts at the beginning of a message only.
func TestOnlyTheBeginningOfAMessageSaysThatNothingWasExecuted(t *testing.T) {
	for _, text := range []string{
		"etcdserver: too many requests", "etcdserver: request is too large",
		"rpc error: code = ResourceExhausted desc = trying to send message larger than max (9 vs. 5)",
		"request declared a Content-Length of 512 but only wrote 0 bytes",
		"failed calling webhook \"guard.example.com\": EOF", "resource quota evaluation timed out",
		"error dialing backend: EOF", "resourceVersion should not be set on objects to be created",
	} {
		quoted := k8sretry.Classify(failure(500, metav1.StatusReasonInternalError, "order 7 is stored, but not its copy: "+text))
		assert.Equal(t, maybe, quoted.Outcome, text)
		assert.False(t, quoted.Retryable(k8sretry.VerbCreate), text)
		assert.Equal(t, never, k8sretry.Classify(failure(500, "", text)).Outcome, text)
		assert.Equal(t, never, k8sretry.Classify(apierrors.NewInternalError(errors.New(text))).Outcome, text)
	}
	for _, text := range []string{
		"apiserver is shutting down", "wait for storage version registration", "error trying to reach service: dial tcp: refused",
		"no endpoints available for service", "Error getting ip and port info of the remote server",
	} {
		quoted := k8sretry.Classify(apierrors.NewServiceUnavailable("order 7 is stored, but not its copy: " + text))
		assert.Equal(t, maybe, quoted.Outcome, text)
		assert.Equal(t, never, k8sretry.Classify(apierrors.NewServiceUnavailable(text)).Outcome, text)
	}
	assert.Equal(t, maybe, k8sretry.Classify(generic(502, "POST", "stored; the backend attempted to redirect this request", 0)).Outcome)

	for message, want := range map[string]k8sretry.Class{
		`forbidden: not yet ready to handle request`:                                                server,
		`pods is forbidden: not yet ready to handle request`:                                        server,
		`pods "web-0" is forbidden: not yet ready to handle request`:                                server,
		`order 7 is stored, its pod is forbidden: not yet ready to handle request`:                  permanent,
		`pods "web-0" and pods "web-1" stored; web-2 is forbidden: not yet ready to handle request`: permanent,
		`stored, but forbidden: not yet ready to handle request`:                                    permanent,
	} {
		assert.Equal(t, want, k8sretry.Classify(failure(403, metav1.StatusReasonForbidden, message)).Class, message)
	}
}

// AlreadyExists was taken for an object that stays. The server says when it will be gone.
func TestNameOfAnObjectThatIsBeingDeletedIsBlocked(t *testing.T) {
	deleting := apierrors.NewAlreadyExists(pods, "web-0")
	deleting.ErrStatus.Message = "object is being deleted: " + deleting.ErrStatus.Message
	quoting := failure(409, metav1.StatusReasonAlreadyExists, `pods "web-0" already exists: object is being deleted: x`)
	run(t, []situation{
		{"being deleted", deleting, blocked, never, 0},
		{"a message that quotes it", quoting, permanent, never, 0},
		{"in a response that is no Status", generic(409, "POST", "object is being deleted: x", 0), permanent, maybe, 0},
	})
}

// Every 422 was taken for an invalid object. A JSON patch that does not apply to the object
// as it is gets the same code and reason, without details.
func TestJSONPatchThatDoesNotApplyIsAConflict(t *testing.T) {
	patch := func() *apierrors.StatusError {
		return apierrors.NewGenericServerResponse(422, "", schema.GroupResource{}, "", "testing value /a failed: test failed", 0, false)
	}
	bare, kind := patch(), patch()
	bare.ErrStatus.Details = nil
	kind.ErrStatus.Details = &metav1.StatusDetails{Kind: "Pod"}
	run(t, []situation{
		{"patch", patch(), conflict, never, 0},
		{"patch, without details", bare, conflict, never, 0},
		{"about a kind", kind, permanent, never, 0},
		{"with a cause", caused(patch(), metav1.CauseTypeFieldValueInvalid, "x"), permanent, never, 0},
		{"of a proxy", generic(422, "PATCH", "x", 0), permanent, never, 0},
		{"with a message of its own", failure(422, metav1.StatusReasonInvalid, "spec is wrong"), permanent, never, 0},
	})
}

// The assumption was that every invalid object remains invalid. An address or a port may be
// that of a Service which is deleted later, or which the same call has created.
func TestAllocatedAddressIsBlocked(t *testing.T) {
	invalid := func(message string) *apierrors.StatusError {
		return about(failure(422, metav1.StatusReasonInvalid, message), "", "Service", "web", metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid})
	}
	run(t, []situation{
		{"address", invalid(`Service "web" is invalid: spec.clusterIPs: Invalid value: []string{"10.0.0.10"}: failed to allocate IP 10.0.0.10: provided IP is already allocated`), blocked, never, 0},
		{"port", invalid(`Service "web" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated`), blocked, never, 0},
		{"out of range", invalid(`Service "web" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range`), permanent, never, 0},
		{"denied by a webhook", failure(422, "", `admission webhook "a" denied the request: provided port is already allocated`), permanent, never, 0},
	})
}

// Behind "error trying to reach service" only a failed dial was recognised. The text there is
// that of any error of net/http.
func TestErrorsBetweenTheServerAndABackendMeanWhatTheyMeanElsewhere(t *testing.T) {
	for text, want := range map[string]situation{
		"http2: Transport received Server's graceful shutdown GOAWAY":                           {class: server},
		"http2: Transport received GOAWAY from server ErrCode:ENHANCE_YOUR_CALM":                {class: server},
		"http2: Transport: cannot retry err [x] after Request.Body was written; define":         {class: server},
		"http2: client conn could not be established":                                           {class: server},
		"http2: client conn not usable":                                                         {class: server},
		"stream error: stream ID 3; REFUSED_STREAM; received from peer":                         {class: server},
		"net/http: TLS handshake timeout":                                                       {class: server},
		"net/http: request canceled while waiting for connection":                               {class: server},
		"dial tcp: lookup web.default.svc on 10.0.0.10:53: no such host":                        {class: server},
		"x509: certificate has expired or is not yet valid":                                     {class: permanent},
		"tls: failed to verify certificate: x509: certificate signed by unknown authority":      {class: permanent},
		"remote error: tls: bad certificate":                                                    {class: permanent},
		"http: server gave HTTP response to HTTPS client":                                       {class: permanent},
		`malformed HTTP response "\x15\x03\x01\x00\x02\x02"`:                                    {class: permanent},
		"remote error: tls: bad record MAC":                                                     {class: server, outcome: maybe},
		"tls: protocol is shutdown":                                                             {class: server, outcome: maybe},
		"http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR": {class: server, outcome: maybe},
		"http2: client connection lost":                                                         {class: server, outcome: maybe},
		"stream error: stream ID 3; INTERNAL_ERROR; received from peer":                         {class: server, outcome: maybe},
		"stream error: stream ID 3; INTERNAL_ERROR; REFUSED_STREAM":                             {class: server, outcome: maybe},
		"context deadline exceeded":                                                             {class: server, outcome: maybe},
		"EOF":                                                                                   {class: server, outcome: maybe},
		"EOF, and later net/http: TLS handshake timeout":                                        {class: server, outcome: maybe},
	} {
		for name, err := range map[string]error{
			"aggregated API":       generic(503, "POST", "error trying to reach service: "+text, 0),
			"service or pod proxy": apierrors.NewServiceUnavailable("error trying to reach service: " + text),
		} {
			want.err = err
			t.Run(name+", "+text, want.holds)
		}
	}
}

// The prefix for a failed dial was taken to say all. What follows it is the text of any error of
// a dial or a handshake.
func TestServerThatCannotDialAKubelet(t *testing.T) {
	for cause, class := range map[string]k8sretry.Class{
		"dial tcp 10.0.0.3:10250: connect: connection refused": server,
		"dial tcp 10.0.0.3:10250: i/o timeout":                 server,
		"No agent available":                                   server,
		"EOF":                                                  server,
		"remote error: tls: internal error":                    server,
		"tls: failed to verify certificate: x509: cannot validate certificate for 10.0.0.3 because it doesn't contain any IP SANs": permanent,
		"x509: certificate has expired or is not yet valid":                                                                        permanent,
		"remote error: tls: bad certificate":                                                                                       permanent,
	} {
		message := "error dialing backend: " + cause
		situation{cause, failure(500, "", message), class, never, 0}.holds(t)
		situation{cause, apierrors.NewInternalError(errors.New(message)), class, never, 0}.holds(t)
	}
}

func TestEvictionsAndBindings(t *testing.T) {
	evict := func(code int32, reason metav1.StatusReason, seconds int32) error {
		return caused(delayed(failure(code, reason, "Cannot evict pod as it would violate the pod's disruption budget."), seconds), "DisruptionBudget", "x")
	}
	bind := func(cause string) error {
		return apierrors.NewConflict(schema.GroupResource{Resource: "pods/binding"}, "web-0", errors.New(cause))
	}
	run(t, []situation{
		{"eviction, none allowed", evict(429, metav1.StatusReasonTooManyRequests, 0), disruption, never, 0},
		{"eviction, budget not yet observed", evict(429, metav1.StatusReasonTooManyRequests, 10), throttled, never, 10 * time.Second},
		{"eviction, budget negative", evict(403, metav1.StatusReasonForbidden, 0), blocked, never, 0},
		{"eviction, conflict on the status of the budget", apierrors.NewConflict(schema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"}, "web", errRemodeled), server, never, 0},
		{"eviction, pod replaced", apierrors.NewConflict(schema.GroupResource{Resource: "Pod"}, "web-0", errors.New("the UID in the precondition does not match")), conflict, never, 0},
		{"binding, already assigned", bind(`pod web-0 is already assigned to node "a"`), conflict, never, 0},
		{"binding, pod being deleted", bind("pod web-0 is being deleted, cannot be assigned to a host"), conflict, never, 0},
		{"binding, etcd timed out", bind("etcdserver: request timed out"), server, maybe, 0},
		{"binding, etcd lost", bind("rpc error: code = Unavailable desc = EOF"), server, maybe, 0},
		{"binding, proposal dropped", bind("raft proposal dropped"), server, maybe, 0},
		{"binding, deadline", bind("context deadline exceeded"), server, maybe, 0},
		{"binding, canceled", bind("context canceled"), server, maybe, 0},
		{"binding, without a text", about(failure(409, metav1.StatusReasonConflict, "conflict"), "", "pods/binding", "web-0"), conflict, never, 0},
		{"a conflict elsewhere that quotes etcd", apierrors.NewConflict(pods, "web-0", errors.New("etcdserver: request timed out")), conflict, never, 0},
	})
}

// Texts may change, but people who read logs depend on them.
func TestDetailNamesTheStatus(t *testing.T) {
	forbidden := func(cause string) error { return apierrors.NewForbidden(pods, "web-0", errors.New(cause)) }
	for detail, err := range map[string]error{
		"not authorized": forbidden(`User "bob" cannot get resource "pods"`),
		"forbidden":      generic(403, "GET", "no", 0),
		"path not found": generic(404, "GET", "<html>", 0),
		"API not served": generic(404, "GET", "404 page not found", 0),
		"conflict in a response that is no Status":       generic(409, "POST", "x", 0),
		"backend attempted to redirect":                  generic(502, "GET", "the backend attempted to redirect this request", 0),
		"server error":                                   generic(502, "GET", "x", 0),
		"request not supported":                          generic(501, "GET", "x", 0),
		"request rejected":                               generic(418, "GET", "x", 0),
		"request timeout":                                generic(408, "GET", "x", 0),
		"too early":                                      generic(425, "GET", "x", 0),
		"status without a known code or reason":          failure(0, "", ""),
		"aggregated API server unavailable":              generic(503, "GET", "service unavailable", 0),
		"backend unreachable":                            generic(503, "GET", "error trying to reach service: dial tcp", 0),
		"service unavailable":                            apierrors.NewServiceUnavailable("x"),
		"server is shutting down":                        apierrors.NewServiceUnavailable("apiserver is shutting down"),
		"server is starting":                             apierrors.NewServiceUnavailable("wait for storage version registration"),
		"service has no endpoints":                       apierrors.NewServiceUnavailable("no endpoints available for service"),
		"peer server not found":                          apierrors.NewServiceUnavailable("Error getting ip and port info of the remote server"),
		"kind unknown to a mutating policy":              apierrors.NewServiceUnavailable("Resource kind x not found. There can be a delay between when CustomResourceDefinitions are created and when"),
		"stored object cannot be read":                   failure(500, "StorageReadError", ""),
		"not completed by the server":                    failure(500, metav1.StatusReasonServerTimeout, ""),
		"server timed out":                               failure(504, metav1.StatusReasonTimeout, ""),
		"resource version too large":                     caused(failure(504, metav1.StatusReasonTimeout, ""), metav1.CauseTypeResourceVersionTooLarge, ""),
		"resource version or continue token expired":     apierrors.NewResourceExpired(""),
		"address or port already allocated":              failure(422, metav1.StatusReasonInvalid, "provided port is already allocated"),
		"invalid":                                        failure(422, metav1.StatusReasonInvalid, ""),
		"request not accepted":                           apierrors.NewBadRequest(""),
		"request too large":                              failure(413, "", ""),
		"already exists":                                 apierrors.NewAlreadyExists(pods, "web-0"),
		"conflict":                                       apierrors.NewConflict(pods, "web-0", errRemodeled),
		"conflict on the UID":                            apierrors.NewConflict(pods, "web-0", errors.New("uid mismatch: the provided object specified uid a, and no existing object was found")),
		"conflict on the status of a quota":              about(failure(409, metav1.StatusReasonConflict, ""), "", "resourcequotas", "q"),
		"conflict on the status of a disruption budget":  about(failure(409, metav1.StatusReasonConflict, ""), "", "poddisruptionbudgets", "q"),
		"storage failed during a binding":                about(failure(409, metav1.StatusReasonConflict, `x": etcdserver: x`), "", "pods/binding", "q"),
		"field owned by another manager":                 caused(failure(409, metav1.StatusReasonConflict, ""), metav1.CauseTypeFieldManagerConflict, ""),
		"namespace is being terminated":                  caused(failure(403, metav1.StatusReasonForbidden, ""), "NamespaceTerminating", ""),
		"namespace not found":                            about(failure(404, metav1.StatusReasonNotFound, ""), "", "namespaces", "a"),
		"not found":                                      apierrors.NewNotFound(pods, "web-0"),
		"credentials not accepted":                       apierrors.NewUnauthorized(""),
		"denied by an admission policy":                  failure(401, metav1.StatusReasonUnauthorized, "ValidatingAdmissionPolicy '"),
		"denied by a webhook":                            failure(400, "", `admission webhook "x" denied the request`),
		"denied by a webhook, with a Retry-After":        delayed(failure(429, "", `admission webhook "x" denied the request`), 1),
		"exceeded quota":                                 forbidden("exceeded quota"),
		"insufficient quota":                             forbidden("insufficient quota"),
		"status unknown for quota":                       forbidden("status unknown for quota"),
		"service account not found":                      forbidden("error looking up service account"),
		"admission not ready":                            forbidden("not yet ready to handle request"),
		"custom resource definition is being terminated": forbidden("create not allowed while custom resource definition is terminating"),
		"too many requests":                              failure(429, "", ""),
		"disruption budget has an invalid status":        caused(failure(403, "", ""), "DisruptionBudget", ""),
		"disruption budget allows no eviction":           caused(failure(429, "", ""), "DisruptionBudget", ""),
		"disruption budget still being processed":        caused(delayed(failure(429, "", ""), 1), "DisruptionBudget", ""),
		"failed calling webhook":                         failure(500, "", "failed calling webhook"),
		"quota evaluation timed out":                     failure(500, "", "resource quota evaluation timed out"),
		"resourceVersion set on a create":                failure(500, "", "resourceVersion should not be set on objects to be created"),
		"more than one disruption budget":                failure(500, "", "This pod has more than one PodDisruptionBudget"),
		"object too large for etcd":                      failure(500, "", "etcdserver: request is too large"),
		"too many requests to etcd":                      failure(500, "", "etcdserver: too many requests"),
		"etcd is full":                                   failure(500, "", "etcdserver: mvcc: database space exceeded"),
		"patch cannot be applied":                        failure(500, "", "unknown patch type: a in map: b"),
		"stored object does not fit the schema":          failure(500, "", "failed to create typed live object (a): b"),
		"malformed resourceVersion":                      failure(500, "", "strconv.ParseUint: parsing \"a\""),
		"invalid target of a binding":                    failure(500, "", "target.name: Required value"),
		"name taken by an object that is being deleted":  failure(409, metav1.StatusReasonAlreadyExists, "object is being deleted: x"),
		"JSON patch does not apply":                      apierrors.NewGenericServerResponse(422, "", schema.GroupResource{}, "", "x", 0, false),
		"TLS handshake with the backend failed":          generic(503, "GET", "error trying to reach service: x509: x", 0),
		"request body truncated":                         failure(500, "", "request declared a Content-Length of 5 but only wrote 0 bytes"),
	} {
		assert.Equal(t, detail, k8sretry.Classify(err).Detail)
	}
	assert.Equal(t, "conflict in a response that is no Status", k8sretry.Classify(generic(409, "PUT", "x", 0)).Detail)
}

func TestRetryAfterOfAStatusIsInItsDetails(t *testing.T) {
	for seconds, want := range map[int32]time.Duration{
		0: 0, -1: 0, -1 << 31: 0, 1: time.Second, 7: 7 * time.Second, 86400: 24 * time.Hour, 1<<31 - 1: (1<<31 - 1) * time.Second,
	} {
		for _, code := range []int32{200, 403, 404, 409, 429, 500, 503} {
			v := k8sretry.Classify(delayed(failure(code, "", ""), seconds))
			assert.Equal(t, want, v.RetryAfter, "%d with %d seconds", code, seconds)
			assert.GreaterOrEqual(t, v.RetryAfter, time.Duration(0))
		}
	}
	assert.Zero(t, k8sretry.Classify(failure(429, "", "")).RetryAfter, "no details")
}

func TestStatusThatQuotesANetworkErrorIsNoConnectionError(t *testing.T) {
	for _, message := range []string{
		"read tcp 10.0.0.7:443: connection reset by peer", "EOF", "http2: client connection lost",
		"http2: server sent GOAWAY and closed the connection", "use of closed network connection", "context canceled",
	} {
		err := failure(500, metav1.StatusReasonInternalError, message)
		assert.False(t, k8sretry.IsRetryableConnectionError(err), message)
		assert.True(t, k8sretry.IsRetryableK8sError(err), message)
		assert.Equal(t, server, k8sretry.Classify(err).Class, message)
	}
}
