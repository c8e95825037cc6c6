package k8sretryotel

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry"
)

// A text comes from whoever answers: exporters get valid UTF-8 of a bounded length.
func FuzzText(f *testing.F) {
	f.Add("pods \"web-0\" not found")
	f.Add("a\xff\xc3")
	f.Add("x" + strings.Repeat("€", 1000))
	f.Fuzz(func(t *testing.T, s string) {
		got := text(errors.New(s))
		assert.True(t, utf8.ValidString(got))
		assert.LessOrEqual(t, len(got), longestText)
		if utf8.ValidString(s) {
			assert.True(t, strings.HasPrefix(s, got))
			assert.Greater(t, len(got)+utf8.UTFMax, min(len(s), longestText), "no more is lost than half a rune")
		}
	})
}

// What a Limiter does is seen in traces, too.
func TestHeldCallsSayForHowLong(t *testing.T) {
	held := eventAttributes(&k8sretry.Event{Kind: k8sretry.EventLimiter, Limited: true, Queued: 3 * time.Second})
	assert.Contains(t, held, keyHeld.Float64(3))
	assert.NotContains(t, eventAttributes(&k8sretry.Event{}), keyHeld.Float64(0))
}
