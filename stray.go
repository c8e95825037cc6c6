// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
)

// This file reports a function that makes its request with another context than the one that it
// was given, usually that of the code around it. Then the attempt timeout has no effect, and a
// Transport does not know that it is in a Do: both would repeat the request.

// strayError is the failure of such a request.
type strayError struct{ err error }

func (e *strayError) Error() string {
	return e.err.Error() + " (k8sretry: the request was not made with the context that the function was given)"
}

func (e *strayError) Unwrap() error { return e.err }

// Timeout is the answer of the wrapped error, for url.Error.
func (e *strayError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.err, &t) && t.Timeout()
}

// recorded calls fn with a context that carries a record. A Transport looks for it on the stack.
func recorded[T any](ctx context.Context, fn func(context.Context) (T, error)) (T, error) {
	return fn(ctx)
}

// noteStray marks an error of the network that no request of the attempt has caused: the record
// saw no connection. An error of a fake or of the caller has no addresses, and client-go dials by itself for exec, attach and port-forward.
func (r *callRecord) noteStray(err error) error {
	if r == nil || r.trace == nil {
		return err
	}
	if f := r.Facts(); f.Connected > 0 || f.Requests > 0 {
		return err
	}
	var sent *url.Error
	var op *net.OpError
	if !errors.As(err, &sent) || !errors.As(sent.Err, &op) || op.Addr == nil || op.Source == nil || op.Op != "read" && op.Op != "write" {
		return err
	}
	path, _, _ := strings.Cut(sent.URL, "?")
	for _, stream := range []string{"/exec", "/attach", "/portforward"} {
		if strings.HasSuffix(path, stream) {
			return err
		}
	}
	return &strayError{err}
}
