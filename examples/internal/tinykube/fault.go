// SPDX-License-Identifier: Apache-2.0

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

// Request describes one HTTP request in the terms of RBAC.
type Request struct {
	Verb        string // get, list, watch, create, update, patch, delete, deletecollection
	Resource    string // plural: "configmaps"
	Subresource string // "status" or ""
	Namespace   string
	Name        string // for a create, the name in the body
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

// Answer is a failure that replaces the server's answer. The zero value is [Pass],
// which is no failure. An Answer may be used any number of times.
type Answer struct {
	code        int
	retryAfter  int
	message     string
	drop, hang  bool
	afterCommit bool
}

// Answers without a status code.
var (
	// Pass serves the request as usual. It is for gaps in a script.
	Pass = Answer{}
	// Drop closes the connection without an answer; the client gets io.EOF.
	// net/http and client-go repeat a GET after that.
	Drop = Answer{drop: true}
	// Hang does not answer until the client disconnects or the server stops.
	Hang = Answer{hang: true}
)

// Fail returns an answer with the given status code, in the form in which clients
// usually receive it: 429 as plain text of kube-apiserver's filters, 502 as HTML of
// a proxy, all others as a metav1.Status.
func Fail(code int) Answer { return Answer{code: code} }

// WithRetryAfter adds a Retry-After header, in seconds. client-go then repeats
// the request up to 10 times.
func (a Answer) WithRetryAfter(seconds int) Answer { a.retryAfter = seconds; return a }

// WithMessage replaces the text of the answer.
func (a Answer) WithMessage(text string) Answer { a.message = text; return a }

// AfterCommit makes the server carry out the request before it fails, so that the
// client does not know whether its write was stored.
func (a Answer) AfterCommit() Answer { a.afterCommit = true; return a }

// Failures is a set of scripted failures. The zero value is empty and ready to
// use. A [Server] embeds one; [Failures.Transport] injects failures in a client of
// another server. Its methods are safe for concurrent use.
type Failures struct {
	mu      sync.Mutex
	scripts []*script
	limit   *limit
}

// script is a list of answers for matching requests. Each answer is used once.
type script struct {
	match   Match
	answers []Answer
}

// FailNext answers the next n matching requests with a.
func (f *Failures) FailNext(n int, m Match, a Answer) {
	f.Script(m, slices.Repeat([]Answer{a}, n)...)
}

// Script answers matching requests with the given answers, in order, each of them
// once. Later requests are served as usual. If several scripts match, the oldest is
// used first.
func (f *Failures) Script(m Match, answers ...Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scripts = append(f.scripts, &script{match: m, answers: answers})
}

// Limit makes the server handle at most inFlight matching requests at a time, each
// of which takes the given time. Further requests are answered 429 as by the
// in-flight filter of kube-apiserver, but without a Retry-After. A new limit
// replaces the old one. Limit has no effect on a Transport.
func (f *Failures) Limit(m Match, inFlight int, each time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = &limit{match: m, free: make(chan struct{}, inFlight), each: each}
}

// Heal removes all scripts and the limit.
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

// next returns the answer to a request, and the limit that applies to it, if any.
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

// enter takes a slot of the limit and waits for the service time. ok is false if
// no slot is free.
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

// write writes the answer. For Drop it panics with http.ErrAbortHandler, which
// makes net/http close the connection without logging.
func (a Answer) write(w http.ResponseWriter, ctx context.Context, t target) {
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

// status returns the Status that the constructors of apierrors make for the code,
// so that the predicates of apierrors recognize it.
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
