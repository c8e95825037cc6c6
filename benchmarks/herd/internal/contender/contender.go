// SPDX-License-Identifier: Apache-2.0

// Package contender contains the contenders: variants of k8sretry, and other libraries.
// Each makes up to five retries with delays of 2 s to 30 s and an attempt timeout of 10 s,
// as far as the library has these settings.
package contender

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// The settings of all contenders.
const (
	retries    = 5
	initial    = 2 * time.Second
	longest    = 30 * time.Second
	perAttempt = 10 * time.Second
	jitter     = 0.2
)

// Contender is one way to make a call.
type Contender struct {
	Name string
	Ours bool
	// Shares is set if the calls of a process share state.
	Shares bool
	// Process returns a new process with the state that its calls share.
	Process func() sim.Process
}

// All returns all contenders in the order of the tables.
func All() []Contender {
	var all []Contender
	for _, v := range Ours() {
		all = append(all, v.contender())
	}
	all = append(all, Contender{Name: "k8sretry Transport with limiter", Ours: true, Shares: true, Process: overTransport})
	return append(all, peers()...)
}

// Named returns the contenders whose name contains one of the patterns. A pattern that
// ends in $ matches the end of a name. Without a pattern it returns all contenders.
func Named(patterns []string) []Contender {
	var found []Contender
	for _, c := range All() {
		for _, p := range patterns {
			if end, whole := strings.CutSuffix(p, "$"); whole && strings.HasSuffix(c.Name, end) || !whole && strings.Contains(c.Name, p) {
				found = append(found, c)
				break
			}
		}
		if len(patterns) == 0 {
			found = append(found, c)
		}
	}
	return found
}

// transient is the check of all other libraries: the status codes and connection errors
// that k8sretry retries, and timed-out attempts.
func transient(err error) bool {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		switch status.ErrStatus.Code {
		case 408, 429, 500, 502, 503, 504:
			return true
		}
		return false
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno == syscall.ECONNREFUSED || errno == syscall.ECONNRESET
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// bounded makes an attempt with the attempt timeout.
func bounded(ctx context.Context, attempt sim.Attempt) error {
	ctx, cancel := context.WithTimeout(ctx, perAttempt)
	defer cancel()
	return attempt(ctx)
}

// retryAfter returns the Retry-After of an error.
func retryAfter(err error) (time.Duration, bool) {
	s, ok := apierrors.SuggestsClientDelay(err)
	return time.Duration(s) * time.Second, ok && s > 0
}
