// SPDX-License-Identifier: Apache-2.0

package k8sretry

import "strings"

// The texts that decide what an error means, where neither a code, a reason, a cause nor a
// Go type does.
//
// To add a text, add a line to one of these tables, with a meaning of its own or one of
// those in classify_meanings.go, and a row to errorsPage in docs_test.go. Then
// go test -run TestErrorsPage . -update writes the row to docs/errors.md.

// textMeaning is a text of an error and what it means.
type textMeaning struct {
	text  string
	means *meaning
}

// findPrefix returns the meaning of the first entry whose text is a prefix of s, nil if
// there is none.
func findPrefix(table []textMeaning, s string) *meaning {
	for i := range table {
		e := &table[i]
		if len(s) >= len(e.text) && s[0] == e.text[0] && s[:len(e.text)] == e.text {
			return e.means
		}
	}
	return nil
}

// forbiddenTexts are prefixes of the cause of a 403. The causes come from the admission
// plugins of kube-apiserver and from its authorizer.
var forbiddenTexts = []textMeaning{
	{"exceeded quota", &meaning{ClassBlocked, OutcomeNotExecuted, 0, "exceeded quota"}},
	{"insufficient quota", &meansQuotaInsufficient},
	{"status unknown for quota", &meaning{ClassBlocked, OutcomeNotExecuted, 0, "status unknown for quota"}},
	{"error looking up service account", &meaning{ClassBlocked, OutcomeNotExecuted, 0, "service account not found"}},
	{`User "`, &meaning{ClassPermanent, OutcomeNotExecuted, beforeObjects, "not authorized"}},
	{"not yet ready to handle request", &meaning{ClassServer, OutcomeNotExecuted, beforeObjects, "admission not ready"}},
	{"create not allowed while custom resource definition is terminating",
		&meaning{ClassPermanent, OutcomeNotExecuted, 0, "custom resource definition is being terminated"}},
}

// forbiddenCause returns the cause in a message that apierrors.NewForbidden has made:
//
//	forbidden: CAUSE
//	pods is forbidden: CAUSE
//	pods "web-0" is forbidden: CAUSE
//
// It is "" for other messages, which may quote one of these.
func forbiddenCause(message string) string {
	object, cause, ok := strings.Cut(message, "forbidden: ")
	if !ok || object == "" {
		return cause
	}
	object, ok = strings.CutSuffix(object, " is ")
	_, name, named := strings.Cut(object, " ")
	if !ok || named && (len(name) < 2 || name[0] != '"' || name[len(name)-1] != '"') {
		return ""
	}
	return cause
}

// unavailableTexts are prefixes of the text of a 503 that was sent before the request was
// executed.
var unavailableTexts = []textMeaning{
	{"apiserver is shutting down", &meaning{ClassServer, OutcomeNotExecuted, beforeObjects, "server is shutting down"}},
	{"the request has been made before all known HTTP paths have been installed", &meansServerStarting},
	{"wait for storage version registration", &meansServerStarting},
	{"no endpoints available for service", &meaning{ClassServer, OutcomeNotExecuted, besideServer | beforeObjects, "service has no endpoints"}},
	{"Error getting ip and port info of the remote server",
		&meaning{ClassServer, OutcomeNotExecuted, besideServer | beforeObjects, "peer server not found"}},
}

// internalTexts are prefixes of the message of a 500. They are looked up before
// storageTexts, because such a message may quote one of those. Every text that says that
// nothing was executed is here: behind such a prefix, an aggregated server may report
// anything, also what failed after it has stored an object.
var internalTexts = []textMeaning{
	{"failed calling webhook", &meaning{ClassServer, OutcomeNotExecuted, besideServer, "failed calling webhook"}},
	{"conversion webhook for", &meaning{ClassServer, OutcomeUnknown, besideServer, "conversion webhook failed"}},
	{"resource quota evaluation timed out", &meaning{ClassServer, OutcomeNotExecuted, besideServer, "quota evaluation timed out"}},
	{"insufficient quota to match these scopes", &meansQuotaInsufficient},
	{"resourceVersion should not be set on objects to be created",
		&meaning{ClassPermanent, OutcomeNotExecuted, 0, "resourceVersion set on a create"}},
	{"This pod has more than one PodDisruptionBudget",
		&meaning{ClassPermanent, OutcomeNotExecuted, 0, "more than one disruption budget"}},
	// etcd and the connection to it, before anything is proposed
	{"etcdserver: request is too large", &meansTooLargeForEtcd},
	{"rpc error: code = ResourceExhausted desc = trying to send message larger than max", &meansTooLargeForEtcd},
	{"etcdserver: too many requests", &meaning{ClassServer, OutcomeNotExecuted, 0, "too many requests to etcd"}},
	{"request declared a Content-Length of", // the HTTP/2 server of net/http
		&meaning{ClassServer, OutcomeNotExecuted, beforeObjects, "request body truncated"}},
	// server-side apply: k8s.io/apimachinery/pkg/util/managedfields/internal/structuredmerge.go
	{"failed to create typed patch object (", &meansBadPatch},
	{"failed to create typed live object (", &meaning{ClassPermanent, OutcomeNotExecuted, 0, "stored object does not fit the schema"}},
	// strategic merge patches: k8s.io/apimachinery/pkg/util/strategicpatch/patch.go,
	// util/mergepatch/errors.go, third_party/forked/golang/json/fields.go
	{"The order in patch list:", &meansBadPatch},
	{"unable to find api field", &meansBadPatch},
	{"invalid value for special key: ", &meansBadPatch},
	{"cannot merge lists without merge key for ", &meansBadPatch},
	{"merging lists cannot yet be specified in the patch", &meansBadPatch},
	{"list element types are not identical: ", &meansBadPatch},
	{"invalid element type in merging list:", &meansBadPatch},
	{"cannot find merge key `", &meansBadPatch},
	{"unexpected patch strategy: ", &meansBadPatch},
	// a resourceVersion that is no number: k8s.io/apiserver/pkg/storage/api_object_versioner.go
	{"strconv.ParseUint: parsing ", &meaning{ClassPermanent, OutcomeNotExecuted, 0, "malformed resourceVersion"}},
	// pods/binding: ValidatePodBinding in k8s.io/kubernetes/pkg/apis/core/validation, an
	// Aggregate, which is in brackets if it has several members
	{"target.name: ", &meansBadBinding},
	{"target.kind: ", &meansBadBinding},
	{"[target.kind: ", &meansBadBinding},
	{"[target.name: ", &meansBadBinding},
}

// patchTexts are the beginning and a later part of the message of a 500 about a strategic
// merge patch, where what is between them comes from the patch.
var patchTexts = [...][2]string{
	{"map: ", " does not contain declared merge key: "},
	{"unknown patch type: ", " in map: "},
	{"value for key ", " is not a map"},
	{"expected a ", ", but received a "},
}

// rejectedPatch reports whether the text of a 500 says that a strategic merge patch
// cannot be applied.
func rejectedPatch(text string) bool {
	for _, t := range &patchTexts {
		if strings.HasPrefix(text, t[0]) && strings.Contains(text, t[1]) {
			return true
		}
	}
	return false
}

// storageTexts occur in the message of a 500, most of them in errors of etcd. After each
// of them the request may have been executed, or may still be: when etcd has lost its
// quorum, it stores some writes after their timeout was reported.
var storageTexts = []textMeaning{
	{"mvcc: database space exceeded", &meaning{ClassBlocked, OutcomeUnknown, 0, "etcd is full"}},
	{"etcdserver: request timed out", &meaning{ClassServer, OutcomeUnknown, 0, "etcd timed out"}},
	{"etcdserver: leader changed", &meaning{ClassServer, OutcomeUnknown, 0, "etcd leader changed"}},
	{"etcdserver: no leader", &meaning{ClassServer, OutcomeUnknown, 0, "etcd has no leader"}},
	{"rpc error: code = Unavailable", &meaning{ClassServer, OutcomeUnknown, 0, "connection to etcd lost"}},
}

// storagePrefixes begin the texts of errors of etcd and of the connection to it.
var storagePrefixes = []string{"etcdserver: ", "rpc error: ", "raft proposal dropped", "context deadline exceeded", "context canceled"}

func hasPrefix(prefixes []string, s string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// lostTexts are the texts of the TLS alerts, and of errors of crypto/tls beside them,
// that end a connection in the middle. The server may send a few of them in a handshake,
// too, if it is broken itself. All others refuse a handshake.
var lostTexts = map[string]bool{
	"tls: close notify":                           true,
	"tls: unexpected message":                     true,
	"tls: bad record MAC":                         true,
	"tls: decryption failed":                      true,
	"tls: record overflow":                        true,
	"tls: decompression failure":                  true,
	"tls: error decoding message":                 true,
	"tls: internal error":                         true,
	"tls: user canceled":                          true,
	"tls: no renegotiation":                       true,
	"tls: protocol is shutdown":                   true,
	"tls: use of closed connection":               true,
	"tls: too many ignored records":               true,
	"tls: too many non-advancing records":         true,
	"tls: received unexpected key update message": true,
}

// lostInConnection reports whether the text of an error of crypto/tls is that of a
// connection that ended in the middle (crypto/tls/alert.go and conn.go).
func lostInConnection(text string) bool {
	return lostTexts[text] || strings.HasPrefix(text, "tls: received record with version ") ||
		strings.HasPrefix(text, "tls: oversized record received") || strings.HasPrefix(text, "tls: handshake message of length ")
}

// networkTexts are prefixes of the texts of errors that have no type of their own. The
// first that matches decides.
var networkTexts = []textMeaning{
	// golang.org/x/net/http2 and its copy in net/http, which share texts but not types
	{"http2: client connection lost", &meaning{ClassConnection, OutcomeUnknown, 0, "HTTP/2 connection lost"}},
	{"http2: client connection force closed", &meansHTTP2Closed},
	{"http2: client conn is closed", &meansHTTP2Closed},
	{"http2: server sent GOAWAY and closed the connection", &meansHTTP2Closed},
	{"http2: Transport received GOAWAY from server", &meaning{ClassConnection, OutcomeNotExecuted, byConnection, "request not accepted before HTTP/2 GOAWAY"}},
	{"http2: Transport received Server's graceful shutdown GOAWAY",
		&meaning{ClassConnection, OutcomeNotExecuted, byConnection, "server is shutting down"}},
	{"http2: Transport: cannot retry err [", &meansStreamRefused},
	{"http2: client conn could not be established", &meansNoConnection},
	{"http2: client conn not usable", &meansNoConnection},
	// net/http/transport.go
	{"http: server closed idle connection", &meansConnectionLost},
	{"net/http: cannot rewind body after connection loss", &meansConnectionLost},
	{"http: unexpected EOF reading trailer", &meansBodyCut},
	{"net/http: request canceled while waiting for connection", &meaning{ClassCanceled, OutcomeNotExecuted, 0, "request canceled"}},
	{"net/http: request canceled", &meansRequestCanceled},
	{"net/http: invalid ", &meansBadRequest},
	{"http: no Host in request URL", &meansBadRequest},
	{"unsupported protocol scheme", &meansBadRequest},
	{"stopped after 10 redirects", &meaning{ClassPermanent, OutcomeNotExecuted, notOfSending, "too many redirects"}},
	// a TLS alert, read as an HTTP response
	{`malformed HTTP response "\x15\x03`, &meaning{ClassPermanent, OutcomeNotExecuted, notOfSending, "HTTP request to an HTTPS server"}},
	// crypto/tls, crypto/x509; see also lostTexts
	{"tls: ", &meansTLSFailed},
	{"x509: ", &meansTLSFailed},
	// client-go/discovery/aggregated_discovery.go: the server could not reach an aggregated one
	{"stale GroupVersion discovery: ", &meaning{ClassServer, OutcomeNotExecuted, besideServer | notOfSending, "stale API discovery"}},
	// decoding of a 2xx response: the serializers of apimachinery, client-go/rest/request.go
	{"couldn't get version/kind; json parse error: ", &meansUndecodable},
	{"provided data does not appear to be a protobuf message", &meansUndecodable},
	{"invalid character ", &meansUndecodable},
	{"unexpected end of JSON input", &meansUndecodable},
	{"0-length response with status code: 2", &meaning{ClassBadResponse, OutcomeExecuted, 0, "response is empty"}},
}

// connectTexts are the complete texts of the errors of net/http/transport.go after a
// proxy answered a CONNECT with another code than 200: the text of that code.
var connectTexts = map[string]*meaning{
	"Proxy Authentication Required": &meansProxyRejected,
	"Bad Request":                   &meansProxyRejected,
	"Unauthorized":                  &meansProxyRejected,
	"Forbidden":                     &meansProxyRejected,
	"Not Found":                     &meansProxyRejected,
	"Method Not Allowed":            &meansProxyRejected,
	"Too Many Requests":             &meansProxyUnavailable,
	"Internal Server Error":         &meansProxyUnavailable,
	"Bad Gateway":                   &meansProxyUnavailable,
	"Service Unavailable":           &meansProxyUnavailable,
	"Gateway Timeout":               &meansProxyUnavailable,
}

// pluginMissingTexts occur in the error of a credential plugin that cannot be run at all.
var pluginMissingTexts = []string{" not found", "no such file or directory", " not allowed", " not permitted"}
