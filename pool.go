package k8sretry

import "sync"

// progresses and configs are of calls that have ended: a call that is retried is not worth
// an allocation either. They come back empty, but for a timer that any call may use. A call
// that panics brings nothing back.
var progresses, configs sync.Pool

//go:noinline // so that it is not part of the frame in which a call waits
func newProgress() *progress {
	if p, ok := progresses.Get().(*progress); ok {
		return p
	}
	return new(progress) // not within Get: the allocator needs the room
}

// keep is p on the heap, for a call that has begun on the stack.
func (p *progress) keep() *progress {
	kept := newProgress()
	timer := kept.timer
	*kept = *p
	kept.timer = timer
	return kept
}

//go:noinline // so that it is not part of the frame in which a call waits
func (p *progress) free() {
	timer := p.timer
	if p.bubbled {
		timer = nil
	}
	*p = progress{timer: timer}
	progresses.Put(p)
}

// newConfig adds up options that are nothing but numbers, as most are. It is nil for others:
// what they hold must not come to the heap, or all options would.
//
//go:noinline // so that it is not part of the frame in which a call waits
func newConfig(opts []Option, n needs) *config {
	if n != 0 {
		return nil
	}
	for _, o := range opts {
		if _, ok := o.(setting); !ok {
			return nil
		}
	}
	c, ok := configs.Get().(*config)
	if !ok {
		c = new(config)
	}
	for _, o := range opts {
		c.setNumber(o.(setting))
	}
	c.setDefaults()
	return c
}

func (c *config) free() {
	if c != nil {
		*c = config{}
		configs.Put(c)
	}
}

// or is c, or else that of the one Policy that the call has.
func (c *config) or(opts []Option) *config {
	if c != nil {
		return c
	}
	return &opts[0].(*Policy).config
}
