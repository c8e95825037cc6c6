package k8sretry

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// errorType is the Go type of the error that tells something: the API status or the
// network error in the chain, whatever wraps it.
func errorType(err error) string {
	if status, ok := errors.AsType[interface {
		error
		apierrors.APIStatus
	}](err); ok {
		return fmt.Sprintf("%T", status)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Sprintf("%T", op)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Sprintf("%T", u)
	}
	return fmt.Sprintf("%T", err)
}
