// SPDX-License-Identifier: Apache-2.0

// Package errno names error numbers that some systems lack.
package errno

import "syscall"

// HostDown equals no error number, because WASI has no EHOSTDOWN.
const HostDown = ^syscall.Errno(0)
