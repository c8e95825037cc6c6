package k8sretry

import "time"

// sequel is what follows an attempt.
type sequel uint8

const (
	noMore sequel = iota // the call has ended
	atOnce
	afterWait // for the timer
)

// arm sets the timer for the next wait. One serves all waits of a call, and then other
// calls, see newProgress.
//
// A timer of a bubble of testing/synctest must not be touched outside of it, and one from
// outside never ends in a bubble. So bubbles keep and take none.
func (p *progress) arm(d time.Duration) sequel {
	switch {
	case d <= 0:
		return atOnce
	case p.timer == nil:
		p.timer = time.NewTimer(d)
	default:
		p.timer.Reset(d)
	}
	return afterWait
}

// firstFailed notes the time, and whether the clock is that of a bubble: such a one has no
// monotonic reading, which Round(0) takes away. Where no clock has one, all pass for those
// of bubbles.
func (p *progress) firstFailed() {
	now := time.Now()
	p.failed = clock.At(now)
	if p.bubbled = now == now.Round(0); p.bubbled {
		p.timer = nil
	}
}

// disarm ends a wait before its time. What the timer has sent by then is not certain under
// GODEBUG=asynctimerchan=1, and so it is not kept.
func (p *progress) disarm() {
	p.timer.Stop()
	p.timer = nil
}
