// Package testkit helps the tests of this repository.
package testkit

import "time"

// Sleep is time.Sleep for code that runs in a bubble of testing/synctest, where it takes no
// real time. It panics elsewhere, so that no test waits for real. The linter forbids
// time.Sleep in tests.
func Sleep(d time.Duration) {
	// The clock of a bubble begins in 2000, that of the machine is later than this code.
	if time.Now().Year() >= 2026 {
		panic("testkit.Sleep: not in a bubble of testing/synctest")
	}
	time.Sleep(d) //nolint:forbidigo // the one place, in a bubble
}
