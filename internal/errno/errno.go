// SPDX-License-Identifier: Apache-2.0

//go:build !wasip1

// Package errno names error numbers that some systems lack.
package errno

import "syscall"

// HostDown is the error number of a host that is down.
const HostDown = syscall.EHOSTDOWN
