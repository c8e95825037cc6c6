package sim

import (
	"os"
	"runtime/debug"
	"testing"
	"testing/synctest"
)

// Main runs the body of a command as a test is run, and ends the process: a bubble of
// virtual time belongs to a test. Call it after flag.Parse.
func Main(body func(t *testing.T) (code int)) {
	debug.SetGCPercent(400) // much is made and dropped, little is kept
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: "herd", F: func(t *testing.T) { os.Exit(body(t)) }}}, nil, nil)
}

// InBubbles calls each function in a bubble of its own, several at a time.
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
