package k8sretry

import "syscall"

// hostDown equals no error number, because WASI has no EHOSTDOWN.
const hostDown = ^syscall.Errno(0)
