// SPDX-License-Identifier: Apache-2.0

// Package testkit helps the tests of this repository.
package testkit

import "time"

// Sleep is time.Sleep for code that runs in a bubble of testing/synctest, where it takes no
// real time. It panics elsewhere, so that no test waits for real. The linter forbids
// time.Sleep in tests.
func Sleep(d time.Duration) {
	// The clock of a bubble has no monotonic reading, which Round(0) strips.
	if now := time.Now(); now != now.Round(0) {
		panic("testkit.Sleep: not in a bubble of testing/synctest")
	}
	time.Sleep(d) //nolint:forbidigo // the one place, in a bubble
}
