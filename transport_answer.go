// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/clientgo"
	"github.com/k8sretry/k8sretry/internal/funcname"
)

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

// markCut makes an error of the body of a successful answer to a write say that the outcome is
// unknown: the client reads it when the call has ended here.
func (x *exchange) markCut(resp *http.Response) {
	if resp == nil || x.request.Verb.Reads() || x.request.StoresNothing || resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices ||
		resp.Body == nil || resp.Body == http.NoBody {
		return
	}
	resp.Body = &answerBody{resp.Body, x}
}

// answerBody is the body of the answer to a write.
type answerBody struct {
	io.ReadCloser
	x *exchange
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !b.x.request.DryRunInBody(b.x.req) {
		err = fmt.Errorf("%w; %w", err, ErrOutcomeUnknown)
	}
	return n, err
}

// strays reports whether a request was made by the function of a call whose record is not in its
// context. Only one that failed and would be repeated is asked, because it walks the stack.
// Discovery is not meant: it has a context of its own in client-go.
func (x *exchange) strays() bool {
	return x.sends == 1 && x.request.Resource != "" && Classify(x.failure).Class.transient() && funcname.IsCalledBy("recorded")
}

// orStray returns err, or ends the call if its request strays: the call around it decides about a
// repetition.
func (x *exchange) orStray(err error) error {
	if !x.strays() {
		return err
	}
	if err = withoutURL(err); x.response != nil {
		err = clientgo.ResponseError(x.response, &x.request, x.req.Method, true)
		x.discard()
	}
	x.stray = &strayError{err}
	return Permanent(x.stray)
}
