package tinykube

import (
	"bytes"
	"context"
	"io"
	"net/http"
)

// Transport makes the failures happen on the client's side, in front of a real
// server: use it as rest.Config.Wrap(failures.Transport). Requests without a
// failure pass untouched; of requests with one, only those AfterCommit reach the
// server, whose answer is lost. The Name of a create is not known here.
func (f *Failures) Transport(next http.RoundTripper) http.RoundTripper {
	return interposer{f, next}
}

type interposer struct {
	failures *Failures
	next     http.RoundTripper
}

func (i interposer) RoundTrip(r *http.Request) (*http.Response, error) {
	t, ok := parse(r)
	if !ok {
		return i.next.RoundTrip(r)
	}
	answer, _ := i.failures.next(t.Request)
	switch {
	case answer == Pass:
		return i.next.RoundTrip(r)
	case answer.afterCommit:
		response, err := i.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	case r.Body != nil:
		_ = r.Body.Close()
	}
	return answer.response(r.Context(), r, t)
}

// response is the answer as a client's transport returns it.
func (a Answer) response(ctx context.Context, r *http.Request, t target) (*http.Response, error) {
	switch {
	case a.drop:
		return nil, io.EOF
	case a.hang:
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	page := &page{header: http.Header{}}
	a.say(page, ctx, t)
	return &http.Response{
		Status: http.StatusText(page.code), StatusCode: page.code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: page.header, Body: io.NopCloser(&page.body), ContentLength: int64(page.body.Len()), Request: r,
	}, nil
}

// page is an answer being written.
type page struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (p *page) Header() http.Header         { return p.header }
func (p *page) Write(b []byte) (int, error) { return p.body.Write(b) }
func (p *page) WriteHeader(code int)        { p.code = code }
