// SPDX-License-Identifier: Apache-2.0

// Package storm makes many concurrent calls to a real API server while answers are lost,
// other clients write the same objects and the server is killed, and counts the callers
// that got a wrong result.
//
// With companions, other controllers write every object as soon as they see it: one adds a
// label and a finalizer with k8sretry.Modify, one replaces the annotations, one creates again
// what is deleted, and a second replica of the caller writes the same counters.
//
// The judge compares the results with the server's history, a watch from before the first
// object and without faults, and with the fault proxy, which knows which requests were
// carried out. It tells the calls apart by UIDs and by values that only one call writes, so
// that what companions do does not count.
//
// A [Caller] is one way to make calls: plain client-go, client-go's retry.OnError, and
// k8sretry. All callers have the same faults, which depend on a seed.
package storm
