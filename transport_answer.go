package k8sretry

import (
	"errors"
	"net/http"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/clientgo"
)

// foreignAnswer is a success that does not come from the API.
type foreignAnswer struct{ contentType string }

func (e *foreignAnswer) Error() string {
	return "k8sretry: the response is not one of the API, its content type is " + e.contentType
}

// errRedirected is a write that was answered by a 301, 302 or 303. net/http sends a GET, or
// would send it without a Transport below; its success says nothing about the write.
var errRedirected = errors.New("k8sretry: the server has redirected the write, which net/http follows with a GET")

// errRedirectedLater is a write that was answered by a 307 or 308 after an attempt that may have
// been carried out. net/http would send it again as another request, whose answer could be the
// effect of that attempt.
var errRedirectedLater = errors.New("k8sretry: the server has redirected the repetition of a write")

// remember notes whether the last attempt may have been carried out.
func (x *exchange) remember() {
	x.unknown = x.unknown || x.failure != nil && Classify(x.failure).Outcome != OutcomeNotExecuted
}

// redirected returns the response of an attempt that succeeded, unless net/http would repeat a
// write because of it whose outcome is unknown.
func (x *exchange) redirected(resp *http.Response) (*http.Response, error) {
	code := resp.StatusCode
	if x.request.Verb.Reads() || !x.unknown || code != http.StatusTemporaryRedirect && code != http.StatusPermanentRedirect {
		return resp, nil
	}
	clientgo.Discard(resp)
	x.failure = x.urlError(errRedirectedLater)
	return nil, x.failure
}

// notAnswered returns an error if the response to a write only looks like a success.
func notAnswered(request *apirequest.Request, resp *http.Response) error {
	if request.Verb.Reads() || request.Unread() {
		return nil
	}
	switch code := resp.StatusCode; {
	case code == http.StatusMovedPermanently, code == http.StatusFound, code == http.StatusSeeOther:
		return errRedirected
	case code >= http.StatusOK && code < http.StatusMultipleChoices && clientgo.IsForeign(resp):
		return &foreignAnswer{resp.Header.Get("Content-Type")}
	}
	return nil
}
