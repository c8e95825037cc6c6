// SPDX-License-Identifier: Apache-2.0

// Package budget limits the retries of all calls that share a Budget. In each window of
// time there are as many retries as a minimum and a share of the calls that succeeded.
//
// Earning takes no clock: the successes since the previous payment are counted as if they
// had been spread evenly over the time since. After a quiet time a window has therefore
// earned what an average window has. It can never earn more than that, and each payment
// brings the count up to date.
package budget

import (
	"math"
	"sync"
	"time"

	"github.com/k8sretry/k8sretry/internal/counter"
	"github.com/k8sretry/k8sretry/internal/window"
)

// The defaults of a Config.
const (
	defaultRatio      = 0.6
	defaultMinRetries = 20
	defaultWindow     = 10 * time.Second
)

// Config holds the limits of a Budget. It must be valid: a finite Ratio, and no negative
// durations.
type Config struct {
	Ratio        float64       // retries that each success pays for; 0: 0.6, negative: none
	MinRetries   int           // retries besides, in each window; 0: 20, negative: none
	Window       time.Duration // 0: 10 s
	MaxRetryTime time.Duration // time spent on retries in each window; 0: no limit
}

// Budget counts successes and retries. It is safe for concurrent use.
type Budget struct {
	successes counter.Counter // first, so that each part has cache lines of its own

	ratio, minRetries float64
	maxTime           time.Duration
	clock             window.Clock

	mu            sync.Mutex
	window        window.Window[part]
	counted       uint64        // successes that are in the window or have left it
	countedAt     time.Duration // when they were counted
	paid, refused uint64
}

// part is what happened in one part of the window.
type part struct {
	earned float64 // successes
	paid   float64 // prices of retries
	spent  time.Duration
}

// Calls are the methods of a Budget as the call path uses them: bound once, because calling
// a func does not let its receiver escape.
type Calls struct {
	// Earn counts a call that succeeded.
	Earn func()
	// Pay reports whether a retry of the given price may be made after the given wait,
	// and charges for both. Prices are multiples of 1/2, so that their sums are exact.
	Pay func(price float64, wait time.Duration) bool
	// Spend charges for time spent on retries beyond the waits that were paid for.
	Spend func(d time.Duration)
}

// State is a Budget at one moment.
type State struct {
	Remaining     int // retries at a price of 1
	RetryTime     time.Duration
	Paid, Refused uint64
}

// New returns a full Budget.
func New(c Config) *Budget {
	if c.Ratio == 0 {
		c.Ratio = defaultRatio
	}
	if c.MinRetries == 0 {
		c.MinRetries = defaultMinRetries
	}
	if c.Window == 0 {
		c.Window = defaultWindow
	}
	return &Budget{
		ratio:      max(0, c.Ratio),
		minRetries: float64(max(0, c.MinRetries)),
		maxTime:    c.MaxRetryTime,
		clock:      window.NewClock(),
		window:     window.New[part](c.Window),
		countedAt:  window.Epoch,
	}
}

// Calls returns the methods of b, bound. They are the same for each call of Calls.
func (b *Budget) Calls() Calls { return Calls{b.earn, b.pay, b.spend} }

func (b *Budget) earn() { b.successes.Add(counter.Part(), 1) }

func (b *Budget) pay(price float64, wait time.Duration) bool {
	wait = max(0, wait)
	b.mu.Lock()
	defer b.mu.Unlock()
	current := b.update()
	left, spent := b.left()
	if price <= 0 { // the call waits for something that retries do not burden
		b.paid++
		return true
	}
	if price > left || b.maxTime > 0 && (spent >= b.maxTime || wait > b.maxTime-spent) {
		b.refused++
		return false
	}
	b.paid++
	current.paid += price
	current.spent = add(current.spent, wait)
	return true
}

func (b *Budget) spend(d time.Duration) {
	if d <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	current := b.update()
	current.spent = add(current.spent, d)
}

// State returns what is left now.
func (b *Budget) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.update()
	left, spent := b.left()
	return State{Remaining: int(min(max(0, left), math.MaxInt32)), RetryTime: spent, Paid: b.paid, Refused: b.refused}
}

// update moves the window to the current time and returns its current part. The successes
// since the previous update are spread evenly over the time since; those that fall before
// the window are dropped.
func (b *Budget) update() *part {
	now := b.clock.Now()
	current := b.window.At(now)
	total := b.successes.Sum()
	fresh, from := float64(total-b.counted), b.countedAt
	b.counted, b.countedAt = total, now
	if fresh == 0 || now <= from {
		current.earned += fresh
		return current
	}
	for i := range window.Parts + 1 {
		begin := b.window.Start(i)
		end := min(begin+b.window.Width(), now)
		if end <= from {
			break
		}
		b.window.Back(i).earned += fresh * float64(end-max(begin, from)) / float64(now-from)
	}
	return current
}

// left returns how many retries may be paid for now, and the time spent in the window. The
// former is negative if successes have left the window before the retries they paid for.
func (b *Budget) left() (retries float64, spent time.Duration) {
	var earned, paid float64
	for i := range window.Parts + 1 {
		p := b.window.Back(i)
		earned += p.earned
		paid += p.paid
		spent = add(spent, p.spent)
	}
	return b.minRetries + b.ratio*earned - paid, spent
}

// add adds two durations that are not negative, without overflow.
func add(a, b time.Duration) time.Duration { return a + min(b, math.MaxInt64-a) }
