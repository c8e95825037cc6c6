// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"golang.org/x/net/http2"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/exec"

	"github.com/k8sretry/k8sretry"
)

// verbColumns are the verbs in the order of docs/errors.md. Those whose cells are equal in every
// row share a column.
var verbColumns = []k8sretry.Verb{
	k8sretry.VerbUnspecified, k8sretry.VerbGet, k8sretry.VerbList, k8sretry.VerbWatch, k8sretry.VerbUpdate, k8sretry.VerbPatch,
	k8sretry.VerbDelete, k8sretry.VerbApply, k8sretry.VerbCreate, k8sretry.VerbDeleteCollection,
}

// errorLine is one row of docs/errors.md.
type errorLine struct {
	id, title, code, class, outcome, wait string
	text                                  string                   // of the error, as a log shows it
	cells                                 map[k8sretry.Verb]string // what a Do does
}

// The tables and the index of docs/errors.md show what Do does with each error:
//
//	go test -run TestErrorsPage . -update
func TestErrorsPage(t *testing.T) {
	var sections [][]errorLine
	n := 0
	for _, section := range errorsPage {
		var lines []errorLine
		for _, row := range section.rows {
			n++
			synctest.Test(t, func(t *testing.T) { lines = append(lines, row.line(t, fmt.Sprintf("e%d", n))) })
		}
		sections = append(sections, lines)
	}
	all := slices.Concat(sections...)
	var columns [][]k8sretry.Verb
	for _, verb := range verbColumns {
		i := slices.IndexFunc(columns, func(column []k8sretry.Verb) bool {
			return !slices.ContainsFunc(all, func(l errorLine) bool { return l.cells[column[0]] != l.cells[verb] })
		})
		if i < 0 {
			columns = append(columns, []k8sretry.Verb{verb})
		} else {
			columns[i] = append(columns[i], verb)
		}
	}
	assert.LessOrEqual(t, len(columns), 5, "the tables fit a page")

	for i, section := range errorsPage {
		var page strings.Builder
		page.WriteString("\n| error | code | class | a write was | wait |")
		for _, column := range columns {
			page.WriteString(" " + strings.Join(verbNames(column), ", ") + " |")
		}
		page.WriteString("\n| --- |" + strings.Repeat(" --- |", 4+len(columns)) + "\n")
		for _, l := range sections[i] {
			fmt.Fprintf(&page, "| <a id=%q></a>%s | %s | %s | %s | %s |", l.id, l.title, l.code, l.class, l.outcome, l.wait)
			for _, column := range columns {
				page.WriteString(" " + l.cells[column[0]] + " |")
			}
			page.WriteString("\n")
		}
		page.WriteString("\n")
		k8sretry.Generated(t, "docs/errors.md", "<!-- "+section.mark+":begin -->\n", page.String(), "<!-- "+section.mark+":end -->\n")
	}

	slices.SortFunc(all, func(a, b errorLine) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.text), strings.ToLower(b.text)), strings.Compare(a.id, b.id))
	})
	var index strings.Builder
	index.WriteString("\n| text in the log | row |\n| --- | --- |\n")
	for _, l := range all {
		fmt.Fprintf(&index, "| `%s` | [%s](#%s) |\n", l.text, l.title, l.id)
	}
	index.WriteString("\n")
	k8sretry.Generated(t, "docs/errors.md", "<!-- index:begin -->\n", index.String(), "<!-- index:end -->\n")
}

func verbNames(verbs []k8sretry.Verb) (names []string) {
	for _, v := range verbs {
		names = append(names, cmp.Or(v.String(), "no verb"))
	}
	return names
}

// The links of docs/errors.md lead to rows and headings that exist.
func TestErrorsPageLinks(t *testing.T) {
	content, err := os.ReadFile("docs/errors.md")
	require.NoError(t, err)
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`<a id="(\w+)">`).FindAllSubmatch(content, -1) {
		assert.False(t, anchors[string(m[1])], "%s", m[1])
		anchors[string(m[1])] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllSubmatch(content, -1) {
		heading := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(string(m[1])), "")
		anchors[strings.ReplaceAll(heading, " ", "-")] = true
	}
	links := regexp.MustCompile(`\]\(#([\w-]+)\)`).FindAllSubmatch(content, -1)
	assert.Greater(t, len(links), 100)
	for _, m := range links {
		assert.True(t, anchors[string(m[1])], "#%s", m[1])
	}
}

// Every meaning in classify_meanings.go and classify_texts.go has a row.
func TestErrorsPageIsComplete(t *testing.T) {
	shown := map[string]bool{}
	classes := map[k8sretry.Class]bool{k8sretry.ClassNone: true}
	for _, section := range errorsPage {
		for _, row := range section.rows {
			v := k8sretry.Classify(row.err)
			shown[v.Detail], classes[v.Class] = true, true
		}
	}
	files, err := filepath.Glob("classify*.go")
	require.NoError(t, err)
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`meaning\{\w+, \w+, [\w| ]+, "(.+)"\}`).FindAllStringSubmatch(string(source), -1) {
			found++
			assert.True(t, shown[m[1]], "docs/errors.md has no row for a failure in %s, %q: add one to errorsPage", file, m[1])
		}
	}
	assert.Greater(t, found, 90, "this test no longer finds the meanings")
	for class := range k8sretry.ClassCanceled + 1 {
		assert.True(t, classes[class], "no row of class %v", class)
	}
}

// errorRow is an error as client-go returns it, and a note where the Detail of its Verdict
// is not enough.
type errorRow struct {
	note string
	err  error
}

// line calls Do with each verb, and checks that Verdict.Retryable agrees.
func (r errorRow) line(t *testing.T, id string) errorLine {
	v := k8sretry.Classify(r.err)
	l := errorLine{
		id: id, title: v.Detail, code: "–", class: v.Class.String(), wait: "–", text: logText(r.err), cells: map[k8sretry.Verb]string{},
		outcome: strings.ReplaceAll(v.Outcome.String(), "_", " "),
	}
	if v.StatusCode != 0 {
		l.code = fmt.Sprint(v.StatusCode)
	}
	if r.note != "" {
		l.title += ": " + r.note
	}
	for _, verb := range verbColumns {
		result, delay := r.call(t, verb)
		assert.Equal(t, v.Retryable(verb), result == "retried", "Do and Retryable disagree about %s %q", verb, l.title)
		l.cells[verb], l.wait = result, cmp.Or(delay, l.wait)
	}
	return l
}

// logText is the text of an error without the method and the URL of a request, in one line of a
// table.
func logText(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	text := strings.NewReplacer("`", "'", "|", "/", "\n", " ").Replace(err.Error())
	if runes := []rune(text); len(runes) > 100 {
		text = string(runes[:97]) + "..."
	}
	return strings.TrimSpace(text)
}

// call makes a call that fails with the error, once retried at most. It returns the cell for
// the result and how long the call waited.
func (r errorRow) call(t *testing.T, verb k8sretry.Verb) (result, wait string) {
	attempts, start := 0, time.Now()
	err := k8sretry.Run(t.Context(), func(context.Context) error {
		attempts++
		return r.err
	}, k8sretry.WithVerb(verb), k8sretry.WithMaxRetries(1), exact)
	if attempts == 2 {
		return "retried", rule(t, time.Since(start), k8sretry.Classify(r.err).RetryAfter)
	}
	var e *k8sretry.Error
	if errors.As(err, &e) && e.Outcome == k8sretry.OutcomeExecuted {
		return "done", ""
	}
	if errors.Is(err, k8sretry.ErrOutcomeUnknown) {
		return "unknown", ""
	}
	return "–", ""
}

// rule names the rule by which the first delay was chosen.
func rule(t *testing.T, d, retryAfter time.Duration) string {
	switch {
	case retryAfter > 0:
		require.Equal(t, retryAfter, d)
		return "Retry-After"
	case d == time.Second:
		return "schedule"
	case d == time.Second/2:
		return "half"
	case d == 2*time.Second:
		return "twice"
	case d == 5*time.Second:
		return "5 s to 20 s"
	}
	require.Fail(t, "a delay without a name", "%v", d)
	return ""
}

// refusedByRBAC is the text of k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go.
const refusedByRBAC = `User "bob" cannot get resource "pods"`

// bareText is an error with a text and no more.
type bareText string

func (t bareText) Error() string { return string(t) }

// errorsPage are the rows of docs/errors.md, by section.
var errorsPage = []struct {
	mark string
	rows []errorRow
}{
	{"load", []errorRow{
		{"with Retry-After", apierrors.NewTooManyRequests("slow down", 7)},
		{"without", failure(429, metav1.StatusReasonTooManyRequests, "slow down")},
		{"", apierrors.NewServiceUnavailable("apiserver is shutting down")},
		{"HTTP/2 GOAWAY, retries of net/http exhausted", from(errors.New("http2: Transport received Server's graceful shutdown GOAWAY"))},
		{"", apierrors.NewServiceUnavailable("the request has been made before all known HTTP paths have been installed, please try again")},
		{"", apierrors.NewForbidden(pods, "web-0", errors.New("not yet ready to handle request"))},
		{"list or watch", caused(apierrors.NewTimeoutError("Too large resource version: 9, current: 5", 1), metav1.CauseTypeResourceVersionTooLarge, "x")},
		{"", apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0)},
		{"reason ServerTimeout", apierrors.NewServerTimeout(pods, "list", 2)},
		{"", failure(500, metav1.StatusReasonInternalError, "unable to transform key")},
	}},
	{"refused", []errorRow{
		{"", apierrors.NewUnauthorized("token expired")},
		{"RBAC", apierrors.NewForbidden(pods, "web-0", bareText(refusedByRBAC))},
		{"admission", apierrors.NewForbidden(pods, "web-0", errors.New(`node "n" can only delete pods with spec.nodeName set to itself`))},
		{"", failure(400, "", `admission webhook "guard.example.com" denied the request: no`)},
		{"429 or 503", delayed(failure(429, metav1.StatusReasonTooManyRequests, `admission webhook "guard.example.com" denied the request`), 7)},
		{"timeout, connection refused, bad certificate", apierrors.NewInternalError(errors.New(`failed calling webhook "guard.example.com": EOF`))},
		{"", failure(401, metav1.StatusReasonUnauthorized, `ValidatingAdmissionPolicy 'p' denied request`)},
		{"", apierrors.NewServiceUnavailable("Resource kind example.com/v1, Kind=Web not found. There can be a delay between when CustomResourceDefinitions are created and when they are available.")},
		{"", apierrors.NewForbidden(pods, "web-0", errors.New("exceeded quota: q, requested: pods=1"))},
		{"", apierrors.NewForbidden(pods, "web-0", errors.New("insufficient quota to consume: pods"))},
		{"", apierrors.NewForbidden(pods, "web-0", errors.New("status unknown for quota: q"))},
		{"409 about a ResourceQuota", apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "q", errRemodeled)},
		{"", apierrors.NewInternalError(errors.New("resource quota evaluation timed out"))},
		{"", apierrors.NewForbidden(pods, "web-0", errors.New("error looking up service account a/default"))},
		{"", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "a")},
		{"", caused(apierrors.NewForbidden(pods, "web-0", errors.New("because it is being terminated")), "NamespaceTerminating", "x")},
		{"", apierrors.NewForbidden(pods, "web-0", errors.New("create not allowed while custom resource definition is terminating"))},
		{"", apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "web-0", nil)},
		{"of a Service", failure(422, metav1.StatusReasonInvalid, "provided port is already allocated")},
		{"400, 405, 406, 415", apierrors.NewBadRequest("no")},
		{"413", apierrors.NewRequestEntityTooLargeError("limit is 3145728")},
		{"server-side apply, strategic merge patch", failure(500, "", "failed to create typed patch object (a/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema")},
		{"server-side apply", failure(500, "", "failed to create typed live object (a/web; example.com/v1, Kind=Web): .spec.a: expected string")},
		{"", failure(500, "", `strconv.ParseUint: parsing "abc": invalid syntax`)},
		{"pods/binding", failure(500, "", "target.name: Required value")},
		{"a bug of the client", failure(500, "", "resourceVersion should not be set on objects to be created")},
	}},
	{"objects", []errorRow{
		{"", apierrors.NewNotFound(pods, "web-0")},
		{"unknown resource", generic(404, "GET", "404 page not found", 0)},
		{"from a RESTMapper", &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "Web"}}},
		{"", apierrors.NewAlreadyExists(pods, "web-0")},
		{"create", failure(409, metav1.StatusReasonAlreadyExists, `object is being deleted: pods "web-0" already exists`)},
		{"a test or a path in it", apierrors.NewGenericServerResponse(422, "", schema.GroupResource{}, "", "test failed", 0, false)},
		{"stale resourceVersion, other UID", apierrors.NewConflict(pods, "web-0", errRemodeled)},
		{"other UID, server-side apply", apierrors.NewConflict(pods, "web-0", errors.New("uid mismatch: the provided object specified uid a, and no existing object was found"))},
		{"server-side apply", caused(apierrors.NewConflict(pods, "web-0", errors.New("conflict with kubectl")), metav1.CauseTypeFieldManagerConflict, "x")},
		{"410", apierrors.NewResourceExpired("too old resource version")},
		{"eviction", caused(failure(429, metav1.StatusReasonTooManyRequests, "Cannot evict pod"), "DisruptionBudget", "x")},
		{"eviction", caused(delayed(failure(429, metav1.StatusReasonTooManyRequests, "Cannot evict pod"), 10), "DisruptionBudget", "x")},
		{"eviction", caused(failure(403, metav1.StatusReasonForbidden, "Cannot evict pod"), "DisruptionBudget", "x")},
		{"eviction", apierrors.NewConflict(schema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"}, "web", errRemodeled)},
		{"eviction", failure(500, "", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")},
		{"pods/binding", apierrors.NewConflict(schema.GroupResource{Resource: "pods/binding"}, "web-0", errors.New("etcdserver: request timed out"))},
	}},
	{"storage", []errorRow{
		{"", failure(500, "", "etcdserver: request timed out")},
		{"", failure(500, "", "etcdserver: leader changed")},
		{"", failure(500, "", "etcdserver: no leader")},
		{"", failure(500, "", "rpc error: code = Unavailable desc = error reading from server: EOF")},
		{"", failure(500, "", "etcdserver: too many requests")},
		{"", failure(500, "", "etcdserver: mvcc: database space exceeded")},
		{"", failure(500, "", "etcdserver: request is too large")},
		{"", failure(500, "", "conversion webhook for example.com/v1, Kind=Web failed: EOF")},
		{"reason StorageReadError", failure(500, "StorageReadError", "corrupt object")},
		{"", failure(500, "", "request declared a Content-Length of 512 but only wrote 0 bytes")},
		{"any other message", failure(500, "", "no kind \"Web\" is registered")},
	}},
	{"between", []errorRow{
		{"502 of a load balancer", generic(502, "POST", "Bad Gateway", 0)},
		{"503 of a load balancer", generic(503, "POST", "Service Unavailable", 0)},
		{"503 of a load balancer, with Retry-After", generic(503, "POST", "Service Unavailable", 3)},
		{"504 of a load balancer", generic(504, "POST", "Gateway Timeout", 0)},
		{"408", generic(408, "POST", "", 0)},
		{"425", generic(425, "POST", "", 0)},
		{"501, 505, 511", generic(501, "POST", "", 0)},
		{"other codes from 300 to 499", generic(418, "POST", "", 0)},
		{"a failure with a code of success", failure(200, "", "who knows")},
		{"404 in HTML", generic(404, "GET", "<html>nothing here</html>", 0)},
		{"409 in plain text to a POST", generic(409, "POST", "x", 0)},
		{"409 in plain text to another request", generic(409, "PUT", "x", 0)},
		{"503 of the aggregation layer", generic(503, "POST", "service unavailable", 0)},
		{"aggregation, pod and service proxies, kubelet", generic(503, "POST", "error trying to reach service: dial tcp 10.0.0.7:443: connect: connection refused", 0)},
		{"GOAWAY of its shutdown, refused stream, TLS handshake timeout", generic(503, "POST", "error trying to reach service: http2: Transport received Server's graceful shutdown GOAWAY", 0)},
		{"the connection to a backend ends in the middle", generic(503, "POST", "error trying to reach service: remote error: tls: bad record MAC", 0)},
		{"x509, an alert, no TLS", generic(503, "POST", "error trying to reach service: x509: certificate signed by unknown authority", 0)},
		{"service proxy", apierrors.NewServiceUnavailable(`no endpoints available for service "web"`)},
		{"", apierrors.NewServiceUnavailable("Error getting ip and port info of the remote server while proxying")},
		{"502", generic(502, "GET", "the backend attempted to redirect this request, which is not permitted", 0)},
		{"403, 407", from(errors.New(http.StatusText(http.StatusProxyAuthRequired)))},
		{"429, 5xx", from(errors.New(http.StatusText(http.StatusBadGateway)))},
	}},
	{"connections", []errorRow{
		{"", call("dial", "connect", syscall.ECONNREFUSED)},
		{"no route, network unreachable, proxy down", call("dial", "connect", syscall.EHOSTUNREACH)},
		{"while dialling", call("dial", "connect", syscall.ETIMEDOUT)},
		{"on an open connection", call("read", "read", syscall.ETIMEDOUT)},
		{"", from(&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", IsNotFound: true}})},
		{"", from(&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}})},
		{"", from(&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}})},
		{"", from(&slow{"net/http: TLS handshake timeout"})},
		{"x509, protocol version", from(x509.UnknownAuthorityError{})},
		{"bad client certificate", from(op("remote error", errors.New("tls: bad certificate")))},
		{"", from(op("local error", errors.New("tls: bad certificate")))},
		{"TLS alert in the middle of a connection", from(op("remote error", errors.New("tls: bad record MAC")))},
		{"", from(errors.New(`malformed HTTP response "\x15\x03\x01\x00\x02\x02"`))},
		{"", from(http.ErrSchemeMismatch)},
		{"EOF, reset, broken pipe, GOAWAY", from(io.EOF)},
		{"the code of the response is lost", bodyCut(errors.New("flate: corrupt input before offset 5"))},
		{"client.Timeout, i/o timeout", from(op("read", os.ErrDeadlineExceeded))},
		{"", from(http2.StreamError{Code: http2.ErrCodeInternal})},
		{"REFUSED_STREAM", from(http2.StreamError{Code: http2.ErrCodeRefusedStream})},
		{"", from(http2.ConnectionError(http2.ErrCodeProtocol))},
		{"GOAWAY with an error code", from(errors.New("http2: Transport received GOAWAY from server ErrCode:ENHANCE_YOUR_CALM"))},
		{"", from(errors.New("http2: client connection lost"))},
		{"", from(errors.New("strange"))},
	}},
	{"client", []errorRow{
		{"another context than that of the call", context.Canceled},
		{"", from(errors.New("net/http: request canceled"))},
		{"while it waited for a connection", from(errors.New("net/http: request canceled while waiting for connection"))},
		{"timeout of an attempt or of rest.Config", context.DeadlineExceeded},
		{"", errors.New("rate: Wait(n=1) would exceed context deadline")},
		{"", fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("closed"))},
		{"", fmt.Errorf("client rate limiter Wait returned an error: %w", context.Canceled)},
		{"", fmt.Errorf("client rate limiter Wait returned an error: %w", context.DeadlineExceeded)},
		{"of a Limiter in a Transport or an inner call", k8sretry.ErrQueueTimeout},
		{"", from(errors.New("getting credentials: exec: executable aws failed with exit code 255"))},
		{"", from(errors.New("getting credentials: exec: executable aws not found"))},
		{"of an aggregated API", discovery.StaleGroupVersionError{}},
		{"for transient reasons only", &discovery.ErrGroupDiscoveryFailed{Groups: map[schema.GroupVersion]error{{Version: "v1"}: generic(503, "GET", "service unavailable", 0)}}},
		{"API not served, or not allowed", &discovery.ErrGroupDiscoveryFailed{Groups: map[schema.GroupVersion]error{{Version: "v1"}: &meta.NoKindMatchError{}}}},
		{"", &discovery.ErrGroupDiscoveryFailed{Groups: map[schema.GroupVersion]error{{Version: "v1"}: context.Canceled}}},
		{"", &url.Error{Op: "parse", URL: ":", Err: errors.New("missing protocol scheme")}},
		{"", from(&net.OpError{Op: "dial", Err: &net.AddrError{Err: "missing port in address"}})},
		{"", from(errors.New("http: no Host in request URL"))},
		{"", from(errors.New("stopped after 10 redirects"))},
		{"", errors.New("unexpected end of JSON input")},
		{"", errors.New("0-length response with status code: 200 and content type: ")},
		{"from a captive portal or a proxy", errors.New("serializer for text/html doesn't exist")},
		{"the same in an apply of controller-runtime", errors.New(`unexpected content type "text/html" in apply response, expected application/json`)},
		{"301, 302, 303", from(k8sretry.ErrRedirected)},
		{"exec, attach, port-forward", errors.New("unable to upgrade connection: container not found")},
		{"exec, attach, port-forward", errors.New(`unable to upgrade connection: pods "web-0" not found`)},
		{"exec, attach, port-forward", errors.New("unable to upgrade connection: Unauthorized")},
		{"exec", exec.CodeExitError{Err: errors.New("exit 1"), Code: 1}},
		{"an error of the caller", errors.New("nothing to do")},
		{"more than 4096 errors", nested(5000)},
	}},
}

// nested is an error that is wrapped n times.
func nested(n int) error {
	err := errors.New("the innermost")
	for range n {
		err = &single{err}
	}
	return err
}

// TestREADMELength keeps the README to one page: tables and explanations belong into docs/
// and benchmarks/RESULTS.md.
func TestREADMELength(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	assert.LessOrEqual(t, strings.Count(string(readme), "\n"), 150, "lines of README.md")
}

// TestREADMECode checks that this file contains the Go code of README.md and of
// docs/overload.md, so that the code compiles and works.
func TestREADMECode(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	overload, err := os.ReadFile("docs/overload.md")
	require.NoError(t, err)
	here, err := os.ReadFile("docs_test.go")
	require.NoError(t, err)
	compiled := squeeze(string(here))
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme)+string(overload), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		if strings.HasPrefix(block[1], "package main\n") {
			continue // see examples/create
		}
		for piece := range strings.SplitSeq(block[1], "\n\n") {
			assert.True(t, strings.Contains(compiled, squeeze(piece)), piece)
		}
	}
}

// squeeze returns a text without its indentation and empty lines.
func squeeze(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func readmeClientset() kubernetes.Interface {
	one := int32(1)
	return fake.NewClientset(
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}},
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}, Spec: appsv1.DeploymentSpec{Replicas: &one}},
	)
}

func TestREADMEQuickStart(t *testing.T) {
	ctx, clientset, logger := t.Context(), readmeClientset(), zap.NewNop()

	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead())
	pod, err := get(ctx, "web-0", metav1.GetOptions{})

	require.NoError(t, err)
	assert.Equal(t, "web-0", pod.Name)

	policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithMaxElapsed(2*time.Minute), k8sretry.WithLogger(logger))
	nodes, err := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.NodeList, error) {
		return clientset.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	}, policy)

	require.NoError(t, err)
	assert.Empty(t, nodes.Items)
}

func TestREADMESafeWrites(t *testing.T) {
	ctx, clientset := t.Context(), readmeClientset()
	pod, err := clientset.CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
	require.NoError(t, err)

	err = k8sretry.Delete(ctx, clientset.CoreV1().Pods("default"), pod, metav1.DeleteOptions{}, k8sretry.ForWrite())

	require.NoError(t, err)

	_, err = k8sretry.Modify(ctx, clientset.AppsV1().Deployments("default"), "web", func(d *appsv1.Deployment) error { *d.Spec.Replicas++; return nil })

	require.NoError(t, err)
	_, err = clientset.CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err))
	web, err := clientset.AppsV1().Deployments("default").Get(ctx, "web", metav1.GetOptions{})
	require.NoError(t, err)
	assert.EqualValues(t, 2, *web.Spec.Replicas)
}

func TestREADMEClientset(t *testing.T) {
	config := &rest.Config{Host: "https://server"}
	t.Cleanup(k8sretry.ForgetTransports)

	config.Wrap(k8sretry.Transport(k8sretry.WithAttemptTimeout(30 * time.Second)))

	_, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
}

func TestREADMEErrors(t *testing.T) {
	err := k8sretry.Run(t.Context(), func(context.Context) error { return notFound() })
	switch {
	case errors.Is(err, k8sretry.ErrOutcomeUnknown): // the server may have carried out the call: read before you repeat it
	case errors.Is(err, k8sretry.ErrMaxRetries): // all attempts failed
	case apierrors.IsNotFound(err): // the predicates of apierrors see the last API error
	}

	assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
	assert.NotErrorIs(t, err, k8sretry.ErrMaxRetries)
	assert.True(t, apierrors.IsNotFound(err))
}

func TestREADMEOverload(t *testing.T) {
	config := &rest.Config{Host: "https://server"}
	t.Cleanup(k8sretry.ForgetTransports)

	limiter := k8sretry.NewLimiter() // one per process; a Transport limits each server separately
	config.Wrap(k8sretry.Transport(k8sretry.ForWrite(), k8sretry.WithLimiter(limiter), k8sretry.WithAttemptTimeout(30*time.Second)))
	clientset, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	assert.NotNil(t, clientset)

	policy := k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.WithLimiter(k8sretry.NewLimiter()))

	patient := k8sretry.NewPolicy(policy, k8sretry.WithMaxQueueTime(10*time.Minute)) // a batch job
	atOnce := k8sretry.NewPolicy(policy, k8sretry.WithMaxQueueTime(0))               // a health check: ErrQueueTimeout instead of a wait

	guards := []k8sretry.Option{
		k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{})), k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{})),
	}
	for _, opts := range [][]k8sretry.Option{{patient}, {atOnce}, append(guards, policy)} {
		assert.NoError(t, k8sretry.Run(t.Context(), func(context.Context) error { return nil }, opts...))
	}
}

// shownElsewhere are the exported functions without an Example of their own, and the one that
// shows them.
var shownElsewhere = map[string]string{
	"ForBackground":    "", // as the other presets: a schedule
	"ForEviction":      "ExampleWrapRun1",
	"ForMaintenance":   "", // as the other presets: a schedule
	"ForRead":          "ExampleDo",
	"ForWrite":         "ExampleRun",
	"NewBreaker":       "ExampleWithBreaker",
	"NewBudget":        "ExampleWithBudget",
	"NewLimiter":       "ExampleWithLimiter",
	"WithInitialDelay": "ExampleWithMultiplier",
	"WithJitter":       "ExampleWithMultiplier",
	"WithLogger":       "ExampleWithExpected",
	"WithMaxDelay":     "ExampleWithMultiplier",
	"WithMaxQueueTime": "ExampleWithLimiter",
	"WithMaxRetries":   "ExampleWithMultiplier",
	"WithName":         "ExampleSlogObserver",
}

// Every exported function has an Example.
func TestEachFunctionHasAnExample(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var exported []string
	examples := map[string]string{} // the body by name
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			switch {
			case !ok || f.Recv != nil:
			case strings.HasSuffix(file, "_test.go"):
				if name := f.Name.Name; strings.HasPrefix(name, "Example") {
					examples[name] = string(source[f.Pos()-1 : f.End()-1])
				}
			case f.Name.IsExported():
				exported = append(exported, f.Name.Name)
			}
		}
	}
	require.Greater(t, len(exported), 60)
	for _, name := range exported {
		elsewhere, isElsewhere := shownElsewhere[name]
		_, hasOne := examples["Example"+name]
		assert.NotEqual(t, hasOne, isElsewhere, "%s needs an Example, or a line in shownElsewhere", name)
		if elsewhere != "" {
			assert.Contains(t, examples[elsewhere], "k8sretry."+name+"(", elsewhere)
		}
	}
	for name := range shownElsewhere {
		assert.Contains(t, exported, name)
	}
}
