// SPDX-License-Identifier: Apache-2.0

package k8sretryprom

import (
	"strings"

	"github.com/k8sretry/k8sretry"
)

// Option configures a Collector. If two options of the same kind have the same name, the
// later one applies. A nil Option has no effect.
type Option func(*Collector)

// WithBudget exports the state of a Budget. name is the value of the label budget, such as
// "default". A nil Budget removes an earlier one of that name.
func WithBudget(name string, b *k8sretry.Budget) Option {
	return func(c *Collector) { put(c.budgets, name, b) }
}

// WithBreaker exports the state of a Breaker. name is the value of the label breaker. A nil
// Breaker removes an earlier one of that name.
func WithBreaker(name string, b *k8sretry.Breaker) Option {
	return func(c *Collector) { put(c.breakers, name, b) }
}

// WithLimiter exports the state of a Limiter. name is the value of the label limiter. A nil
// Limiter removes an earlier one of that name.
func WithLimiter(name string, l *k8sretry.Limiter) Option {
	return func(c *Collector) { put(c.limiters, name, l) }
}

func put[T any](named map[string]*T, name string, v *T) {
	name = strings.ToValidUTF8(name, "\uFFFD") // Prometheus rejects other label values
	if v == nil {
		delete(named, name)
		return
	}
	named[name] = v
}
