//go:build !wasip1

package k8sretry

import "syscall"

// hostDown is the error number of a host that is down.
const hostDown = syscall.EHOSTDOWN
