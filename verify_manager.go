// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"

	"github.com/k8sretry/k8sretry/internal/objectdiff"
)

// requestManager finds out the field manager of the requests of a call. It is what the URL says, or
// else the beginning of the User-Agent header; a client may set either without its caller.
type requestManager struct {
	client          any      // may know it, see Updater
	url             *url.URL // as a Transport has seen it; may be nil
	path, userAgent atomic.Pointer[string]
	differ          atomic.Bool // one request has shown another manager than the one before
}

// observe returns a context for a request to be noted.
func (m *requestManager) observe(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: func(key string, values []string) {
		switch {
		case len(values) == 0:
		case key == ":path":
			m.note(m.path.Swap(&values[0]), values[0], managerInPath)
		case strings.EqualFold(key, "User-Agent"):
			m.note(m.userAgent.Swap(&values[0]), values[0], managerInUserAgent)
		}
	}})
}

func (m *requestManager) note(before *string, now string, manager func(string) string) {
	if before != nil && *before != now && manager(*before) != manager(now) {
		m.differ.Store(true)
	}
}

// observeURL notes the URL of a request that a Transport has seen; it may be nil.
func (m *requestManager) observeURL(u *url.URL) {
	if m.url != nil && u != nil && managerInURL(m.url) != managerInURL(u) {
		m.differ.Store(true)
	}
	m.url = u
}

// observeRead returns a context for a read by the same client. It has the User-Agent of the write,
// which may never have come as far as net/http.
func (m *requestManager) observeRead(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: func(key string, values []string) {
		if len(values) > 0 && strings.EqualFold(key, "User-Agent") {
			m.userAgent.CompareAndSwap(nil, &values[0])
		}
	}})
}

// name returns the field manager of the last request, "" if it is not known. It is not certain if
// nothing shows whether the URL names another one than the User-Agent, or if an earlier request
// had another one.
func (m *requestManager) name(option string) (manager string, certain bool) {
	inURL, known := m.inURL()
	switch {
	case inURL != "":
		return inURL, !m.differ.Load()
	case !known && option != "":
		return option, true
	}
	userAgent := m.userAgent.Load()
	if userAgent == nil {
		return "", false
	}
	return managerInUserAgent(*userAgent), known && !m.differ.Load()
}

// inURL returns the field manager in the URL, and whether the URL is known: over HTTP/1.1, the
// hooks do not show it.
func (m *requestManager) inURL() (manager string, known bool) {
	switch path := m.path.Load(); {
	case path != nil:
		return managerInPath(*path), true
	case m.url != nil:
		return managerInURL(m.url), true
	}
	return fieldManagerOf(m.client)
}

func managerInURL(u *url.URL) string { return u.Query().Get("fieldManager") }

func managerInPath(path string) string {
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return ""
	}
	return managerInURL(u)
}

// managerInUserAgent returns the field manager that a server records for a request without one:
// what can be printed before the first slash, as far as there is room for it
// (prefixFromUserAgent in k8s.io/apiserver/pkg/endpoints/handlers/create.go).
func managerInUserAgent(userAgent string) string {
	prefix, _, _ := strings.Cut(userAgent, "/")
	var manager strings.Builder
	for _, r := range prefix {
		if !unicode.IsPrint(r) {
			continue
		}
		if manager.Len()+utf8.RuneLen(r) > validation.FieldManagerMaxLength {
			break
		}
		manager.WriteRune(r)
	}
	if manager.Len() == 0 {
		return objectdiff.UnknownManager
	}
	return manager.String()
}
