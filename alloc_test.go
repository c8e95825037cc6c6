package k8sretry_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry"
)

type silentObserver struct{}

func (*silentObserver) Observe(context.Context, k8sretry.Event) {}

// A call that succeeds or fails permanently at once does not allocate: with each option
// alone, with constants and with variables, and with all of them together.
func TestNoAllocation(t *testing.T) {
	k8sretry.ForgetTransports() // of other tests: a read beside one carries a record
	ctx := context.Background()
	canceler, cancel := context.WithCancel(ctx)
	defer cancel()
	value, notFound := 42, error(apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "web-0"))
	get := func(context.Context) (*int, error) { return &value, nil }
	miss := func(context.Context) (*int, error) { return nil, notFound }
	run := func(context.Context) error { return nil }
	policy := k8sretry.NewPolicy(k8sretry.WithMaxRetries(4), k8sretry.WithName("get"))
	wrapped := k8sretry.Wrap2(func(context.Context, string, int) (*int, error) { return &value, nil }, k8sretry.ForRead())
	wrappedRun := k8sretry.WrapRun1(func(context.Context, string) error { return nil }, k8sretry.ForRead())

	// Variables, whose values the compiler does not know.
	n := rand.IntN(5) + 1
	d := time.Duration(rand.IntN(5)+1) * time.Second
	m := 1 + rand.Float64()
	name := []string{"get a pod", "list pods"}[rand.IntN(2)]
	verb := []k8sretry.Verb{k8sretry.VerbGet, k8sretry.VerbList}[rand.IntN(2)]
	jitter := []k8sretry.Jitter{k8sretry.JitterFull, k8sretry.JitterNone}[rand.IntN(2)]
	target := []error{io.EOF, io.ErrUnexpectedEOF}[rand.IntN(2)]
	logger := zap.NewNop()
	observer := new(silentObserver)
	budget, breaker, limiter := k8sretry.NewBudget(k8sretry.BudgetConfig{}), k8sretry.NewBreaker(k8sretry.BreakerConfig{}), k8sretry.NewLimiter()
	guarded := k8sretry.NewPolicy(k8sretry.WithBudget(budget), k8sretry.WithBreaker(breaker), k8sretry.WithLimiter(limiter))
	hits := 0

	for name, call := range map[string]func(){
		"Do, no option":                 func() { _, _ = k8sretry.Do(ctx, get) },
		"Do, cancellable context":       func() { _, _ = k8sretry.Do(canceler, get) },
		"Do, prepared policy":           func() { _, _ = k8sretry.Do(ctx, get, policy) },
		"Do, preset":                    func() { _, _ = k8sretry.Do(ctx, get, k8sretry.ForWrite()) },
		"Run":                           func() { _ = k8sretry.Run(ctx, run, policy) },
		"Run, a closure over variables": func() { _ = k8sretry.Run(ctx, func(context.Context) error { hits += n; return nil }, policy) },
		"Wrap2":                         func() { _, _ = wrapped(ctx, "web-0", 1) },
		"WrapRun1":                      func() { _ = wrappedRun(ctx, "web-0") },

		"WithName":                   func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithName("get")) },
		"WithName, variable":         func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithName(name)) },
		"WithVerb":                   func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithVerb(k8sretry.VerbGet)) },
		"WithVerb, variable":         func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithVerb(verb)) },
		"WithMaxRetries":             func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxRetries(5)) },
		"WithMaxRetries, variable":   func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxRetries(n)) },
		"WithInitialDelay":           func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithInitialDelay(2*time.Second)) },
		"WithInitialDelay, variable": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithInitialDelay(d)) },
		"WithMaxDelay":               func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxDelay(2*time.Second)) },
		"WithMaxDelay, variable":     func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxDelay(d)) },
		"WithMultiplier":             func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMultiplier(1.5)) },
		"WithMultiplier, variable":   func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMultiplier(m)) },
		"WithJitter":                 func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithJitter(k8sretry.JitterFull)) },
		"WithJitter, variable":       func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithJitter(jitter)) },
		"WithBackoff, Exponential":   func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithBackoff(k8sretry.Exponential{Initial: time.Second})) },
		"WithBackoff, variable": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithBackoff(k8sretry.Exponential{Initial: d, Max: 2 * d}))
		},
		"WithBackoff, the caller's own": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithBackoff(constantBackoff{d})) },
		"WithBackoffFor": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithBackoffFor(k8sretry.ClassThrottled, constantBackoff{time.Second}))
		},
		"WithBackoffFor, variable": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithBackoffFor(k8sretry.ClassThrottled, k8sretry.Exponential{Initial: d}))
		},
		"WithMaxRetryAfter":           func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxRetryAfter(time.Minute)) },
		"WithMaxRetryAfter, variable": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxRetryAfter(d)) },
		"WithMaxElapsed":              func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxElapsed(time.Minute)) },
		"WithMaxElapsed, variable":    func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxElapsed(d)) },
		"WithRetryOn":                 func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithRetryOn(io.EOF, context.DeadlineExceeded)) },
		"WithRetryOn, variable":       func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithRetryOn(target, io.EOF)) },
		"WithRetryIf":                 func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithRetryIf(apierrors.IsConflict)) },
		"WithRetryIf, a closure": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithRetryIf(func(err error) bool { hits++; return errors.Is(err, target) }))
		},
		"WithClassifier": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) { hits++; return k8sretry.Classify(err), n > 1 }))
		},
		"WithLogger":      func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithLogger(logger)) },
		"WithLogger, nil": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithLogger(nil)) },
		"WithContextLogger": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithContextLogger(func(context.Context) *zap.Logger { hits++; return logger }))
		},
		"WithBudget":               func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithBudget(budget)) },
		"WithBreaker":              func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithBreaker(breaker)) },
		"WithLimiter":              func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithLimiter(limiter)) },
		"WithLimiter, with a name": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithLimiter(limiter), k8sretry.WithName(name)) },
		"WithMaxQueueTime": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithLimiter(limiter), k8sretry.WithMaxQueueTime(time.Second))
		},
		"WithMaxQueueTime, variable": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithLimiter(limiter), k8sretry.WithMaxQueueTime(d)) },
		"Budget, Breaker and Limiter": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithBudget(budget), k8sretry.WithBreaker(breaker), k8sretry.WithLimiter(limiter))
		},
		"Budget, Breaker and Limiter, prepared policy": func() { _, _ = k8sretry.Do(ctx, get, guarded) },
		"WithObserver": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithObserver(observer)) },
		"all of them": func() {
			_, _ = k8sretry.Do(ctx, get, policy, k8sretry.WithName(name), k8sretry.WithVerb(verb), k8sretry.WithMaxRetries(n),
				k8sretry.WithInitialDelay(d), k8sretry.WithMaxDelay(d), k8sretry.WithMultiplier(m), k8sretry.WithJitter(jitter),
				k8sretry.WithBackoff(constantBackoff{d}), k8sretry.WithBackoff(k8sretry.Exponential{Initial: d}),
				k8sretry.WithBackoffFor(k8sretry.ClassThrottled, k8sretry.Exponential{Initial: d}),
				k8sretry.WithMaxElapsed(d), k8sretry.WithMaxRetryAfter(d), k8sretry.WithRetryOn(target, io.EOF),
				k8sretry.WithRetryIf(func(error) bool { hits++; return false }),
				k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) { hits++; return k8sretry.Verdict{}, false }),
				k8sretry.WithContextLogger(func(context.Context) *zap.Logger { hits++; return logger }),
				k8sretry.WithLogger(logger), k8sretry.WithObserver(observer), k8sretry.ForRead())
		},

		"NotFound at once, WithBudget":                                   func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithBudget(budget)) },
		"NotFound at once, WithBreaker":                                  func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithBreaker(breaker)) },
		"NotFound at once, WithLimiter":                                  func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithLimiter(limiter)) },
		"NotFound at once, WithMaxQueueTime":                             func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithLimiter(limiter), k8sretry.WithMaxQueueTime(d)) },
		"NotFound at once, Budget, Breaker and Limiter, prepared policy": func() { _, _ = k8sretry.Do(ctx, miss, guarded) },

		"NotFound at once":                  func() { _, _ = k8sretry.Do(ctx, miss) },
		"NotFound at once, prepared policy": func() { _, _ = k8sretry.Do(ctx, miss, policy) },
		"NotFound at once, options": func() {
			_, _ = k8sretry.Do(ctx, miss, k8sretry.WithMaxRetries(n), k8sretry.WithInitialDelay(d), k8sretry.WithVerb(verb))
		},
		"NotFound at once, silent logger": func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithLogger(logger)) },
		"NotFound at once, silent logger in the context": func() {
			_, _ = k8sretry.Do(ctx, miss, k8sretry.WithContextLogger(func(context.Context) *zap.Logger { hits++; return logger }))
		},
		"NotFound at once, closure condition":  func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithRetryIf(func(error) bool { hits++; return false })) },
		"NotFound at once, list of conditions": func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithRetryOn(target, io.EOF)) },
	} {
		assert.Zero(t, testing.AllocsPerRun(100, call), name)
	}
	_ = hits
}
