// SPDX-License-Identifier: Apache-2.0

// Package benchmarks compares k8sretry with other retry libraries, a hand-written loop
// and the call without retries. It is a separate module, so that k8sretry does not
// depend on the other libraries.
//
// Every library is used in two forms:
//
//   - usual: as in its README, with options created in the call and the predicates of
//     apimachinery to recognize transient failures;
//   - best: optimized with knowledge of its source: everything that can be prepared is
//     prepared once, and transient failures are recognized by the check of the
//     hand-written loop, which is as cheap as such a check can be.
//
// The situations are: success; a NotFound that must be returned at once; two failures
// before a success; a Get with a real clientset over loopback; thousands of calls that
// wait for their retry; the classification of errors; and the calculation of delays.
// Delays are one nanosecond: a real timer is started and the goroutine parks, but the
// benchmarks compare the work and not the sleep.
//
// All loops make up to three retries with exponential delays, a jitter of 20 % and a
// maximum of 30 s, as far as the library has these settings. Tests check the behaviour
// of each contender: three calls for two failures and a success, one call for a
// NotFound, four calls for a server that stays unavailable.
//
// To regenerate the tables of this directory and of the README:
//
//	go run ./cmd/table
package benchmarks
