package tinykube

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Request says what one HTTP request asked for, in the words of RBAC.
type Request struct {
	Verb        string // get, list, watch, create, update, patch, delete, deletecollection
	Resource    string // plural: "configmaps"
	Subresource string // "status" or ""
	Namespace   string
	Name        string // for a create the name in the body
	Method      string
	Path        string
}

// Match selects requests. An empty field matches everything.
type Match struct {
	Verb, Resource, Subresource, Namespace, Name string
}

// Covers reports whether m selects the request.
func (m Match) Covers(r Request) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	return same(m.Verb, r.Verb) && same(m.Resource, r.Resource) && same(m.Subresource, r.Subresource) &&
		same(m.Namespace, r.Namespace) && same(m.Name, r.Name)
}

// Answer is what the server says instead of what it should. The zero value is
// [Pass]: no failure. Answers are plain values and may be shared.
type Answer struct {
	code        int
	retryAfter  int
	message     string
	drop, hang  bool
	afterCommit bool
}

// Answers without a status code.
var (
	// Pass lets a request through; it fills the gaps in a script.
	Pass = Answer{}
	// Drop closes the connection without an answer; the client sees EOF.
	// net/http and client-go repeat a GET after that by themselves.
	Drop = Answer{drop: true}
	// Hang keeps the request until the client goes away or the server stops.
	Hang = Answer{hang: true}
)

// Fail is the answer with the given code, said as it is met in the wild: 429 as
// the plain text of the server's own filters, 502 as the HTML page of a proxy,
// everything else as a metav1.Status.
func Fail(code int) Answer { return Answer{code: code} }

// WithRetryAfter adds a Retry-After header, in seconds. client-go then repeats
// the request by itself, up to 10 times.
func (a Answer) WithRetryAfter(seconds int) Answer { a.retryAfter = seconds; return a }

// WithMessage replaces the text of the answer.
func (a Answer) WithMessage(text string) Answer { a.message = text; return a }

// AfterCommit makes the server do the work before it fails: the client cannot
// know that its write was stored.
func (a Answer) AfterCommit() Answer { a.afterCommit = true; return a }

// Failures is a script of failures. The zero value has none. A [Server] has one;
// [Failures.Transport] puts one in front of a server that is somebody else's. It
// is safe for concurrent use.
type Failures struct {
	mu      sync.Mutex
	scripts []*script
	limit   *limit
}

// script is a list of answers for the requests that match, used up in order.
type script struct {
	match   Match
	answers []Answer
}

// FailNext gives the next n requests that match the same answer.
func (f *Failures) FailNext(n int, m Match, a Answer) {
	f.Script(m, slices.Repeat([]Answer{a}, n)...)
}

// Script gives the requests that match these answers, one each, in order; later
// requests are served as usual. Of several scripts that match, the one set first
// is used up first.
func (f *Failures) Script(m Match, answers ...Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scripts = append(f.scripts, &script{match: m, answers: answers})
}

// Limit lets the server carry at most inFlight matching requests at a time,
// each of which takes the time given; more are answered 429 as the in-flight
// filter of kube-apiserver does, without a Retry-After. A Limit replaces the one
// before. It has no effect on a Transport.
func (f *Failures) Limit(m Match, inFlight int, each time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = &limit{match: m, free: make(chan struct{}, inFlight), each: each}
}

// Heal forgets every script and limit.
func (f *Failures) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scripts, f.limit = nil, nil
}

type limit struct {
	match Match
	free  chan struct{}
	each  time.Duration
}

func (f *Failures) next(r Request) (Answer, *limit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.limit
	if l != nil && !l.match.Covers(r) {
		l = nil
	}
	for _, sc := range f.scripts {
		if len(sc.answers) > 0 && sc.match.Covers(r) {
			a := sc.answers[0]
			sc.answers = sc.answers[1:]
			return a, l
		}
	}
	return Pass, l
}

// enter takes a place of the limit and holds it for the service time. It
// returns false when there is no place.
func (l *limit) enter(r *http.Request) (leave func(), ok bool) {
	select {
	case l.free <- struct{}{}:
	default:
		return nil, false
	}
	timer := time.NewTimer(l.each)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
	return func() { <-l.free }, true
}

// say writes the answer. Drop is a panic that net/http knows: it closes the
// connection and logs nothing.
func (a Answer) say(w http.ResponseWriter, ctx context.Context, t target) {
	switch {
	case a.drop:
		panic(http.ErrAbortHandler)
	case a.hang:
		<-ctx.Done()
		panic(http.ErrAbortHandler)
	}
	if a.retryAfter != 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.retryAfter))
	}
	switch a.code {
	case http.StatusTooManyRequests:
		a.text(w, "text/plain; charset=utf-8", "Too many requests, please try again later.")
	case http.StatusBadGateway:
		a.text(w, "text/html", "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n")
	default:
		writeStatus(w, a.status(t))
	}
}

func (a Answer) text(w http.ResponseWriter, contentType, body string) {
	if a.message != "" {
		body = a.message
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(a.code)
	fmt.Fprintln(w, body)
}

// status builds the error that apimachinery's own constructors make for the
// code, so that every predicate answers for it.
func (a Answer) status(t target) metav1.Status {
	gr := schema.GroupResource{Group: t.group, Resource: t.Resource}
	var err *apierrors.StatusError
	switch a.code {
	case http.StatusInternalServerError:
		err = apierrors.NewInternalError(fmt.Errorf("%s", or(a.message, "something went wrong")))
	case http.StatusServiceUnavailable:
		err = apierrors.NewServiceUnavailable(or(a.message, "the server is currently unable to handle the request"))
	case http.StatusGatewayTimeout:
		err = apierrors.NewTimeoutError(or(a.message, "request did not complete within the allotted timeout"), a.retryAfter)
	case http.StatusNotFound:
		err = apierrors.NewNotFound(gr, t.Name)
	case http.StatusForbidden:
		err = apierrors.NewForbidden(gr, t.Name, fmt.Errorf("%s", or(a.message, "forbidden by script")))
	case http.StatusConflict:
		err = apierrors.NewConflict(gr, t.Name, fmt.Errorf("%s", or(a.message, modified)))
	default:
		err = apierrors.NewGenericServerResponse(a.code, t.Verb, gr, t.Name, a.message, a.retryAfter, false)
	}
	return err.ErrStatus
}

func or(text, fallback string) string {
	if text != "" {
		return text
	}
	return fallback
}
