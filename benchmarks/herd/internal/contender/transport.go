// SPDX-License-Identifier: Apache-2.0

package contender

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// overTransport returns a process whose calls are HTTP requests through a Transport. The
// server is below it: each request is an attempt.
func overTransport() sim.Process {
	transport := k8sretry.Transport(
		k8sretry.ForWrite(), k8sretry.WithAttemptTimeout(perAttempt), k8sretry.WithLogger(nil), limiter(),
	)(roundTripper(serve))
	return func(ctx context.Context, verb sim.Verb, attempt sim.Attempt) error {
		var last error
		ctx = context.WithValue(ctx, attemptKey{}, func(ctx context.Context) error {
			last = attempt(ctx)
			return last
		})
		r := requests[verb]
		req, err := http.NewRequestWithContext(ctx, r.method, "https://10.96.0.1"+r.path, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if err := resp.Body.Close(); err != nil {
			return err
		}
		if resp.StatusCode >= http.StatusBadRequest {
			return last
		}
		return nil
	}
}

// requests are those of the verbs.
var requests = [...]struct{ method, path string }{
	sim.Get:   {http.MethodGet, "/api/v1/namespaces/default/pods/a"},
	sim.List:  {http.MethodGet, "/apis/example.com/v1/namespaces/default/widgets"},
	sim.Renew: {http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/default/leases/a"},
}

// attemptKey finds the attempt in the context of a request.
type attemptKey struct{}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// serve makes an attempt. All requests are of one priority level.
func serve(req *http.Request) (*http.Response, error) {
	attempt := req.Context().Value(attemptKey{}).(func(context.Context) error)
	err := attempt(req.Context())
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if err != nil && !ok {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			return nil, wrapped.Err
		}
		return nil, err
	}
	code, body := http.StatusOK, []byte("{}")
	header := http.Header{"Content-Type": {"application/json"}}
	header.Set("X-Kubernetes-PF-PriorityLevel-UID", "workload-low")
	if status != nil {
		s := status.ErrStatus
		s.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
		code = int(s.Code)
		if body, err = json.Marshal(s); err != nil {
			return nil, err
		}
		if s.Details != nil && s.Details.RetryAfterSeconds > 0 {
			header.Set("Retry-After", strconv.Itoa(int(s.Details.RetryAfterSeconds)))
		}
	}
	return &http.Response{
		StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: header, Body: io.NopCloser(strings.NewReader(string(body))), ContentLength: int64(len(body)),
	}, nil
}
