// SPDX-License-Identifier: Apache-2.0

// Package newest has the tests that need a newer client-go than the go.mod of the library
// requires. Before client-go v0.36 an informer waits for a channel from outside of its
// bubble of testing/synctest, so that no time passes in it, and a fake adds no objects to a
// watch. A fake dynamic client of v0.31 does not pass on the options of a delete.
// controller-runtime v0.23 adds an index only to a fake that nothing wraps.
package newest
