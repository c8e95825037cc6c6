package k8sretry

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What the plain path finds among the options is what the loop adds up.
func TestSurveyFindsWhatResolveDoes(t *testing.T) {
	budget, breaker, gate := NewBudget(BudgetConfig{}), NewBreaker(BreakerConfig{}), NewLimiter()
	other, second, third := NewBudget(BudgetConfig{}), NewBreaker(BreakerConfig{}), NewLimiter()
	guarded := NewPolicy(WithBudget(other), WithBreaker(second), WithLimiter(third))
	many := slices.Repeat([]Option{WithMaxRetries(1)}, 300)
	for situation, opts := range map[string][]Option{
		"nothing":                      nil,
		"nil options":                  {nil, (*Policy)(nil)},
		"numbers":                      {WithMaxRetries(1), WithInitialDelay(1), WithVerb(VerbGet)},
		"a zero Policy":                {new(Policy)},
		"a budget":                     {WithBudget(budget)},
		"a budget that is taken back":  {WithBudget(budget), WithBudget(nil)},
		"a budget, after others":       {ForRead(), WithMaxRetries(1), WithBudget(budget)},
		"the later of two budgets":     {WithMaxRetries(1), WithBudget(other), WithBudget(budget)},
		"a Policy over a budget":       {WithBudget(budget), guarded},
		"a budget over a Policy":       {guarded, WithBudget(budget)},
		"a Policy without, over one":   {guarded, NewPolicy(WithBudget(nil), WithBreaker(nil), WithLimiter(nil))},
		"a breaker":                    {WithName("x"), WithBreaker(breaker)},
		"a breaker that is taken back": {WithBreaker(breaker), WithBreaker(nil)},
		"a breaker over a Policy":      {guarded, WithBreaker(breaker)},
		"a gate":                       {WithLimiter(gate)},
		"a gate that is taken back":    {WithLimiter(gate), WithLimiter(nil)},
		"a gate over a Policy":         {guarded, WithLimiter(gate), ForRead()},
		"one Policy with all":          {guarded},
		"a gate and a name":            {WithLimiter(gate), WithName("x")},
		"a gate and a name, Policies":  {NewPolicy(WithLimiter(gate)), NewPolicy(WithName("x"))},
		"a watch, then a get, a gate":  {WithVerb(VerbWatch), WithVerb(VerbGet), WithLimiter(gate)},
		"all":                          {WithLimiter(gate), WithBreaker(breaker), WithBudget(budget)},
		"a condition":                  {WithRetryIf(func(error) bool { return true })},
		"a condition in a Policy":      {ForRead(), NewPolicy(WithRetryIf(func(error) bool { return true }))},
		"a logger":                     {WithLogger(nil)},
		"a writing verb":               {WithVerb(VerbCreate)},
		"a writing verb in a Policy":   {NewPolicy(WithVerb(VerbCreate)), WithMaxRetries(1)},
		"a watch with a gate":          {WithLimiter(gate), WithVerb(VerbWatch)},
		"a watch with a gate, Policy":  {NewPolicy(WithLimiter(gate), WithVerb(VerbWatch))},
		"a watch without":              {WithVerb(VerbWatch)},
		"an observer":                  {WithObserver(SlogObserver(slog.Default()))},
		"an observer of nobody":        {WithObserver(nil)},
		"no sense":                     {WithMaxRetries(-1)},
		"no sense in a budget":         {WithBudget(NewBudget(BudgetConfig{Window: -1}))},
		"no sense in a breaker":        {WithBreaker(NewBreaker(BreakerConfig{Window: -1}))},
		"a gate made by hand":          {WithLimiter(new(Limiter))},
		"a budget among many":          append(slices.Clip(many[:200]), WithBudget(budget)),
		"a budget behind many":         append(slices.Clip(many), WithBudget(budget)),
	} {
		c := resolve(opts)
		n, known := preparedNeeds(opts)
		if known == 0 {
			n = survey(0, opts)
		}
		if len(opts) != 1 {
			assert.Zero(t, n&isPrepared, "%s: prepared", situation)
		}
		if g, _ := n.gate(opts); c.needs()&needsLoop != 0 && !(c.limiter != nil && g == nil) {
			assert.NotZero(t, n&needsLoop, "%s: the loop", situation)
		}
		if n&needsLoop != 0 {
			continue
		}
		assert.Equal(t, c.needs()&needsWord, n&needsWord, "%s: somebody to ask", situation)
		assert.Equal(t, c.limiter != nil, n&needsGate != 0, "%s: a gate", situation)
		if g, key := n.gate(opts); c.usesLimiter() {
			assert.Same(t, c.limiter, g, "%s: the gate", situation)
			assert.Equal(t, c.limiterKey(), key, "%s: the key", situation)
		} else {
			assert.Nil(t, g, "%s: the gate", situation)
		}
		if assert.Equal(t, c.breaker != nil, n&needsBreaker != 0, "%s: a breaker", situation) && c.breaker != nil {
			assert.Same(t, c.breaker, n.breaker(opts), "%s: the breaker", situation)
		}
		if assert.Equal(t, c.budget != nil, n&needsBudget != 0, "%s: a budget", situation) && c.budget != nil {
			assert.Same(t, c.budget, n.budget(opts), "%s: the budget", situation)
		}
	}
}
