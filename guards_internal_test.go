package k8sretry

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

var errDown = errors.New("503 Service Unavailable")

// coming is the attempts to come, the next one first.
type coming []planned

type planned struct {
	at    time.Time
	retry int
}

func (c coming) Len() int           { return len(c) }
func (c coming) Less(i, j int) bool { return c[i].at.Before(c[j].at) }
func (c coming) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *coming) Push(x any)        { *c = append(*c, x.(planned)) }
func (c *coming) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// fault is how calls fared through a partial fault, by Budget and Breaker.
type fault struct{ calls, failed, overBudget, breakerOpen int }

// through makes calls at a rate, at random moments, with five retries as ForMutation
// makes them, of attempts that fail at random.
func through(random *rand.Rand, share, perSecond float64, calls int, budget *Budget, breaker *Breaker) fault {
	f := fault{calls: calls}
	delays := Exponential{Initial: 2 * time.Second, Max: 30 * time.Second, Jitter: JitterNone}
	var queue coming
	next, started := time.Now(), 0
	for started < calls || len(queue) > 0 {
		if started < calls && (len(queue) == 0 || next.Before(queue[0].at)) {
			heap.Push(&queue, planned{next, 0})
			next = next.Add(time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)))
			started++
		}
		a := heap.Pop(&queue).(planned)
		time.Sleep(time.Until(a.at))
		var admitted admission
		if !breaker.calm() {
			if admitted = breaker.enter(); !admitted.ok {
				f.failed++
				f.breakerOpen++
				continue
			}
		}
		if random.Float64() >= share {
			if !breaker.calm() {
				breaker.leave(admitted, well, 0, nil)
			}
			budget.earn()
			continue
		}
		breaker.leave(admitted, failing, 0, errDown)
		if a.retry == 5 {
			f.failed++
			continue
		}
		delay := delays.scaled(a.retry+1, 1+spread*random.Float64())
		if !budget.pay(ClassServer, delay) {
			f.failed++
			f.overBudget++
			continue
		}
		heap.Push(&queue, planned{time.Now().Add(delay), a.retry + 1})
	}
	return f
}

// What a partial fault needs, the guards leave alone, whatever the rate of the calls: of
// attempts of which 30 % fail, six in a row fail for 0.07 % of the calls.
func TestGuardsLeaveAPartialFaultAlone(t *testing.T) {
	var all fault
	for _, perSecond := range []float64{0.01, 0.1, 0.3, 1, 2, 5, 10, 20, 50, 100, 300, 1000} {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, math.Float64bits(perSecond)))
			f := through(random, 0.3, perSecond, 20_000, NewBudget(BudgetConfig{}), NewBreaker(BreakerConfig{}))
			assert.Zero(t, f.breakerOpen, "refused by the breaker, of 20,000 at %v a second", perSecond)
			assert.LessOrEqual(t, f.overBudget, 2, "refused by the budget, of 20,000 at %v a second", perSecond)
			all.calls += f.calls
			all.failed += f.failed
		})
	}
	assert.GreaterOrEqual(t, 1-float64(all.failed)/float64(all.calls), 0.999, "of all calls")
}

// A success that began while the breaker was calm counts if others have failed meanwhile.
func TestSuccessesBesideFailuresCount(t *testing.T) {
	for name, in := range map[string]func(*Breaker) []Option{
		"a prepared policy":   func(b *Breaker) []Option { return []Option{New(WithBreaker(b))} },
		"options in the call": func(b *Breaker) []Option { return []Option{WithBreaker(b), WithMaxRetries(1)} },
	} {
		b := NewBreaker(BreakerConfig{})
		err := Run(t.Context(), func(context.Context) error {
			b.leave(admission{}, failing, 0, nil)
			return nil
		}, in(b)...)
		if err != nil || b.streak != 0 {
			t.Errorf("%s: %v, a streak of %d", name, err, b.streak)
		}
	}
}
