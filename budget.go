package k8sretry

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// The defaults of [BudgetConfig].
const (
	defaultBudgetRatio   = 0.6
	defaultBudgetReserve = 20
	defaultBudgetWindow  = 10 * time.Second
)

// BudgetConfig says what a [Budget] allows. It is plain data; the zero value allows 20
// retries in 10 s, and 0.6 more for each call that succeeded in these 10 s.
type BudgetConfig struct {
	// Ratio is how many retries each successful call allows for the time of one
	// Window. 0 stands for 0.6, which carries a fault that hits a third of all
	// attempts at random; negative means none. NaN and infinite: an error.
	//
	// Retries are earned by successes, not by calls: in an outage nothing is
	// earned, and the MinRetries is all there is.
	Ratio float64
	// MinRetries is how many retries are allowed in each Window besides. It carries
	// callers of a few calls a second. 0 stands for 20; negative means none.
	MinRetries int
	// Window is how long a success and a retry count: a tenth of it more at most.
	// 0 stands for 10 s. Negative: an error.
	Window time.Duration
	// MaxRetryTime limits the time that all calls together spend on retries in
	// each Window: their waits, which are charged when they begin, and the
	// attempts that follow, charged when they end. One call that waits all the time
	// spends a Window in a Window. 0: no limit. Negative: an error.
	MaxRetryTime time.Duration
}

// Budget limits the retries of all calls that share it; see [WithBudget]. A call
// that it refuses a retry returns the error of the API at once, with
// [ErrBudgetExhausted] behind it; first attempts are never refused.
//
// In each window of time there are as many retries as the reserve has, and a share
// of the calls that succeeded. So it binds at a few calls a second as it does at
// thousands, in an outage it leaves the reserve alone, and it refills with time. A
// retry is asked for before its wait, and its price depends on what failed:
//
//	Class        Price   Why
//	server       1
//	connection   1
//	refused      1
//	bad_response 1       the server does its work once more
//	timeout      2       the server may still be at work for the attempt before
//	throttled    0.5     to turn a call away is cheap, and the server names the time
//	disruption_budget 0      the server is well, the call waits for pods
//	blocked      0       the server is well, the call waits for somebody
//	conflict     0       the server is well, the call reads again
//	others       1       retried because the caller's own rule says so
//
// A Budget reads no clock when a call succeeds. The successes since the failure
// before are counted as if they had come evenly: after a quiet time, a window has
// earned what an average window has. It can never earn more than that, and each
// failure puts it right again.
//
// A Budget is made by [NewBudget], safe for concurrent use and must not be copied. The
// zero value limits nothing.
type Budget struct {
	// First, so that each counter has a cache line of its own.
	counters [shards]struct {
		successes atomic.Uint64
		_         [120]byte // processors fetch lines in pairs
	}

	problem        string // what makes no sense in the config; reported by the calls that use it
	ratio, reserve float64
	maxTime        time.Duration
	base           time.Time

	// The lock, as funcs: for the compiler, who calls a method of a Mutex lets its
	// owner escape, and with it the options of the call that have led here.
	lock, unlock func()

	mu            sync.Mutex
	window        window[budgetPart]
	counted       uint64        // successes that are in the window or have left it
	countedAt     time.Duration // when they were counted
	paid, refused uint64
}

// budgetPart is what happened in a part of the window.
type budgetPart struct {
	earned float64 // successes
	paid   float64 // prices of retries
	spent  time.Duration
}

// budgetPrices are multiples of 1/2, so that their sums are exact.
var budgetPrices = [len(classNames)]float64{
	ClassNone:             1,
	ClassPermanent:        1,
	ClassServer:           1,
	ClassTimeout:          2,
	ClassThrottled:        0.5,
	ClassRefused:          1,
	ClassConnection:       1,
	ClassDisruptionBudget: 0,
	ClassConflict:         0,
	ClassBlocked:          0,
	ClassBadResponse:      1,
	ClassCanceled:         1,
}

// NewBudget returns a full Budget. A config that makes no sense is reported by the
// calls that use the Budget, without an attempt.
func NewBudget(c BudgetConfig) *Budget {
	b := &Budget{base: time.Now(), countedAt: century}
	switch {
	case math.IsNaN(c.Ratio) || math.IsInf(c.Ratio, 0):
		b.problem = "NewBudget: Ratio must be finite"
	case c.Window < 0:
		b.problem = "NewBudget: Window must not be negative"
	case c.MaxRetryTime < 0:
		b.problem = "NewBudget: MaxRetryTime must not be negative"
	}
	if b.problem != "" {
		return b
	}
	if c.Ratio == 0 {
		c.Ratio = defaultBudgetRatio
	}
	if c.MinRetries == 0 {
		c.MinRetries = defaultBudgetReserve
	}
	if c.Window == 0 {
		c.Window = defaultBudgetWindow
	}
	b.ratio, b.reserve, b.maxTime = max(0, c.Ratio), float64(max(0, c.MinRetries)), c.MaxRetryTime
	b.window = newWindow[budgetPart](c.Window)
	b.lock, b.unlock = b.mu.Lock, b.mu.Unlock
	return b
}

// earn notes that a call succeeded.
func (b *Budget) earn() { b.counters[shardOfCaller()].successes.Add(1) }

// pay reports whether a retry may be made after a failure of class c and the given
// wait, and charges for both.
func (b *Budget) pay(c Class, wait time.Duration) bool {
	if b.unlimited() {
		return true
	}
	price := 1.0
	if int(c) < len(budgetPrices) {
		price = budgetPrices[c]
	}
	wait = max(0, wait)
	b.lock()
	defer b.unlock()
	part := b.look()
	left, spent := b.left()
	if price > 0 && price > left || b.maxTime > 0 && (spent >= b.maxTime || wait > b.maxTime-spent) {
		b.refused++
		return false
	}
	b.paid++
	part.paid += price
	part.spent = longer(part.spent, wait)
	return true
}

// spend charges for time that a call has spent on retries beyond the waits it paid for.
func (b *Budget) spend(d time.Duration) {
	if b.unlimited() || d <= 0 {
		return
	}
	b.lock()
	defer b.unlock()
	part := b.look()
	part.spent = longer(part.spent, d)
}

// unlimited reports whether there is nothing to count with: a zero Budget, or one that
// no call uses because its config makes no sense.
func (b *Budget) unlimited() bool { return b.window.width == 0 }

// BudgetState is a [Budget] at one moment, for metrics.
type BudgetState struct {
	// Remaining is how many retries at a price of 1 could be made now.
	Remaining int
	// RetryTime is the time spent on retries in the window. See
	// BudgetConfig.MaxRetryTime.
	RetryTime time.Duration
	// Paid and Refused count the retries that were asked for since the Budget was
	// made, whatever their price.
	Paid, Refused uint64
}

// State returns what is left now. It is safe for concurrent use, and for a nil
// Budget the zero value.
func (b *Budget) State() BudgetState {
	if b == nil || b.unlimited() {
		return BudgetState{}
	}
	b.lock()
	defer b.unlock()
	b.look()
	left, spent := b.left()
	return BudgetState{Remaining: int(min(max(0, left), math.MaxInt32)), RetryTime: spent, Paid: b.paid, Refused: b.refused}
}

// look brings the window up to date and returns the part that has just begun.
//
// When the successes since the last look came is not known. They are spread evenly
// over the time since: what falls before the window is lost.
func (b *Budget) look() *budgetPart {
	now := sinceBase(b.base)
	part := b.window.at(now)
	var total uint64
	for i := range b.counters {
		total += b.counters[i].successes.Load()
	}
	fresh, from := float64(total-b.counted), b.countedAt
	b.counted, b.countedAt = total, now
	if fresh == 0 || now <= from {
		part.earned += fresh
		return part
	}
	for i := range b.window.parts {
		begin := time.Duration(b.window.last-int64(i)) * b.window.width
		end := min(begin+b.window.width, now)
		if end <= from {
			break
		}
		b.window.back(i).earned += fresh * float64(end-max(begin, from)) / float64(now-from)
	}
	return part
}

// left returns how many retries may be paid now, negative if what they were earned by
// has left the window before them, and the time spent in the window.
func (b *Budget) left() (retries float64, spent time.Duration) {
	var earned, paid float64
	for i := range b.window.parts {
		part := &b.window.parts[i]
		earned += part.earned
		paid += part.paid
		spent = longer(spent, part.spent)
	}
	return b.reserve + b.ratio*earned - paid, spent
}

// longer adds two durations that are not negative, without overflow.
func longer(a, b time.Duration) time.Duration { return a + min(b, math.MaxInt64-a) }
