//go:build !wasip1

package k8sretry_test

import (
	"syscall"
	"testing"
)

func TestHostDownIsAConnectionError(t *testing.T) {
	is("host down", syscall.EHOSTDOWN, connection, maybe).holds(t)
}
