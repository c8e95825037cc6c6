// SPDX-License-Identifier: Apache-2.0

// Package breaker is a circuit breaker that opens when nearly all attempts of some seconds
// have failed, and closes when attempts succeed again.
package breaker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/k8sretry/k8sretry/internal/delay"
	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/window"
)

// The defaults of a Config.
const (
	defaultMinFailures  = 20
	defaultFailureRatio = 0.9
	defaultWindow       = 10 * time.Second
	defaultOpenDuration = 2 * time.Second
	defaultMaxOpen      = 30 * time.Second
	defaultProbes       = 1
)

const (
	// recentParts is how many parts of the window failures have to last before the breaker
	// opens: retries are the remedy for a failover of a second.
	recentParts = 3
	// recovery is how long after closing the previous failures still count: attempts that
	// began before may still fail, and the open duration continues to grow. It is longer
	// than requests usually take.
	recovery = time.Minute
)

// Config says when a Breaker opens and for how long. It must be valid: no negative values,
// a FailureRatio of at most 1. A field that is 0 stands for its default.
type Config struct {
	MinFailures     int     // within Window, or in a row; default 20
	FailureRatio    float64 // of the attempts within Window; default 0.9
	Window          time.Duration
	OpenDuration    time.Duration // the first one; default 2 s
	MaxOpenDuration time.Duration // default 30 s, or OpenDuration if that is longer
	HalfOpenProbes  int           // at a time, and to close; default 1
}

// State is the state of a Breaker.
type State uint8

// The states.
const (
	Closed   State = iota // all attempts are admitted
	Open                  // none is
	HalfOpen              // a few are, as probes
)

// Breaker is a circuit breaker. It is safe for concurrent use.
type Breaker struct {
	// word is what is read without the lock: the state in two bits; in the third, whether
	// there are attempts to count; above them the epoch, which is incremented with each
	// state.
	word atomic.Uint32

	clock       window.Clock
	minFailures int
	ratio       float64
	open        delay.Exponential // the open durations
	maxProbes   int

	mu          sync.Mutex
	window      window.Window[part] // of the attempts that ended while closed
	streak      int                 // failures since the last success
	streakSince time.Duration

	openings  int // since the last recovery
	openedAt  time.Duration
	openFor   time.Duration
	notBefore time.Duration // the latest Retry-After
	closedAt  time.Duration
	err       error // the last one that opened the breaker or kept it open

	probes      int           // in flight
	probedAt    time.Duration // when the last one began
	probesEpoch uint32        // probes of earlier epochs no longer count as in flight
	succeeded   int           // probes, since the breaker is half-open
}

// part is what happened in one part of the window.
type part struct{ failed, succeeded int }

const (
	stateBits  = 3
	counting   = 4
	epochShift = 3
)

// New returns a closed Breaker.
func New(c Config) *Breaker {
	b := &Breaker{
		clock:       window.NewClock(),
		minFailures: orDefault(c.MinFailures, defaultMinFailures),
		ratio:       orDefault(c.FailureRatio, defaultFailureRatio),
		window:      window.New[part](orDefault(c.Window, defaultWindow)),
		open: delay.Exponential{
			Initial:    orDefault(c.OpenDuration, defaultOpenDuration),
			Max:        orDefault(c.MaxOpenDuration, max(c.OpenDuration, defaultMaxOpen)),
			Multiplier: 2,
		},
		maxProbes: orDefault(c.HalfOpenProbes, defaultProbes),
	}
	b.word.Store(1 << epochShift)
	return b
}

// orDefault returns v, or the default if v is 0.
func orDefault[T comparable](v, otherwise T) T {
	if v == *new(T) {
		return otherwise
	}
	return v
}

// Calls are the methods of a Breaker as the call path uses them: bound once, because calling
// a func does not let its receiver escape.
type Calls struct {
	// Enter asks whether an attempt may be made. Each admitted attempt must be passed to
	// Leave, once.
	Enter func() Admission
	// Leave reports the end of an attempt: what it says about the server, its Retry-After
	// and its error. It returns whether the state has changed, and the state.
	Leave func(a Admission, h health.Health, retryAfter time.Duration, err error) (changed bool, state State)
	// LastError returns the last error that opened the Breaker or kept it open, nil if the
	// Breaker is closed.
	LastError func() error
}

// Calls returns the methods of b, bound.
func (b *Breaker) Calls() Calls { return Calls{b.enter, b.leave, b.lastError} }

// Admission is the answer of a Breaker to an attempt. It has no more than four fields, so that
// the compiler keeps it in registers.
type Admission struct {
	Wait    time.Duration // until the Breaker admits a probe; 0 if the attempt was admitted
	Epoch   uint32        // in which the attempt was admitted
	Probe   bool          // the attempt decides about the state
	Changed bool          // the Breaker has just become half-open
}

// Admitted reports whether the attempt may be made.
func (a Admission) Admitted() bool { return a.Wait == 0 }

// State returns the state. An open Breaker stays open until an attempt comes after its open
// duration.
func (b *Breaker) State() State { return State(b.word.Load() & stateBits) }

func (b *Breaker) epoch() uint32 { return b.word.Load() >> epochShift }

// become changes the state and begins an epoch. There is something to count from the first
// opening until the server has recovered.
func (b *Breaker) become(s State) {
	b.word.Store((b.epoch()+1)<<epochShift | counting | uint32(s))
}

// idle reports whether the Breaker is closed and need not count successes.
func (b *Breaker) idle() bool { return b.word.Load()&(stateBits|counting) == 0 }

func (b *Breaker) enter() Admission {
	if w := b.word.Load(); State(w&stateBits) == Closed {
		return Admission{Epoch: w >> epochShift}
	}
	return b.enterOpen()
}

// enterOpen is enter while the Breaker is not closed.
func (b *Breaker) enterOpen() Admission {
	b.mu.Lock()
	defer b.mu.Unlock()
	var a Admission
	now := b.clock.Now()
	switch b.State() {
	case Closed: // since the caller looked
		a.Epoch = b.epoch()
		return a
	case Open:
		if open := now - b.openedAt; 0 <= open && open < b.openFor {
			return Admission{Wait: b.openFor - open}
		}
	default: // half-open
	}
	if age := now - b.probedAt; b.probes > 0 && !(0 <= age && age < b.open.Max) {
		// A probe that hangs must not keep the Breaker open.
		b.become(b.State())
		b.probes, b.probesEpoch, b.succeeded = 0, b.epoch(), 0
	} else if b.probes >= b.maxProbes { // until one of them ends, which is not known
		return Admission{Wait: min(b.open.Initial, b.open.Max-age)}
	}
	if b.State() == Open {
		b.become(HalfOpen)
		b.succeeded = 0
		a.Changed = true
	}
	b.probes++
	b.probedAt = now
	a.Probe, a.Epoch = true, b.epoch()
	return a
}

func (b *Breaker) lastError() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
