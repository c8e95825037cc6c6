package limiter

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The keys of two kinds of calls, which have slots of their own.
const (
	getPods  = 7 << 24
	listPods = 8 << 24
)
