// Package contender holds everybody who takes part: this library in its variants, and
// its peers, each with five retries after 2 s to 30 s and 10 s for an attempt, as far
// as the library has these.
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

// The settings that all share.
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
	// Shares says that the calls of a process have something in common.
	Shares bool
	// Process makes a process: what its calls share is made here.
	Process func() sim.Process
}

// All lists everybody, in the order of the tables.
func All() []Contender {
	var all []Contender
	for _, v := range Ours() {
		all = append(all, v.contender())
	}
	return append(all, peers()...)
}

// Named are the contenders one of whose patterns occurs in their name. A pattern that
// ends in $ must be the name's end. No pattern: all.
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

// transient is the check of all peers: the codes and lost connections that this
// library retries, and attempts that took too long.
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

// bounded gives an attempt its 10 s.
func bounded(ctx context.Context, attempt sim.Attempt) error {
	ctx, cancel := context.WithTimeout(ctx, perAttempt)
	defer cancel()
	return attempt(ctx)
}

// retryAfter is what the server has asked for.
func retryAfter(err error) (time.Duration, bool) {
	s, ok := apierrors.SuggestsClientDelay(err)
	return time.Duration(s) * time.Second, ok && s > 0
}
