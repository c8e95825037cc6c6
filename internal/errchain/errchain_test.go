// SPDX-License-Identifier: Apache-2.0

package errchain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/net/http2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// loop wraps itself, as often as its length.
type loop int

func (loop) Error() string { return "loop" }
func (l loop) Unwrap() []error {
	members := make([]error, l)
	for i := range members {
		members[i] = l
	}
	return members
}

// endless wraps itself once.
type endless struct{}

func (*endless) Error() string   { return "endless" }
func (e *endless) Unwrap() error { return e }

// value cannot be compared.
type value struct{ errs []error }

func (value) Error() string { return "value" }

func notFound() error { return apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "a") }

func TestFindGoesDepthFirst(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	err := errors.Join(fmt.Errorf("a: %w", errors.Join(io.EOF, first)), second)
	isOurs := func(e error) bool { return e == first || e == second }
	assert.Equal(t, first, Find(err, isOurs))
	assert.Equal(t, err, Find(err, func(error) bool { return true }), "err itself is the first")
	assert.NoError(t, Find(err, func(error) bool { return false }))
	assert.NoError(t, Find(nil, func(error) bool { return true }))
}

func TestFindLooksIntoEveryKindOfWrapper(t *testing.T) {
	for kind, err := range map[string]error{
		"%w":         fmt.Errorf("a: %w", io.EOF),
		"several %w": fmt.Errorf("a: %w %w", io.ErrNoProgress, io.EOF),
		"Join":       errors.Join(io.ErrNoProgress, io.EOF),
		"Aggregate":  utilerrors.NewAggregate([]error{io.ErrNoProgress, io.EOF}),
		"all":        fmt.Errorf("a: %w", utilerrors.NewAggregate([]error{fmt.Errorf("b: %w", errors.Join(io.EOF))})),
	} {
		assert.Equal(t, io.EOF, Find(err, func(e error) bool { return e == io.EOF }), kind)
	}
}

func TestFindVisitsABoundedNumberOfErrors(t *testing.T) {
	for name, err := range map[string]error{"narrow": loop(1), "wide": loop(12), "endless": &endless{}} {
		visited := 0
		assert.NoError(t, Find(err, func(error) bool { visited++; return false }), name)
		assert.LessOrEqual(t, visited, MaxNodes, name)
		assert.GreaterOrEqual(t, visited, 1, name)
	}
}

func TestNoMethodOfANilPointerIsCalled(t *testing.T) {
	var status *apierrors.StatusError
	var op *net.OpError
	for _, err := range []error{status, op, fmt.Errorf("a: %w", op), errors.Join(status, op)} {
		assert.NotPanics(t, func() {
			assert.False(t, Is(err, io.EOF))
			assert.NotEmpty(t, TypeName(err))
			assert.NoError(t, Find(err, func(e error) bool { return e == error(op) }))
		})
	}
	assert.True(t, IsNil(status))
	assert.False(t, IsNil(&net.OpError{}))
	assert.False(t, IsNil(syscall.ENOENT))
	assert.False(t, IsNil(nil))
}

func TestIsAgreesWithPackageErrors(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for _, err := range []error{nil, io.EOF, fmt.Errorf("a: %w", io.EOF), errors.Join(io.ErrNoProgress, io.EOF), reset, notFound(), os.ErrDeadlineExceeded} {
		for _, target := range []error{io.EOF, syscall.ECONNRESET, context.DeadlineExceeded, context.Canceled} {
			assert.Equal(t, errors.Is(err, target), Is(err, target), "%v, %v", err, target)
		}
	}
}

func TestIsComparesWhatCanBeCompared(t *testing.T) {
	uncomparable := value{errs: []error{io.EOF}}
	assert.NotPanics(t, func() {
		assert.False(t, Is(uncomparable, uncomparable))
		assert.False(t, Is(errors.Join(uncomparable, io.EOF), uncomparable))
		assert.True(t, Is(errors.Join(uncomparable, io.EOF), io.EOF))
		assert.False(t, Is(struct{ error }{uncomparable}, struct{ error }{uncomparable}), "it contains an uncomparable value")
	})
}

func TestTypeNameIsThatOfTheMostInformativeError(t *testing.T) {
	plain := errors.New("no")
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for want, err := range map[string]error{
		"*errors.StatusError":           errors.Join(refused, utilerrors.NewAggregate([]error{fmt.Errorf("sync: %w", notFound())})),
		"*net.OpError":                  fmt.Errorf("sync: %w", &url.Error{Op: "Get", URL: "https://a", Err: refused}),
		"*url.Error":                    errors.Join(http2.StreamError{}, &url.Error{Op: "Get", URL: "https://a", Err: plain}),
		"http2.StreamError":             errors.Join(plain, fmt.Errorf("sync: %w", http2.StreamError{})),
		"context.deadlineExceededError": fmt.Errorf("sync: %w", context.DeadlineExceeded),
		"*fs.PathError":                 fmt.Errorf("sync: %w", &fs.PathError{Op: "open", Path: "token", Err: plain}),
		"*errors.errorString":           fmt.Errorf("sync: %w", plain),
		"errchain.loop":                 loop(2),
		"<nil>":                         nil,
	} {
		assert.Equal(t, want, TypeName(err))
	}
}
