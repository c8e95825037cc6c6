package k8sretry

import (
	"net/http"
	"net/url"
	"strings"
)

// request is what a Transport reads from an HTTP request: what it does, and how far
// it may be repeated. The rules of paths and verbs are those of the server
// (k8s.io/apiserver/pkg/endpoints/request/requestinfo.go).
type request struct {
	verb      Verb
	suspicion suspicion
	watch     bool
	single    bool // a watch or a stream: one send, and its body lives on
	pure      bool // nothing is stored, whatever the verb says: dry runs and reviews

	root        string // the first segment of a path that names no resource
	group       string
	resource    string
	subresource string
}

// describe reads a request. It allocates only for queries that ask for something
// special.
func describe(req *http.Request) request {
	var r request
	p := r.path(req.URL.Path)
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "":
		r.verb = VerbGet
		if r.resource != "" && p.name == "" {
			r.verb = VerbList
		}
	case http.MethodPut:
		r.verb = VerbUpdate
	case http.MethodPatch:
		r.patch(req.Header.Get("Content-Type"))
	case http.MethodDelete:
		r.verb = VerbDelete
		if r.resource != "" && p.name == "" {
			r.verb = VerbDeleteCollection
		}
	default:
		// A POST, or a method that the API does not know. Outside the API there is
		// no telling what it does.
		r.verb = VerbCreate
		if r.resource != "" && p.name == "" {
			r.suspicion = generatedName
		}
	}
	r.refine(req, p)
	return r
}

// patch tells the kinds of patches apart.
func (r *request) patch(contentType string) {
	r.verb = VerbPatch
	switch {
	case strings.HasPrefix(contentType, "application/apply-patch"):
		r.verb = VerbApply
	case isJSONPatch(contentType):
		r.suspicion = unguardedPatch
	}
}

func isJSONPatch(contentType string) bool {
	return strings.HasPrefix(contentType, "application/json-patch+json")
}

// refine adds what subresource and query say.
func (r *request) refine(req *http.Request, p path) {
	switch r.subresource {
	case "exec", "attach", "portforward":
		r.single, r.suspicion = true, always
	case "proxy":
		if r.verb == VerbPatch || r.verb == VerbApply {
			r.verb = VerbCreate // RFC 9110, section 9.2.2: another server's PATCH may add up
		}
	case "log":
		r.single = truth(req.URL, "follow")
	case "token": // of a service account: issued, not stored
		r.pure = r.verb == VerbCreate && r.resource == "serviceaccounts"
	}
	if req.Header.Get("Upgrade") != "" || req.Method == http.MethodConnect {
		r.single = true
	}
	switch {
	case r.verb == VerbCreate && (r.group == "authentication.k8s.io" || r.group == "authorization.k8s.io"):
		r.pure = true // reviews: questions put as a POST
	case r.verb == VerbList && (p.watch || truth(req.URL, "watch")), r.verb == VerbGet && p.watch:
		r.verb, r.watch, r.single = VerbWatch, true, true
	case !r.verb.reads() && strings.Contains(req.URL.RawQuery, "dryRun="):
		// The options in the body of a deletion take the place of those in the query.
		r.pure = r.pure || !(r.deletes() && hasBody(req)) && req.URL.Query().Get("dryRun") == "All"
	}
	if r.pure {
		r.suspicion = harmless
	}
}

func (r *request) deletes() bool { return r.verb == VerbDelete || r.verb == VerbDeleteCollection }

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// truth reads a boolean of the query as the server does: only "false" and "0" are
// false (k8s.io/apimachinery/pkg/runtime/conversion.go).
func truth(u *url.URL, key string) bool {
	if !strings.Contains(u.RawQuery, key) {
		return false
	}
	values, ok := u.Query()[key]
	return ok && len(values) > 0 && !strings.EqualFold(values[0], "false") && values[0] != "0"
}

// name is the name of the request in events: the verb, and the resource as RBAC
// writes it: "get pods", "create deployments.apps", "create pods/eviction". Names of
// objects and namespaces are not in it, so that there are only as many as there are
// kinds of calls. A path that names no resource is cut to its first segment: "get /version".
func (r *request) name() string {
	switch {
	case r.resource == "":
		return r.verb.String() + " /" + r.root
	case r.group == "" && r.subresource == "":
		return r.verb.String() + " " + r.resource
	case r.subresource == "":
		return r.verb.String() + " " + r.resource + "." + r.group
	case r.group == "":
		return r.verb.String() + " " + r.resource + "/" + r.subresource
	}
	return r.verb.String() + " " + r.resource + "." + r.group + "/" + r.subresource
}

// path is what a path says beside the resource.
type path struct {
	name  string
	watch bool // the old form of a watch: /api/v1/watch/...
}

// path finds the resource. The API may begin anywhere in the path: gateways put a
// prefix before it.
func (r *request) path(text string) (p path) {
	rest := strings.Trim(text, "/")
	r.root, _, _ = strings.Cut(rest, "/")
	for rest != "" {
		var segment string
		segment, rest, _ = strings.Cut(rest, "/")
		group, after := "", rest
		switch segment {
		case "api":
		case "apis":
			group, after, _ = strings.Cut(rest, "/")
		default:
			continue
		}
		version, after, _ := strings.Cut(after, "/")
		if isVersion(version) {
			r.group = group
			return r.within(after)
		}
	}
	return p
}

// within reads what follows group and version.
func (r *request) within(rest string) (p path) {
	first, after, _ := strings.Cut(rest, "/")
	switch first {
	case "watch":
		p.watch, rest = true, after
		first, after, _ = strings.Cut(rest, "/")
	case "proxy": // the old form of a proxied request
		rest = after
		r.subresource = "proxy"
		first, after, _ = strings.Cut(rest, "/")
	}
	if first == "namespaces" {
		_, inside, _ := strings.Cut(after, "/")
		third, _, _ := strings.Cut(inside, "/")
		if inside != "" && third != "status" && third != "finalize" {
			rest = inside
		}
	}
	r.resource, rest, _ = strings.Cut(rest, "/")
	p.name, rest, _ = strings.Cut(rest, "/")
	if r.subresource == "" {
		r.subresource, _, _ = strings.Cut(rest, "/")
	}
	return p
}

// isVersion reports whether s is a version of an API: v1, v2beta3.
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
