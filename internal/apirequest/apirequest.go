// SPDX-License-Identifier: Apache-2.0

// Package apirequest reads from an HTTP request which call of the Kubernetes API it is and
// whether it may be repeated. It never changes the request.
//
// The rules of paths and verbs are those of the server
// (k8s.io/apiserver/pkg/endpoints/request/requestinfo.go).
package apirequest

import (
	"net/http"
	"net/url"
	"strings"
)

// Request describes an HTTP request to the API.
type Request struct {
	Verb Verb
	Risk RepeatRisk
	// Watch is set for a watch.
	Watch bool
	// Once is set for a watch or another stream: it is sent once, because the body of
	// its response continues after the call.
	Once bool
	// StoresNothing is set for dry runs, reviews and token requests. They change nothing
	// on the server, whatever the verb.
	StoresNothing bool

	Group       string
	Resource    string
	Subresource string
	Namespace   string
	// Object is the name in the path, "" for a collection.
	Object string

	// Prefix is what comes before the innermost path of the API, such as that of a gateway
	// or of a proxy subresource: the same host may stand for several clusters.
	Prefix string

	root string // the first segment of the path
}

// Read reads everything but the body of the request. It allocates only for queries that
// have to be parsed.
func Read(req *http.Request) Request {
	var r Request
	oldWatch := r.readPath(req.URL.Path)
	collection := r.Resource != "" && r.Object == ""
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "":
		r.Verb = Get
		if collection {
			r.Verb = List
		}
	case http.MethodPut:
		r.Verb = Update
	case http.MethodPatch:
		r.readPatch(req.Header.Get("Content-Type"))
	case http.MethodDelete:
		r.Verb = Delete
		if collection {
			r.Verb, r.Risk = DeleteCollection, RiskCollection
		}
	default: // a POST, or a method that the API does not know
		r.Verb = Create
		if collection {
			r.Risk = RiskNoName
		}
	}
	r.refine(req, oldWatch)
	return r
}

// readPatch distinguishes the kinds of patches.
func (r *Request) readPatch(contentType string) {
	r.Verb = Patch
	switch {
	case isApply(contentType):
		r.Verb = Apply
	case IsJSONPatch(contentType):
		r.Risk = RiskJSONPatch
	case strings.HasPrefix(contentType, "application/strategic-merge-patch+json"):
		r.Risk = RiskStrategicPatch
	}
}

// isApply reports whether a content type is that of a server-side apply.
func isApply(contentType string) bool {
	return strings.HasPrefix(contentType, "application/apply-patch")
}

// IsJSONPatch reports whether a content type is that of a JSON patch (RFC 6902, section 6).
func IsJSONPatch(contentType string) bool {
	return strings.HasPrefix(contentType, "application/json-patch+json")
}

// refine applies what the subresource, the headers and the query say. oldWatch is set if
// the path is that of a watch.
func (r *Request) refine(req *http.Request, oldWatch bool) {
	switch r.Subresource {
	case "exec", "attach", "portforward":
		r.Once, r.Risk = true, RiskStream
	case "proxy":
		if r.Verb == Patch || r.Verb == Apply {
			r.Verb = Create // a PATCH to another server is not idempotent (RFC 5789, section 2)
		}
	case "log":
		r.Once = isTrue(req.URL, "follow")
	case "token": // of a service account: issued, not stored
		r.StoresNothing = r.Verb == Create && r.Resource == "serviceaccounts"
	}
	if upgrades(req.Header) || req.Method == http.MethodConnect || r.Unread() && isTrue(req.URL, "follow") {
		r.Once = true
	}
	switch {
	case !r.Verb.Reads() && (r.Unread() || r.acts()):
		r.Risk = RiskAction
	case r.Verb == Create && (r.Group == "authentication.k8s.io" || r.Group == "authorization.k8s.io"):
		r.StoresNothing = true // reviews: reads that are sent as a POST
	case (r.Verb == List || r.Unread()) && (oldWatch || isTrue(req.URL, "watch")), r.Verb == Get && oldWatch:
		r.Verb, r.Watch, r.Once = Watch, true, true
	case !r.Verb.Reads() && strings.Contains(req.URL.RawQuery, "dryRun="):
		// The options in the body of a deletion replace those in the query.
		r.StoresNothing = r.StoresNothing || !(r.deletes() && hasBody(req)) && req.URL.Query().Get("dryRun") == "All"
	}
	if r.StoresNothing {
		r.Risk = RiskNone
	}
}

// upgrades reports whether a request asks for another protocol than HTTP. The RoundTrippers of
// client-go that make the handshake add the header Upgrade themselves; above them a request has only
// the protocols to choose from (wsstream.WebSocketProtocolHeader and
// httpstream.HeaderProtocolVersion in k8s.io/streaming).
func upgrades(h http.Header) bool {
	return h["Upgrade"] != nil || h["Sec-Websocket-Protocol"] != nil || h["X-Stream-Protocol-Version"] != nil
}

// Unread reports whether the path does not say what the request is about: it is not one of
// the API, or goes through a proxy to something else.
func (r *Request) Unread() bool { return r.Resource == "" || r.Subresource == "proxy" }

// acts reports whether a write may do more than to replace the state of an object, so that
// to send it twice is to do it twice: a PUT to a subresource may restart a machine. A POST
// is left to its verb.
func (r *Request) acts() bool { return r.Verb != Create && IsAction(r.Verb, r.Subresource) }

// IsAction reports whether a write to a subresource, "" for the object itself, may do more than to
// replace state.
func IsAction(verb Verb, subresource string) bool {
	switch subresource {
	case "":
		return false
	case "status", "scale", "finalize", "approval", "ephemeralcontainers", "resize":
		return verb == Create || verb == Delete || verb == DeleteCollection
	}
	return true
}

// Evicts reports whether the request is the eviction of a pod.
func (r *Request) Evicts() bool {
	return r.Verb == Create && r.Resource == "pods" && r.Group == "" && r.Subresource == "eviction" && r.Object != ""
}

// Removes reports whether the request deletes or evicts one object.
func (r *Request) Removes() bool { return r.Verb == Delete || r.Evicts() }

func (r *Request) deletes() bool { return r.Verb == Delete || r.Verb == DeleteCollection }

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// isTrue reads a boolean of the query as the server does: only "false" and "0" are false
// (k8s.io/apimachinery/pkg/runtime/conversion.go).
func isTrue(u *url.URL, key string) bool {
	if !strings.Contains(u.RawQuery, key) {
		return false
	}
	values, ok := u.Query()[key]
	return ok && len(values) > 0 && !strings.EqualFold(values[0], "false") && values[0] != "0"
}

// Name returns the name of the request in events: the verb, and the resource as RBAC
// writes it, such as "get pods", "create deployments.apps" or "create pods/eviction". It
// contains no names of objects and namespaces, so that the number of names is bounded.
// For a path without a resource it contains the first segment: "get /version".
func (r *Request) Name() string {
	switch {
	case r.Resource == "":
		return r.Verb.String() + " /" + r.root
	case r.Group == "" && r.Subresource == "":
		return r.Verb.String() + " " + r.Resource
	case r.Subresource == "":
		return r.Verb.String() + " " + r.Resource + "." + r.Group
	case r.Group == "":
		return r.Verb.String() + " " + r.Resource + "/" + r.Subresource
	}
	return r.Verb.String() + " " + r.Resource + "." + r.Group + "/" + r.Subresource
}

// readPath reads the resource from a path. The path of the API may begin at any segment,
// because gateways put a prefix before it. The prefix may itself look like the API, and a
// proxy subresource may lead to the API of another cluster: the innermost resource counts.
// What pods, services and nodes serve behind their proxies is not read: it may be anything.
// readPath reports whether the path has the old form of a watch: /api/v1/watch/...
func (r *Request) readPath(path string) (oldWatch bool) {
	all := strings.Trim(path, "/")
	rest, segment := all, ""
	r.root, _, _ = strings.Cut(rest, "/")
	for rest != "" && !r.servedByAnyone() {
		before, prefix := segment, all[:len(all)-len(rest)]
		segment, rest, _ = strings.Cut(rest, "/")
		group, after := "", rest
		switch {
		case before == "namespaces": // a namespace may be called "apis"
			continue
		case segment == "api":
		case segment == "apis":
			group, after, _ = strings.Cut(rest, "/")
		default:
			continue
		}
		version, after, _ := strings.Cut(after, "/")
		if !isVersion(version) {
			continue
		}
		inner := Request{Group: group, Prefix: strings.TrimSuffix(prefix, "/"), root: r.root}
		watch := inner.readResource(after)
		if inner.Resource != "" || r.Resource == "" {
			*r, oldWatch = inner, watch
		}
	}
	return oldWatch
}

// servedByAnyone reports whether the path goes on behind the proxy of a pod, service or node.
func (r *Request) servedByAnyone() bool {
	return r.Subresource == "proxy" && r.Group == "" && (r.Resource == "pods" || r.Resource == "services" || r.Resource == "nodes")
}

// readResource is readPath for what follows the group and the version in a path.
func (r *Request) readResource(rest string) (oldWatch bool) {
	first, after, _ := strings.Cut(rest, "/")
	switch first {
	case "watch":
		oldWatch, rest = true, after
		first, after, _ = strings.Cut(rest, "/")
	case "proxy": // the old form of a proxied request
		rest = after
		r.Subresource = "proxy"
		first, after, _ = strings.Cut(rest, "/")
	}
	if first == "namespaces" {
		namespace, inside, _ := strings.Cut(after, "/")
		third, _, _ := strings.Cut(inside, "/")
		if inside != "" && third != "status" && third != "finalize" {
			r.Namespace, rest = namespace, inside
		}
	}
	r.Resource, rest, _ = strings.Cut(rest, "/")
	r.Object, rest, _ = strings.Cut(rest, "/")
	if r.Subresource == "" {
		r.Subresource, _, _ = strings.Cut(rest, "/")
	}
	return oldWatch
}

// isVersion reports whether s is a version of an API, such as v1 or v2beta3.
func isVersion(s string) bool {
	if len(s) < 2 || s[0] != 'v' {
		return false
	}
	digits := strings.TrimLeft(s[1:], "0123456789")
	if digits == s[1:] {
		return false
	}
	digits, alpha := strings.CutPrefix(digits, "alpha")
	digits, beta := strings.CutPrefix(digits, "beta")
	if !alpha && !beta {
		return digits == ""
	}
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}
