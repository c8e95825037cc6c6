// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"math"
	"time"

	"github.com/k8sretry/k8sretry/internal/budget"
)

// BudgetConfig configures a [Budget]. The zero value allows 20 retries in 10 s, and 0.6 more
// for each call that succeeded within these 10 s.
type BudgetConfig struct {
	// Ratio is the number of retries that each successful call adds for one Window. The
	// default, for 0, is 0.6, which is enough for a fault that hits a third of all attempts
	// at random. Negative: none. NaN or infinite: an error.
	//
	// Successes add retries, calls do not: in an outage only MinRetries are left.
	Ratio float64
	// MinRetries is the number of retries that are allowed in each Window in addition, for
	// processes that make only a few calls per second. Default, for 0: 20. Negative: none.
	MinRetries int
	// Window is how long a success and a retry count, up to a tenth longer. Default, for 0:
	// 10 s. Negative: an error.
	Window time.Duration
	// MaxRetryTime limits the time that all calls together spend on retries in each Window:
	// their delays, which are charged when they begin, and the attempts after them, which
	// are charged when they end. A single call that is always waiting spends one Window per
	// Window. Retries that cost nothing (see Budget), such as those of an eviction that waits
	// for a disruption budget, neither spend time nor are refused for it. Default, for 0: no
	// limit. Negative: an error.
	MaxRetryTime time.Duration
}

// problem describes what is invalid, "" if nothing is.
func (c BudgetConfig) problem() string {
	switch {
	case math.IsNaN(c.Ratio) || math.IsInf(c.Ratio, 0):
		return "NewBudget: Ratio must be finite"
	case c.Window < 0:
		return "NewBudget: Window must not be negative"
	case c.MaxRetryTime < 0:
		return "NewBudget: MaxRetryTime must not be negative"
	}
	return ""
}

// Budget limits the retries of all calls that share it; see [WithBudget]. A call whose retry
// it refuses returns the last error of the API at once, wrapped in an [*Error] that matches
// [ErrBudgetExhausted]. First attempts are never refused.
//
// A Budget has one scope: one resource that always fails spends the retries of all calls that
// share it. So share one among calls to the same resource. A [Limiter] tells them apart.
//
// In each window of time a Budget allows a minimum of retries and a share of the calls that
// succeeded. It therefore works for a few calls per second as well as for thousands, leaves
// only the minimum in an outage, and refills with time. A retry is paid for before its
// delay, and its price depends on the failure:
//
//	Class              Price   Reason
//	server             1
//	connection         1
//	refused            1
//	bad_response       1       the server repeats the work
//	timeout            2       the server may still be working on the previous attempt
//	throttled          0.5     rejecting is cheap, and the server says how long to wait
//	disruption_budget  0       the server is healthy, the call waits for pods (also if a 429
//	                           says that a disruption budget is still being processed)
//	blocked            0       the server is healthy, the call waits for another client
//	conflict           0       the server is healthy, the call reads again
//	others             1       retried because of an option of the caller
//
// Successes do not read the clock: those since the previous failure count as if they had
// been spread evenly over the time since. After a quiet period a Budget may hold what an
// average window has earned instead of what the last window has, never more.
//
// A Budget is made by [NewBudget], safe for concurrent use and must not be copied. The
// zero value limits nothing.
type Budget struct {
	problem string         // what is invalid in the config
	inner   *budget.Budget // nil if nothing is limited
	calls   budget.Calls
}

// budgetPrices are multiples of 1/2, as package budget requires.
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

// NewBudget returns a full Budget. If the config is invalid, calls that use the Budget return
// an error without calling fn.
func NewBudget(c BudgetConfig) *Budget {
	if problem := c.problem(); problem != "" {
		return &Budget{problem: problem}
	}
	inner := budget.New(budget.Config(c))
	return &Budget{inner: inner, calls: inner.Calls()}
}

// BudgetState is a [Budget] at one moment, for metrics.
type BudgetState struct {
	// Remaining is the number of retries at a price of 1 that could be made now.
	Remaining int
	// RetryTime is the time spent on retries in the window; see BudgetConfig.MaxRetryTime.
	RetryTime time.Duration
	// Paid and Refused count the retries that were asked for since the Budget was made,
	// regardless of their price.
	Paid, Refused uint64
}

// State returns the current state. It is safe for concurrent use. For a nil Budget it is the
// zero value.
func (b *Budget) State() BudgetState {
	if b == nil || b.inner == nil {
		return BudgetState{}
	}
	return BudgetState(b.inner.State())
}

// earn counts a successful call.
func (b *Budget) earn() {
	if b.calls.Earn != nil {
		b.calls.Earn()
	}
}

// price is what a retry after a failure costs.
func (v *Verdict) price() float64 {
	switch {
	case v.Class == ClassThrottled && v.flags&besideServer != 0:
		return budgetPrices[ClassDisruptionBudget]
	case int(v.Class) < len(budgetPrices):
		return budgetPrices[v.Class]
	}
	return 1
}

// pay reports whether a retry may be made at the given price after the given delay, and
// charges for both. A price of 0 is never refused, and its delay is not charged.
func (b *Budget) pay(price float64, delay time.Duration) bool {
	return b.calls.Pay == nil || b.calls.Pay(price, delay)
}

// spend charges for time that a call has spent on retries beyond their delays.
func (b *Budget) spend(d time.Duration) {
	if b.calls.Spend != nil {
		b.calls.Spend(d)
	}
}
