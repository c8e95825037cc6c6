//go:build !wasip1

package k8sretry

import "syscall"

const hostDown = syscall.EHOSTDOWN
