package k8sretryprom

import (
	"strings"

	"github.com/k8sretry/k8sretry"
)

// Option adds to what a Collector shows. Of two of a kind with the same name the later
// wins. A nil Option does nothing.
type Option func(*Collector)

// WithBudget shows the state of a Budget under a name that people know it by, "default"
// for instance. nil takes an earlier one of that name back.
func WithBudget(name string, b *k8sretry.Budget) Option {
	return func(c *Collector) { put(c.budgets, name, b) }
}

// WithBreaker shows the state of a Breaker under a name that people know it by. nil
// takes an earlier one of that name back.
func WithBreaker(name string, b *k8sretry.Breaker) Option {
	return func(c *Collector) { put(c.breakers, name, b) }
}

// WithLimiter shows the state of a Limiter under a name that people know it by. nil takes an
// earlier one of that name back.
func WithLimiter(name string, g *k8sretry.Limiter) Option {
	return func(c *Collector) { put(c.limiters, name, g) }
}

func put[T any](named map[string]*T, name string, v *T) {
	name = strings.ToValidUTF8(name, "\uFFFD") // all that Prometheus asks of a label's value
	if v == nil {
		delete(named, name)
		return
	}
	named[name] = v
}
