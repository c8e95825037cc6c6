// SPDX-License-Identifier: Apache-2.0

// Package before has programs with other libraries, which k8sretrylint rewrites to those of
// package after.
package before
