package k8sretry

import "strings"

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
