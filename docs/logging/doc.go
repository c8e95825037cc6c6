// SPDX-License-Identifier: Apache-2.0

// Package logging contains the code of docs/logging.md and its tests. It is a separate
// module because it imports logr and controller-runtime.
package logging
