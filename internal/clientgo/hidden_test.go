// SPDX-License-Identifier: Apache-2.0

package clientgo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/k8sretry/k8sretry/internal/apirequest"
)

func ofSocket(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, errno)}
}

// joined is an error that wraps several, as *k8sretry.Error does.
type joined struct{ errs []error }

func (j *joined) Error() string   { return errors.Join(j.errs...).Error() }
func (j *joined) Unwrap() []error { return j.errs }

// fromClient returns err as client-go sees it.
func fromClient(err error) error {
	return &url.Error{Op: "Get", URL: "https://server/api/v1/pods", Err: err}
}

// repeatedByClientGo reports whether client-go repeats a GET after err
// (k8s.io/client-go/rest/request.go).
func repeatedByClientGo(err error, watch bool) bool {
	if watch {
		return utilnet.IsProbableEOF(err) || utilnet.IsTimeout(err)
	}
	return utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) || utilnet.IsHTTP2ConnectionLost(err)
}

// client-go recognizes none of the errors after which it would repeat a GET. errors.Is and
// errors.As still find them, and so do client-go's helpers after RevealError.
func TestHiddenErrorsAreNotRecognizedByClientGo(t *testing.T) {
	reset := ofSocket("read", syscall.ECONNRESET)
	gaveUp := &joined{errs: []error{reset, errors.New("max retries reached")}}
	for _, c := range []struct {
		situation string
		err       error
		watchOnly bool
	}{
		{"reset", reset, false},
		{"reset, given up", gaveUp, false},
		{"EOF", io.EOF, false},
		{"unexpected EOF", io.ErrUnexpectedEOF, false},
		{"closed", &net.OpError{Op: "write", Net: "tcp", Err: net.ErrClosed}, false},
		{"GOAWAY", errors.New(`http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=""`), false},
		{"ping lost", errors.New("http2: client connection lost"), false},
		{"broken connection", errors.New("http: can't write HTTP request on broken connection"), false},
		{"timeout", os.ErrDeadlineExceeded, true},
	} {
		for _, watch := range []bool{false, true} {
			t.Run(fmt.Sprint(c.situation, ", watch ", watch), func(t *testing.T) {
				if c.watchOnly && !watch {
					assert.Equal(t, c.err, HideError(c.err, &apirequest.Request{}, http.MethodGet))
					return
				}
				plain := fromClient(c.err)
				err := fromClient(HideError(c.err, &apirequest.Request{Watch: watch}, http.MethodGet))
				assert.False(t, repeatedByClientGo(err, watch))
				assert.ErrorIs(t, err, c.err)
				assert.Equal(t, errors.Is(plain, syscall.ECONNRESET), errors.Is(err, syscall.ECONNRESET))
				assert.Equal(t, errors.Is(plain, net.ErrClosed), errors.Is(err, net.ErrClosed))
				var op, wantOp *net.OpError
				assert.Equal(t, errors.As(plain, &wantOp), errors.As(err, &op))
				assert.Equal(t, wantOp, op)

				hidden := err.(*url.Error).Err.(*HiddenError)
				assert.Equal(t, c.err, hidden.Hidden())
				assert.NoError(t, errors.Unwrap(hidden))

				for name, revealed := range map[string]error{
					"as it is":  RevealError(err),
					"wrapped":   RevealError(fmt.Errorf("getting: %w", err)),
					"joined":    RevealError(errors.Join(io.ErrNoProgress, err)),
					"aggregate": RevealError(utilerrors.NewAggregate([]error{err})),
				} {
					if name != "aggregate" { // which errors.As does not look into
						assert.Equal(t, utilnet.IsConnectionReset(plain), utilnet.IsConnectionReset(revealed), name)
						assert.Equal(t, utilnet.IsTimeout(plain), utilnet.IsTimeout(revealed), name)
					}
				}
				assert.EqualError(t, hidden, c.err.Error())
				assert.Equal(t, c.err, errors.Unwrap(hidden))
				assert.EqualError(t, RevealError(err), plain.Error())
				assert.Equal(t, repeatedByClientGo(plain, watch), repeatedByClientGo(RevealError(fromClient(HideError(c.err, &apirequest.Request{Watch: watch}, http.MethodGet))), watch))
			})
		}
	}
}

// Reflectors look for a refused connection.
func TestErrorsThatClientGoDoesNotRepeatAreNotHidden(t *testing.T) {
	for _, err := range []error{
		ofSocket("dial", syscall.ECONNREFUSED), context.Canceled, errors.New("tls: bad certificate"), nil,
	} {
		assert.Equal(t, err, HideError(err, &apirequest.Request{}, http.MethodGet))
		assert.Equal(t, err, HideError(err, &apirequest.Request{Watch: true}, http.MethodGet))
	}
	assert.Equal(t, io.EOF, HideError(io.EOF, &apirequest.Request{}, http.MethodPost), "client-go repeats only GETs")
}

func TestHiddenErrorsShowOtherErrorNumbers(t *testing.T) {
	err := fromClient(HideError(errors.Join(ofSocket("dial", syscall.ECONNREFUSED), io.EOF, errors.New("connection reset by peer")), &apirequest.Request{}, http.MethodGet))
	assert.False(t, repeatedByClientGo(err, false))
	assert.True(t, utilnet.IsConnectionRefused(err))
	var temporary interface{ Temporary() bool }
	require.ErrorAs(t, err, &temporary)
	assert.False(t, temporary.Temporary())
}

func TestRetryAfterIsHiddenUntilTheBodyIsRead(t *testing.T) {
	for code, hidden := range map[int]bool{200: false, 301: false, 404: false, 429: true, 500: true, 503: true} {
		for _, body := range []string{"", "body"} {
			resp := response(code, "", body)
			resp.Header["Retry-After"] = []string{"1", "2"}
			if body == "" {
				resp.Body = nil
			}
			HideRetryAfter(resp, httptest.NewRequest(http.MethodGet, "/", nil))
			assert.Equal(t, hidden, resp.Header.Get("Retry-After") == "", code)
			if resp.Body != nil {
				got, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				assert.Equal(t, body, string(got))
			}
			assert.Equal(t, []string{"1", "2"}, resp.Header["Retry-After"])
		}
	}
	HideRetryAfter(nil, nil)
	resp := response(503, "", "")
	before := resp.Body
	HideRetryAfter(resp, httptest.NewRequest(http.MethodGet, "/", nil))
	assert.Equal(t, before, resp.Body, "there is nothing to hide")
}

// The client sees the errors of a body as they are, a RoundTripper above sees them hidden.
func TestReadErrorsAreHiddenFromRoundTrippers(t *testing.T) {
	broken := func() *http.Response {
		resp := response(200, "", "")
		resp.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
		return resp
	}
	resp := broken()
	HideReadErrors(resp, new(apirequest.Request), http.MethodGet)
	_, err := io.ReadAll(resp.Body)
	assert.Equal(t, io.ErrUnexpectedEOF, err)

	client := http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		resp := broken()
		HideReadErrors(resp, new(apirequest.Request), http.MethodGet)
		_, err := io.ReadAll(resp.Body)
		return nil, err
	})}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://server", nil)
	require.NoError(t, err)
	_, err = client.Do(req)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.False(t, utilnet.IsProbableEOF(err))
}

// The body of a stream may be more than a reader, and client-go repeats only GETs.
func TestBodiesThatAreLeftAlone(t *testing.T) {
	for _, c := range []struct {
		code    int
		method  string
		request apirequest.Request
	}{
		{101, http.MethodGet, apirequest.Request{}},
		{404, http.MethodGet, apirequest.Request{}},
		{200, http.MethodPost, apirequest.Request{}},
		{200, http.MethodGet, apirequest.Request{Watch: true, Once: true}},
	} {
		resp := response(c.code, "", "body")
		before := resp.Body
		HideReadErrors(resp, &c.request, c.method)
		assert.Equal(t, before, resp.Body, c)
	}
	HideReadErrors(nil, new(apirequest.Request), http.MethodGet)
}

func TestRevealErrorOfANilPointer(t *testing.T) {
	err := error((*url.Error)(nil))
	assert.NotPanics(t, func() { assert.Equal(t, err, RevealError(err)) })
}
