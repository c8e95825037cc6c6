package k8sretry

import (
	"sync"
	"sync/atomic"
	"time"
)

// The defaults of [BreakerConfig], and what is not worth a field.
const (
	defaultBreakerFailures = 20
	defaultBreakerRatio    = 0.9
	defaultBreakerWindow   = 10 * time.Second
	defaultBreakerOpenTime = 2 * time.Second
	defaultBreakerMaxOpen  = 30 * time.Second
	defaultBreakerProbes   = 1

	// breakerRecent is how many parts of the window trouble has to last before the
	// breaker opens: a failover of a second is what retries are for.
	breakerRecent = 3
	// breakerRecovery is how long after closing the breaker reckons with the trouble
	// before: attempts from then may still fail, and the open time grows on. It is
	// longer than requests usually take.
	breakerRecovery = time.Minute
	// breakerMaxRetryAfter is the longest Retry-After that holds for other calls than
	// the one that got it.
	breakerMaxRetryAfter = 5 * time.Minute
)

// BreakerConfig says when a [Breaker] opens and for how long. It is plain data; the
// zero value stands for the defaults.
type BreakerConfig struct {
	// MinFailures is how many failures it takes at least: within the Window, or in a
	// row without a success, however long that took. 0 stands for 20. Negative: an
	// error.
	MinFailures int
	// FailureRatio is the share of attempts within the Window that have to fail, above 0
	// to 1. 0 stands for 0.9. Others, and NaN: an error.
	FailureRatio float64
	// Window is how long an attempt counts: a tenth of it more at most. Trouble that
	// has lasted less than three tenths of it opens nothing. 0 stands for 10 s.
	// Negative: an error.
	Window time.Duration
	// OpenDuration is how long the breaker stays open for the first time. The time
	// doubles, up to MaxOpenDuration, with each time that it opens again before it has
	// been closed for a minute. It is spread as [JitterProportional] does, and never
	// shorter than what the server asked for by Retry-After, up to 5 minutes. 0
	// stands for 2 s. Negative: an error.
	OpenDuration time.Duration
	// MaxOpenDuration is the longest open time, but for a Retry-After. It is also how
	// long a probe that does not come back holds its place. 0 stands for 30 s, or for
	// OpenDuration if that is longer. Less than OpenDuration: the open time is MaxOpenDuration.
	// Negative: an error.
	MaxOpenDuration time.Duration
	// HalfOpenProbes is how many attempts may be under way at a time while the breaker is
	// half-open, and how many of them have to succeed, with no failure between, to
	// close it. 0 stands for 1. Negative: an error.
	HalfOpenProbes int
}

// BreakerState is what a [Breaker] does with attempts.
type BreakerState uint8

// The states of a Breaker.
const (
	BreakerClosed   BreakerState = iota // lets all through
	BreakerOpen                         // lets none through
	BreakerHalfOpen                     // lets a few through, to see whether the server is back
)

var breakerNames = [...]string{"closed", "open", "half_open"}

// String returns the state as logs and metrics name it: "half_open".
func (s BreakerState) String() string {
	if int(s) < len(breakerNames) {
		return breakerNames[s]
	}
	return "invalid"
}

// Breaker is a circuit breaker for all calls that share it; see [WithBreaker]. While
// the server is down it lets no attempt through: a call that it refuses returns at
// once, with the last error of the API and [ErrBreakerOpen].
//
// It is fed by what tells of the server's health alone:
//
//   - Failures are 408, 500, 502, 503, 504, timeouts, and connections that were refused
//     or lost.
//   - Every other answer is a success, a 404, 409 or 422 too: only a server that works
//     gives it.
//   - A 429 is neither: the server works and says itself when to come again. It never
//     opens the breaker, but a probe that gets it keeps the breaker open.
//   - Webhooks and servers behind the server that fail, calls that their caller gave up and
//     requests that were never made count for nothing. A webhook that denies is an answer.
//
// Closed, it opens when nearly all attempts of some seconds have failed, as
// [BreakerConfig] says in detail. It does not open for a fault that hits a part of
// the attempts at random: retries are better at that. Open, it becomes half-open with
// the first attempt after its open time. Half-open, one failure opens it again.
//
// A Breaker is made by [NewBreaker], safe for concurrent use and must not be copied.
// It starts no goroutine and no timer. The zero value never opens.
type Breaker struct {
	// word is what attempts read without the lock: the state in two bits, whether
	// there is something to count in the third, and above them the epoch, which
	// grows with each state.
	word atomic.Uint32

	problem string // what makes no sense in the config; reported by the calls that use it
	base    time.Time

	failures int
	ratio    float64
	opening  Exponential
	probes   int

	// The lock and the error behind it, as funcs: for the compiler, who calls a method
	// of a Mutex lets its owner escape, and with it the options of the call that have
	// led here; so does who returns what the owner holds.
	lock, unlock func()
	last         func() error

	mu     sync.Mutex
	window window[breakerPart] // the attempts that ended while closed
	streak int                 // failures since the last success
	since  time.Duration       // when the streak began

	openings  int // since the last recovery
	openedAt  time.Duration
	openFor   time.Duration
	notBefore time.Duration // what the server asked for by Retry-After
	closedAt  time.Duration
	err       error // the last one that made or kept it open

	out       int           // probes under way
	outSince  time.Duration // when the last one began
	outEpoch  uint32        // probes of earlier epochs no longer hold a place
	succeeded int           // probes, since the breaker is half-open
}

// breakerPart is what happened in a part of the window.
type breakerPart struct{ failed, well int }

const (
	breakerStateBits  = 3
	breakerBusy       = 4
	breakerEpochShift = 3
)

// NewBreaker returns a closed Breaker. A config that makes no sense is reported by the
// calls that use the Breaker, without an attempt.
func NewBreaker(c BreakerConfig) *Breaker {
	b := &Breaker{base: time.Now()}
	switch {
	case c.MinFailures < 0:
		b.problem = "NewBreaker: MinFailures must not be negative"
	case c.FailureRatio != 0 && !(c.FailureRatio > 0 && c.FailureRatio <= 1):
		b.problem = "NewBreaker: FailureRatio must be above 0 and at most 1"
	case c.Window < 0:
		b.problem = "NewBreaker: Window must not be negative"
	case c.OpenDuration < 0:
		b.problem = "NewBreaker: OpenDuration must not be negative"
	case c.MaxOpenDuration < 0:
		b.problem = "NewBreaker: MaxOpenDuration must not be negative"
	case c.HalfOpenProbes < 0:
		b.problem = "NewBreaker: HalfOpenProbes must not be negative"
	}
	if b.problem != "" {
		return b
	}
	b.failures = orDefault(c.MinFailures, defaultBreakerFailures)
	b.ratio = orDefault(c.FailureRatio, defaultBreakerRatio)
	b.window = newWindow[breakerPart](orDefault(c.Window, defaultBreakerWindow))
	b.opening = Exponential{
		Initial:    orDefault(c.OpenDuration, defaultBreakerOpenTime),
		Max:        orDefault(c.MaxOpenDuration, max(c.OpenDuration, defaultBreakerMaxOpen)),
		Multiplier: 2,
	}
	b.probes = orDefault(c.HalfOpenProbes, defaultBreakerProbes)
	b.word.Store(1 << breakerEpochShift)
	b.lock, b.unlock = b.mu.Lock, b.mu.Unlock
	b.last = func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.err
	}
	return b
}

// orDefault returns the default for a field that was not given.
func orDefault[T comparable](v, otherwise T) T {
	if v == *new(T) {
		return otherwise
	}
	return v
}

// State returns the state. An open Breaker stays so until an attempt comes after its
// open time. It is safe for concurrent use, and for a nil Breaker BreakerClosed.
func (b *Breaker) State() BreakerState {
	if b == nil {
		return BreakerClosed
	}
	return b.state()
}

func (b *Breaker) state() BreakerState { return BreakerState(b.word.Load() & breakerStateBits) }
func (b *Breaker) epoch() uint32       { return b.word.Load() >> breakerEpochShift }

// become changes the state and begins an epoch. There is something to count from the
// first opening until the server has recovered.
func (b *Breaker) become(s BreakerState) {
	b.word.Store((b.epoch()+1)<<breakerEpochShift | breakerBusy | uint32(s))
}

// calm reports whether the breaker is closed and has nothing to count: enter may be
// skipped, and leave after a success.
func (b *Breaker) calm() bool { return b.word.Load()&(breakerStateBits|breakerBusy) == 0 }

// admission is what a breaker says to an attempt. The zero value stands for one that
// began while it was calm.
type admission struct {
	ok      bool          // the attempt may be made
	probe   bool          // the state depends on it
	changed bool          // the breaker has just become half-open
	epoch   uint32        // in which it was admitted
	wait    time.Duration // if it may not: until the breaker will try again
}

// enter asks whether an attempt may be made. Each that may has to be left, once.
func (b *Breaker) enter() admission {
	if w := b.word.Load(); BreakerState(w&breakerStateBits) == BreakerClosed {
		return admission{ok: true, epoch: w >> breakerEpochShift}
	}
	b.lock()
	defer b.unlock()
	a := admission{ok: true}
	now := sinceBase(b.base)
	switch b.state() {
	case BreakerClosed: // while it waited for the lock
		a.epoch = b.epoch()
		return a
	case BreakerOpen:
		if open := now - b.openedAt; 0 <= open && open < b.openFor {
			return admission{wait: b.openFor - open}
		}
	}
	if hangs := now - b.outSince; b.out > 0 && !(0 <= hangs && hangs < b.opening.Max) {
		// One that hangs must not keep the breaker from trying again.
		b.become(b.state())
		b.out, b.outEpoch, b.succeeded = 0, b.epoch(), 0
	} else if b.out >= b.probes { // when they will be back, nobody knows
		return admission{wait: min(b.opening.Initial, b.opening.Max-hangs)}
	}
	if b.state() == BreakerOpen {
		b.become(BreakerHalfOpen)
		b.succeeded = 0
		a.changed = true
	}
	b.out++
	b.outSince = now
	a.probe, a.epoch = true, b.epoch()
	return a
}

// leave tells how an attempt ended: what it said about the server, the Retry-After and
// the error. It returns whether the state has changed, and the state. The admission may be
// of an earlier epoch: what the attempt says about the server is then old.
func (b *Breaker) leave(a admission, h health, retryAfter time.Duration, err error) (changed bool, to BreakerState) {
	if b.last == nil || !a.probe && (h == unsaid || h == well && b.calm()) {
		return false, b.state()
	}
	b.lock()
	defer b.unlock()
	now, before := sinceBase(b.base), b.state()
	if a.probe && a.epoch >= b.outEpoch {
		b.out = max(0, b.out-1)
	}
	switch before {
	case BreakerClosed:
		b.count(now, a, h, retryAfter, err)
	case BreakerOpen:
		b.extend(now, h, retryAfter, err)
	case BreakerHalfOpen:
		if a.probe && a.epoch == b.epoch() {
			b.probed(now, h, retryAfter, err)
		}
	}
	to = b.state()
	return to != before, to
}

// count feeds a closed breaker.
func (b *Breaker) count(now time.Duration, a admission, h health, retryAfter time.Duration, err error) {
	part := b.window.at(now)
	switch h {
	case well:
		part.well++
		b.streak = 0
		if failed, _ := b.attempts(windowParts); failed == 0 && !b.recovering(now) {
			b.word.Store(b.epoch() << breakerEpochShift) // calm
		}
	case failing, lost:
		if a.epoch != b.epoch() && (a.epoch != 0 || b.recovering(now)) {
			return // it began before the breaker opened
		}
		part.failed++
		if b.streak == 0 {
			b.since = now
		}
		b.streak++
		b.heed(now, retryAfter)
		b.word.Store(b.epoch()<<breakerEpochShift | breakerBusy)
		if b.broken(now) {
			if !b.recovering(now) {
				b.openings = 0
			}
			b.openings++
			b.open(now, err)
		}
	}
}

// broken reports whether a closed breaker has to open.
func (b *Breaker) broken(now time.Duration) bool {
	if b.streak >= b.failures && now-b.since >= breakerRecent*b.window.width {
		return true
	}
	failed, well := b.attempts(windowParts)
	if failed < b.failures || !b.mostly(failed, well) {
		return false
	}
	// The window may owe its failures to a moment that is over.
	recentFailed, recentWell := b.attempts(breakerRecent)
	return failed > recentFailed && b.mostly(recentFailed, recentWell)
}

func (b *Breaker) mostly(failed, well int) bool {
	return float64(failed) >= b.ratio*float64(failed+well)
}

// attempts counts those of the part that has just begun and the given number before it.
func (b *Breaker) attempts(parts int) (failed, well int) {
	for i := range parts + 1 {
		part := b.window.back(i)
		failed += part.failed
		well += part.well
	}
	return failed, well
}

// recovering reports whether the breaker has closed a short while ago.
func (b *Breaker) recovering(now time.Duration) bool {
	return b.epoch() > 1 && now-b.closedAt < breakerRecovery
}

// heed notes what the server asked for.
func (b *Breaker) heed(now, retryAfter time.Duration) {
	b.notBefore = max(b.notBefore, now+min(retryAfter, breakerMaxRetryAfter))
}

// open opens the breaker, or opens it again.
func (b *Breaker) open(now time.Duration, err error) {
	b.become(BreakerOpen)
	b.openedAt = now
	b.openFor = afterServer(b.opening.Delay(b.openings), b.notBefore-now, false)
	b.notBefore = 0
	b.err = err
}

// extend heeds what the server says to attempts that were made before the breaker opened.
func (b *Breaker) extend(now time.Duration, h health, retryAfter time.Duration, err error) {
	if h == unsaid || h == well || now < b.openedAt {
		return
	}
	asked := min(retryAfter, breakerMaxRetryAfter)
	if open := now - b.openedAt; open+asked > b.openFor {
		b.openFor = open + afterServer(0, asked, false)
		b.err = err
	}
}

// probed feeds a half-open breaker with the end of a probe of its own.
func (b *Breaker) probed(now time.Duration, h health, retryAfter time.Duration, err error) {
	switch h {
	case well:
		if b.succeeded++; b.succeeded < b.probes {
			return
		}
		b.become(BreakerClosed)
		b.window.at(now)
		clear(b.window.parts[:])
		b.streak, b.notBefore, b.err = 0, 0, nil
		b.closedAt = now
		b.out, b.outEpoch = 0, b.epoch()
	case failing, lost:
		b.heed(now, retryAfter)
		b.openings++
		b.open(now, err)
	case throttled: // it is back, but not for all
		b.heed(now, retryAfter)
		b.open(now, err)
	}
}

// lastError returns the error that made the breaker open, or kept it so; nil if it is
// closed.
func (b *Breaker) lastError() error {
	if b.last == nil {
		return nil
	}
	return b.last()
}
