// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"os"
	"runtime/debug"
	"testing"
	"testing/synctest"
)

// Main runs the body of a command as a test and exits, because synctest bubbles need a
// test. It must be called after flag.Parse.
func Main(body func(t *testing.T) (code int)) {
	debug.SetGCPercent(400) // many allocations, little live memory
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: "herd", F: func(t *testing.T) { os.Exit(body(t)) }}}, nil, nil)
}

// InBubbles calls each function in its own synctest bubble, several in parallel.
func InBubbles(t *testing.T, fns []func()) (ok bool) {
	return t.Run("", func(t *testing.T) {
		for _, fn := range fns {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(*testing.T) { fn() })
			})
		}
	})
}
