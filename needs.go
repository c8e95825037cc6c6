package k8sretry

// needs are what a call needs beside the plain path: a bit for each. Above them stand the
// places of the options that say which budget and which breaker, a byte for each: a call
// finds them again without another search, and one word is all it has to keep.
type needs uint32

const (
	needsLoop    needs = 1 << iota // from the first attempt on: for a clock, a context of its own, an event for every success
	needsGate                      // before the attempt
	needsBreaker                   // before and after
	needsBudget                    // after it
	needsWord                      // before a lasting error ends the call: somebody judges or listens

	isPrepared // not a need: the call has one Policy that New has made, and nothing else
)

// Where the places stand.
const (
	needsPlace    needs = 0xff
	breakerPlaces needs = 8
	budgetPlaces  needs = 16
)

// needs are what calls with this policy and no other option need.
func (c *config) needs() (n needs) {
	writes := c.verb != VerbUnspecified && !c.verb.reads()
	if writes || c.maxElapsed > 0 || c.attempt > 0 || c.observe != nil || c.problem != "" {
		n = needsLoop
	}
	if c.budget != nil {
		n |= needsBudget
	}
	if c.breaker != nil {
		n |= needsBreaker
	}
	if c.limiter != nil {
		n |= needsGate
		if c.verb == VerbWatch {
			n |= needsLoop
		}
	}
	if c.set&(setCondition|setClassifier|setLogger) != 0 {
		n |= needsWord
	}
	return n
}

// preparedNeeds are the needs of a call that has been given one Policy that is prepared,
// as most are (a zero Policy has none), and how many options that tells of: 1, or 0 for
// other calls.
func preparedNeeds(opts []Option) (n needs, known int) {
	if len(opts) == 1 {
		if _, ok := opts[0].(*Policy); ok { // p, ok := ... is a branch more
			if p := opts[0].(*Policy); p != nil {
				return p.needs, 1
			}
		}
	}
	return 0, 0
}

// survey finds what a call needs, from the option at i on. It builds nothing, and may well
// say needsLoop where a later option takes an earlier one back: the loop serves every call.
func survey(i int, opts []Option) (n needs) {
	if len(opts) > int(needsPlace) {
		return needsLoop
	}
	for ; i < len(opts); i++ {
		// One comparison each for the commonest kinds; a type switch of all costs more.
		if _, ok := opts[i].(setting); ok {
			continue
		}
		if p, ok := opts[i].(*Policy); ok && p != nil && p.set&(setBudget|setBreaker|setLimiter) == 0 {
			n |= p.needs &^ isPrepared
			continue
		}
		if o, ok := opts[i].(budgetOption); ok && o.Budget != nil && o.problem == "" {
			n = n.placed(needsBudget, budgetPlaces, needs(i), true)
			continue
		}
		if o, ok := opts[i].(breakerOption); ok && o.Breaker != nil && o.problem == "" {
			n = n.placed(needsBreaker, breakerPlaces, needs(i), true)
			continue
		}
		n = n.with(opts[i], needs(i))
	}
	return n
}

// with adds the needs of one option, which stands at the given place.
func (n needs) with(o Option, at needs) needs {
	switch o := o.(type) {
	case nil, nameOption, exponentialOption, tokenOption:
		return n
	case *Policy:
		if o == nil {
			return n
		}
		n |= o.needs & (needsLoop | needsWord)
		if o.set&setLimiter != 0 {
			n = n&^needsGate | o.needs&needsGate
		}
		if o.set&setBreaker != 0 {
			n = n.placed(needsBreaker, breakerPlaces, at, o.breaker != nil)
		}
		if o.set&setBudget != 0 {
			n = n.placed(needsBudget, budgetPlaces, at, o.budget != nil)
		}
		return n
	case budgetOption:
		if o.Budget == nil || o.problem == "" {
			return n.placed(needsBudget, budgetPlaces, at, o.Budget != nil)
		}
	case breakerOption:
		if o.Breaker == nil || o.problem == "" {
			return n.placed(needsBreaker, breakerPlaces, at, o.Breaker != nil)
		}
	case limiterOption:
		if o.Limiter == nil {
			return n &^ needsGate
		}
		if o.inner != nil {
			return n | needsGate
		}
	case observerOption:
		if o.observe == nil {
			return n
		}
	case backoffOption:
		if !o.missing && int(o.class) < len(classNames) {
			return n
		}
	case conditionOption:
		if o.condition != nil {
			return n | needsWord
		}
	case classifierOption:
		if o.classify != nil {
			return n | needsWord
		}
	case loggerOption:
		return n | needsWord
	}
	return n | needsLoop
}

// placed notes that the option at a place says what is needed, or that it is not.
func (n needs) placed(need, shift, at needs, needed bool) needs {
	n &^= need | needsPlace<<shift
	if needed {
		n |= need | at<<shift
	}
	return n
}

// breaker is the one that the needs tell of.
func (n needs) breaker(opts []Option) *Breaker {
	o := opts[n>>breakerPlaces&needsPlace]
	if p, ok := o.(*Policy); ok {
		return p.breaker
	}
	return o.(breakerOption).Breaker
}

// budget is the one that the needs tell of.
func (n needs) budget(opts []Option) *Budget {
	o := opts[n>>budgetPlaces&needsPlace]
	if p, ok := o.(*Policy); ok {
		return p.budget
	}
	return o.(budgetOption).Budget
}

// gate is the one among the options, and the limiterKey of the call. It is nil if the call
// does not pass it because it starts a watch.
func (n needs) gate(opts []Option) (g *Limiter, key uint32) {
	if n&isPrepared != 0 {
		p := opts[0].(*Policy)
		return p.limiter, p.key
	}
	var verb Verb
	for _, o := range opts {
		switch o := o.(type) {
		case setting:
			if o.kind == setVerb {
				verb = Verb(o.value)
			}
		case limiterOption:
			g = o.Limiter
		case nameOption:
			key = keyOf(o.name)
		case *Policy:
			if o == nil {
				continue
			}
			if o.set&setLimiter != 0 {
				g = o.limiter
			}
			if o.set&setVerb != 0 {
				verb = o.verb
			}
			if o.key != 0 {
				key = o.key
			}
		}
	}
	if verb == VerbWatch {
		return nil, 0
	}
	return g, key
}

// succeeded tells the budget of a success.
func (n needs) succeeded(opts []Option) {
	if n&needsBudget != 0 {
		n.budget(opts).earn()
	}
}
