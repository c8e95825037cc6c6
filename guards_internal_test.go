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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

// through makes calls at a rate, at random moments, with five retries as ForWrite
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

// What only a working server answers counts if others have failed since the attempt began,
// while the breaker was calm: a success, and a NotFound as well. The
// caller's own error says nothing about the server.
func TestSuccessesBesideFailuresCount(t *testing.T) {
	for name, in := range map[string]func(*Breaker) []Option{
		"a prepared policy":              func(b *Breaker) []Option { return []Option{NewPolicy(WithBreaker(b))} },
		"options in the call":            func(b *Breaker) []Option { return []Option{WithBreaker(b), WithMaxRetries(1)} },
		"a prepared policy, with a gate": func(b *Breaker) []Option { return []Option{NewPolicy(WithBreaker(b), WithLimiter(NewLimiter()))} },
		"options, with a gate":           func(b *Breaker) []Option { return []Option{WithBreaker(b), WithLimiter(NewLimiter())} },
	} {
		for answer, streak := range map[error]int{
			nil: 0,
			apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "web-0"): 0,
			errors.New("the caller's own"):                                         1,
		} {
			synctest.Test(t, func(t *testing.T) {
				b := NewBreaker(BreakerConfig{})
				opts := in(b)
				assert.NoError(t, Run(t.Context(), func(context.Context) error { return nil }, opts...)) // opens the gate's healthy path
				err := Run(t.Context(), func(context.Context) error {
					b.leave(admission{}, failing, 0, nil)
					return answer
				}, opts...)
				assert.Equal(t, answer, err)
				assert.Equal(t, streak, b.streak, "%s: %v", name, answer)
			})
		}
	}
}

// A first attempt that fails is a failure for the breaker, and an open breaker refuses it,
// on each way that a call can take.
func TestFirstAttemptsPassTheBreaker(t *testing.T) {
	for name, in := range map[string]func(*Breaker) []Option{
		"a prepared policy":   func(b *Breaker) []Option { return []Option{NewPolicy(WithBreaker(b), WithMaxRetries(0))} },
		"options in the call": func(b *Breaker) []Option { return []Option{WithBreaker(b), WithMaxRetries(0)} },
		"a prepared policy, with a gate": func(b *Breaker) []Option {
			return []Option{NewPolicy(WithBreaker(b), WithLimiter(NewLimiter()), WithMaxRetries(0))}
		},
		"options, with a gate": func(b *Breaker) []Option {
			return []Option{WithBreaker(b), WithLimiter(NewLimiter()), WithMaxRetries(0)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewBreaker(BreakerConfig{})
				opts := in(b)
				assert.NoError(t, Run(t.Context(), func(context.Context) error { return nil }, opts...)) // opens the gate's healthy path
				assert.Error(t, Run(t.Context(), func(context.Context) error {
					return apierrors.NewServiceUnavailable("down")
				}, opts...))
				assert.Equal(t, 1, b.streak)

				b.lock()
				b.openings++
				b.open(sinceBase(b.base), errDown)
				b.unlock()
				err := Run(t.Context(), func(context.Context) error {
					t.Error("an attempt")
					return nil
				}, opts...)
				assert.ErrorIs(t, err, ErrBreakerOpen)
				assert.ErrorIs(t, err, errDown)
			})
		})
	}
}

// An attempt counts once at the breaker, also where the gate has to be told of it.
func TestBreakerBesideAWorriedLimiter(t *testing.T) {
	for situation, end := range map[string]error{"a success": nil, "a lasting error": apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "x")} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := NewBreaker(BreakerConfig{}), NewLimiter()
				opts := []Option{WithBreaker(b), WithLimiter(g)}
				_, err := Do(t.Context(), func(context.Context) (int, error) { return 0, nil }, opts...)
				assert.NoError(t, err)
				_, err = Do(t.Context(), func(context.Context) (int, error) {
					b.leave(admission{}, failing, 0, errors.New("of another call, meanwhile"))
					g.worry.Store(true)
					return 0, end
				}, opts...)
				assert.Equal(t, end, err)
				failed, well := b.attempts(windowParts)
				assert.Equal(t, 1, int(failed))
				assert.Equal(t, 1, int(well))
				time.Sleep(time.Minute)
			})
		})
	}
}
