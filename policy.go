package k8sretry

// Policy is a set of options that has been checked and made ready once. It is an
// Option itself and stands for the options it was made of: given after others it overlays
// them, given before others it is overlaid, setting by setting.
//
// A Policy is immutable and holds no state of a call: any number of goroutines may
// share it. Make it with [NewPolicy]; the zero Policy and a nil *Policy set nothing.
type Policy struct {
	config
	prepared   bool // made by NewPolicy: the defaults are filled in
	guardsOnly bool // a call needs nothing before and after a successful fn but its guards
	direct     bool // a call needs nothing before and after a successful fn
	simple     bool // direct, and without a condition, a classifier or a logger
}

func (*Policy) option() {}

// NewPolicy returns a Policy of the given options. Settings that opts do not contain
// keep their defaults unless another option of the call sets them. An invalid option value
// is reported by the calls that use the Policy.
func NewPolicy(opts ...Option) *Policy {
	p := &Policy{config: resolve(opts)}
	p.prepare()
	return p
}

// prepare makes the Policy ready for calls that have no other option.
func (p *Policy) prepare() {
	p.setDefaults()
	p.guardsOnly = p.problem == "" && !p.verb().writes() && p.duration(numMaxElapsed) == 0 && p.duration(numAttemptTimeout) == 0 && p.observe == nil
	p.direct = p.guardsOnly && p.budget == nil && p.breaker == nil && p.limiter == nil
	p.simple = p.direct && p.given&(hasCondition|hasClassifier|hasLogger) == 0
	p.prepared = true
}
