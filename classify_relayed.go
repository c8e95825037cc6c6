// SPDX-License-Identifier: Apache-2.0

package k8sretry

import "strings"

// This file judges failures of which only a text is left: those between the server and the
// backend to which it proxies a request, and those of an upgrade to a stream.

// backendMeaning returns the meaning of an error between the server and the backend to
// which it proxies a request, given its text. The text is that of an error of net/http
// (k8s.io/apimachinery/pkg/util/proxy), and means the same as for a client. But it is the
// backend that failed, and the server has answered.
func backendMeaning(text string) *meaning {
	if isDialError(text) || text == "net/http: TLS handshake timeout" || isRefusedStream(text) {
		return &meansBackendUnreachable
	}
	if alert, ok := strings.CutPrefix(text, "remote error: "); ok {
		text = alert
	}
	if strings.HasPrefix(text, "http: server gave HTTP response to HTTPS client") {
		return &meansBackendRejected
	}
	if lostInConnection(text) {
		return &meansUnavailable
	}
	switch m := findPrefix(networkTexts, text); {
	case m == nil || m.outcome != OutcomeNotExecuted:
		return &meansUnavailable
	case m.class == ClassPermanent:
		return &meansBackendRejected
	}
	return &meansBackendUnreachable
}

// dialPrefix begins the message of a server that could not dial a backend
// (k8s.io/apimachinery/pkg/util/proxy/upgradeaware.go).
const dialPrefix = "error dialing backend: "

// dialMeaning returns the meaning of the text of an error with which the server could not dial
// a backend, such as a kubelet. So nothing was sent to it.
func dialMeaning(text string) *meaning {
	if m := backendMeaning(text); m == &meansBackendRejected {
		return m
	}
	return &meansBackendUnreachable
}

// isRefusedStream reports whether text is that of an http2.StreamError with the code
// REFUSED_STREAM.
func isRefusedStream(text string) bool {
	id, ok := strings.CutPrefix(text, "stream error: stream ID ")
	_, code, found := strings.Cut(id, "; ")
	return ok && found && strings.HasPrefix(code, "REFUSED_STREAM")
}

// isDialError reports whether the text of an error between two servers says that no
// connection was established. The last form is that of an egress proxy
// (k8s.io/apiserver/pkg/server/egressselector).
func isDialError(text string) bool {
	return strings.HasPrefix(text, "dial ") || strings.HasPrefix(text, "proxyconnect ") ||
		strings.HasPrefix(text, "proxy error from ") && strings.Contains(text, " while dialing ")
}

// forwardPrefix begins the errors of client-go's port-forward before the stream is open. Only
// the text of the failure follows (k8s.io/client-go/tools/portforward).
const forwardPrefix = "error upgrading connection: "

// upgradePrefixes begin the errors of client-go's exec, attach and port-forward before the
// stream is open (k8s.io/streaming/pkg/httpstream). What follows is the message of the
// server's answer; its code and its type are lost.
var upgradePrefixes = []string{"unable to upgrade connection: ", "unable to upgrade streaming request: "}

// badHandshake is the text of a WebSocket client before the status line of an answer that
// is no Status (k8s.io/client-go/transport/websocket/roundtripper.go).
const badHandshake = "websocket: bad handshake ("

// upgradeMeaning returns the meaning of a failed upgrade, nil if text is not that of one.
func upgradeMeaning(text string) *meaning {
	text, forwards := strings.CutPrefix(text, forwardPrefix)
	switch {
	case hasPrefix(upgradePrefixes, text):
	case forwards:
		_, cause, _ := strings.Cut(text, `": `) // behind the URL of the request
		return upgradeFailure(backendMeaning(cause))
	default:
		return nil
	}
	_, message, _ := strings.Cut(text, ": ")
	if answer, ok := strings.CutPrefix(message, badHandshake); ok {
		code, rest, _ := strings.Cut(answer, ")")
		if m := handshakeMeaning(code); m != nil {
			return m
		}
		message = strings.TrimPrefix(rest, ": ")
	}
	if cause, ok := strings.CutPrefix(message, dialPrefix); ok {
		return upgradeFailure(dialMeaning(cause))
	}
	switch {
	case message == "Unauthorized":
		return &meansUpgradeUnauthorized
	case deniedByWebhook(message), isUpgradeRejection(message):
		return &meansUpgradeRejected
	}
	return &meansUpgradeFailed
}

// upgradeFailure returns the meaning of a failed connection to the server, or of the server to
// the kubelet, for an upgrade, which changes nothing.
func upgradeFailure(m *meaning) *meaning {
	if m == &meansBackendRejected {
		return &meansUpgradeRejected
	}
	return &meansUpgradeFailed
}

// handshakeMeaning returns the meaning of a status line, such as "403 Forbidden", nil if
// the text behind it has to decide: the kubelet answers 404 for a pod that it will know
// soon, the server 400 for one that is not scheduled yet.
func handshakeMeaning(line string) *meaning {
	switch code, _, _ := strings.Cut(line, " "); code {
	case "401":
		return &meansUpgradeUnauthorized
	case "403", "405":
		return &meansUpgradeRejected
	}
	return nil
}

// isUpgradeRejection recognises messages of 403, 404 and 400. The last three come from
// k8s.io/kubernetes/pkg/registry/core/pod/strategy.go. A container that the kubelet does
// not find ("container not found") may not have been started yet.
func isUpgradeRejection(message string) bool {
	cause := forbiddenCause(message)
	switch {
	case cause != "":
		return !strings.HasPrefix(cause, "not yet ready to handle request")
	case strings.HasSuffix(message, `" not found`), message == "404 page not found", message == "the server could not find the requested resource":
		return true
	case strings.HasPrefix(message, "container ") && strings.Contains(message, " is not valid for pod "):
		return true
	}
	return strings.HasPrefix(message, "a container name must be specified for pod ") ||
		strings.HasPrefix(message, "the server does not allow this method on the requested resource")
}
