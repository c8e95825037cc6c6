package k8sretry

import "syscall"

// hostDown is an error that WASI does not know.
const hostDown = ^syscall.Errno(0)
