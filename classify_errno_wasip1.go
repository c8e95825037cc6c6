package k8sretry

import "syscall"

// hostDown is no error number of WASI, which has no EHOSTDOWN.
const hostDown = ^syscall.Errno(0)
