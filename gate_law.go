package k8sretry

import (
	"math"
	"math/rand/v2"
	"time"
)

// law is how a Limiter decides: how many attempts may be under way (additive increase,
// multiplicative decrease), when even one at a time is too many (rests), and how many may
// start in a second (the pace). It is guarded by Limiter.mu.
type law struct {
	epoch uint32 // counts the cuts and rests: what was sent before the last one proves nothing new

	limit     float64       // of the attempts under way; meaningful while the Limiter is limited
	ceiling   float64       // of the last cut: up to it the limit grows fast
	rest      time.Duration // the last rest, before it was spread
	slow      int           // answers in a row that came late
	restUntil time.Time

	barren bool // nothing has succeeded since the last cut or rest

	fails int       // 5xx in a row
	since time.Time // when the first of them came

	seats   float64 // attempts that the server took beside one that it refused, at the time seatsAt; 0 for any
	seatsAt time.Time
	lone    float64 // 429 to attempts beside which there was no other, less a part of the successes

	pace        float64 // starts in a second, at the time pacedAt; 0 for any
	pacedAt     time.Time
	slowly      bool    // the pace is that of a process of few successes, see slowPace
	gained      float64 // successes since then, more of them where many calls wait
	left        int     // calls that have not waited until they could go, since the last success
	throttledAt time.Time
	lastStart   time.Time

	credit int // half tokens that have been spent, see quick

	// Of answers that came in good time: when the youngest of the attempts began, at the
	// earliest; and how many were counted, or noticed as late.
	youngest      time.Time
	counted, late uint32

	marks [memory]mark // of the last ten seconds, one for each tick
	next  int
}

// mark is how many successes there had been at a time.
type mark struct {
	at        time.Time
	successes uint32
}

const (
	recently = 10 * time.Second // what counts for the pace, and for whether anything succeeds
	memory   = int(recently/tick) + 1

	manyFails = 8               // 5xx in a row are a sign of overload,
	someFails = 3               // and so are as many
	longFails = 3 * time.Second // that spread over as long

	firstRest = 2 * time.Second
	maxRest   = 30 * time.Second

	stuck       = 3 * maxRest / 2              // without a start, though the limit is all there is
	longestRest = 3 * breakerMaxRetryAfter / 2 // spread, as all are

	paceShare  = 0.85 // of the successes
	paceGrowth = 0.02 // times the square of the seconds since the cut
	paceCuts   = time.Second

	fewSuccesses = 1.0              // in a second: of less, ten seconds tell nothing
	firstPace    = 0.2              // of a process of few successes, at least
	slowShare    = 0.25             // of its own pace, after a 429 that followed a success
	slowestPace  = 0.025            // whatever follows
	slowForgets  = 4                // starts at its pace without a 429, and it is forgotten,
	surelyForgot = 80 * time.Second // or as long
	urgentAfter  = 20 * time.Second // in line: twice the pace, see urgentPace
	manyWait     = 10               // calls in line, or gone from it: a success counts twice, see succeeded

	loneShare = 16 // successes for one 429 to a lone attempt: before it a seat may not have been free yet

	quickTokens = 3 // quick retries in a row, see quick

	noLimit = math.MaxInt64
)

// wait is how long the next attempt has to wait: 0 if it may start now, and longer if
// somebody else must finish first, who will poke the line.
func (l *law) wait(g *Limiter, now time.Time) time.Duration {
	if g.mode.Load() != gateLimited {
		return 0
	}
	inFlight := float64(g.inFlight())
	wait := l.restUntil.Sub(now)
	if wait > longestRest || l.lastStart.After(now) {
		// The clock has gone back, as between two bubbles of testing/synctest.
		l.restUntil, l.lastStart, l.pace, wait = time.Time{}, now, 0, 0
	}
	if inFlight >= math.Floor(l.limit) {
		// Those under way may never end: a lost connection, a log that is followed. They
		// must not keep the others for ever from seeing that the server is back.
		wait = max(wait, stuck-now.Sub(l.lastStart))
	}
	if l.seats > 0 && inFlight >= math.Floor(grown(l.seats, now.Sub(l.seatsAt))) {
		wait = max(wait, l.seatsAt.Add(growth((inFlight+1)/l.seats)).Sub(now))
	}
	if pace := l.urgentPace(g, now); pace > 0 {
		wait = max(wait, l.lastStart.Add(time.Duration(float64(time.Second)/pace)).Sub(now))
	}
	return max(0, wait)
}

// learn draws the conclusions from the end of an attempt.
func (l *law) learn(g *Limiter, now time.Time, t *ticket, h health, took, retryAfter time.Duration, slow bool) {
	if (slow || h == lost && took > longAnyway) && l.overtaken(g, now, t, took) {
		if h == well {
			l.succeeded(g, now)
		}
		return
	}
	switch {
	case h == well && !slow:
		l.succeeded(g, now)
	case h == well || h == unsaid && slow:
		// An answer that comes late is no use to a caller who has left. Nor is it known
		// whether one who has left without an answer would have got one.
		if h == well {
			l.fails = 0
		}
		l.overload(g, now, t, took, true)
	case h == lost:
		l.fails++
		l.overload(g, now, t, took, false)
	case h == failing:
		if l.fails++; l.fails == 1 {
			l.since = now
		}
		g.worry.Store(true)
		if l.fails >= manyFails || l.fails >= someFails && now.Sub(l.since) >= longFails || l.limit < noLimit && l.barren {
			l.overload(g, now, t, took, false)
		}
	case h == throttled:
		l.throttledAt = now
		rate, beside := l.rate(g, now), g.inFlight()
		lone := beside == 0 && !t.beside
		if lone {
			l.lone++
		}
		again := lone && l.lone > 1
		if rate == 0 {
			l.overload(g, now, t, took, false)
		}
		switch {
		case again:
			l.slowDown(g, now, rate)
		case rate > 0:
			l.takeSeats(g, now, float64(beside))
		}
		if rate*retryAfter.Seconds() < 1 && (rate == 0 || lone) {
			asked := min(retryAfter, breakerMaxRetryAfter) // it holds for others, too
			if until := now.Add(afterServer(0, asked, false)); until.After(l.restUntil) {
				l.restUntil = until
			}
		}
	}
	if g.line.waiting > 0 {
		return
	}
	if now.Sub(l.throttledAt).Abs() > l.forgetsAfter() {
		l.pace, l.seats, l.lone = 0, 0, 0
	}
	if g.mode.Load() == gateLimited && l.limit >= noLimit && l.pace == 0 && l.seats == 0 {
		l.open(g)
	}
}

// succeeded rewards an answer that came in good time.
func (l *law) succeeded(g *Limiter, now time.Time) {
	l.fails, l.slow, l.rest, l.barren = 0, 0, 0, false
	l.restUntil = time.Time{}
	l.lone = max(0, l.lone-1.0/loneShare)
	// Where many wait, or would not wait so long, the process is one of many calls, and has
	// learnt nothing of late because it was held back: after an outage it is soon as fast as
	// it was.
	l.gained += 1 + float64(g.line.waiting+l.left)/manyWait
	l.left = 0
	if l.credit = max(0, l.credit-1); l.credit == 0 {
		g.worry.Store(false)
	}
	if g.mode.Load() != gateLimited || l.limit >= noLimit {
		return
	}
	switch {
	case g.line.waiting == 0:
		l.limit = noLimit
	case l.limit < l.ceiling:
		l.limit++
	default:
		l.limit += 1 / l.limit
	}
}

// overload answers a sign of it. answered tells that there was an answer, or a caller who
// has left, too late.
func (l *law) overload(g *Limiter, now time.Time, t *ticket, took time.Duration, answered bool) {
	limited := g.mode.Load() == gateLimited
	if limited && t.epoch != l.epoch {
		return // sent before the last cut
	}
	if limited && l.limit < 2 {
		l.takeRest(now, took, answered)
	} else {
		g.mode.Store(gateLimited) // before the count, see pass
		if !limited {
			l.limit, l.lastStart = noLimit, now
		}
		l.limit = max(1, math.Floor(min(l.limit, float64(g.inFlight()+1))/2))
		l.ceiling = l.limit
		if !answered {
			l.rest = max(l.rest, min(took/2, maxRest)) // doubled by the first rest
		}
	}
	l.epoch++
	l.barren = true
}

// takeRest lets the whole process rest.
func (l *law) takeRest(now time.Time, took time.Duration, answered bool) {
	l.limit = 1
	if answered {
		// The server works, and is slow: many processes with one attempt each are enough to
		// keep it so. Each late answer in a row doubles the rest.
		l.slow = min(l.slow+1, 16)
		rest := min(min(took, maxRest)<<(l.slow-1), maxRest)
		l.restUntil = now.Add(around(rest))
		return
	}
	l.rest = min(max(2*l.rest, firstRest, took), maxRest)
	l.restUntil = now.Add(around(l.rest))
}

// around spreads d over [d/2, 3d/2).
func around(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d)
}

func (l *law) open(g *Limiter) {
	l.limit, l.pace, l.seats, l.lone, l.restUntil = noLimit, 0, 0, 0, time.Time{}
	g.mode.Store(gateOpen)
}

// slowDown sets the pace: a server that answers 429 and others with success is asked for
// less than it has just given. It does so once for all 429 with no success between them, as
// the rests grow with the others: what is measured while nothing succeeds is the trouble,
// and not what the server gives.
func (l *law) slowDown(g *Limiter, now time.Time, rate float64) {
	if l.paceAt(now) > 0 {
		if now.Sub(l.pacedAt).Abs() < paceCuts {
			return
		}
		if l.gained == 0 {
			if l.slowly {
				l.pacedAt = now // it grows from here
			}
			return
		}
	}
	l.restrict(g, now)
	pace, slowly := paceShare*rate, rate < fewSuccesses
	if slowly {
		pace = l.slowPace(now, pace)
	}
	l.pace, l.slowly, l.pacedAt, l.gained = pace, slowly, now, 0
}

// slowPace is the pace of a process of few successes, in place of one that follows their
// number: what the server gives cannot be told from one or two in ten seconds. Such a
// process goes down from its own pace.
func (l *law) slowPace(now time.Time, measured float64) float64 {
	pace := l.paceAt(now)
	if pace == 0 {
		return max(firstPace, measured)
	}
	return max(slowestPace, slowShare*min(pace, fewSuccesses))
}

// takeSeats limits the attempts under way to those beside which one was refused: a server
// that gives so many seats to a user is asked for no more, and none of them is left empty.
func (l *law) takeSeats(g *Limiter, now time.Time, beside float64) {
	if l.seats > 0 && beside >= grown(l.seats, now.Sub(l.seatsAt)) {
		return // sent before the last time
	}
	l.restrict(g, now)
	l.seats, l.seatsAt = max(1, beside), now
}

// restrict makes everybody ask the law, without a limit yet.
func (l *law) restrict(g *Limiter, now time.Time) {
	if g.mode.Load() != gateLimited {
		g.mode.Store(gateLimited)
		l.limit = noLimit
		l.lastStart = now
	}
}

// grown is what pace and seats have grown to after a time.
func grown(from float64, after time.Duration) float64 {
	t := after.Seconds()
	return from * (1 + paceGrowth*t*t)
}

// growth is the time in which they grow by a factor, and a little more.
func growth(factor float64) time.Duration {
	return time.Duration(math.Sqrt(max(0, factor-1)/paceGrowth)*float64(time.Second)) + time.Millisecond
}

// paceAt is the pace now, 0 if there is none. It grows with the seconds; that of a process
// of few successes with those, or with the starts for which there was time, because more
// often it learns nothing.
func (l *law) paceAt(now time.Time) float64 {
	switch after := now.Sub(l.pacedAt); {
	case l.pace == 0:
		return 0
	case l.slowly:
		starts := max(after.Seconds()*l.pace, l.gained)
		return l.pace * (1 + paceGrowth*starts*starts)
	default:
		return grown(l.pace, after)
	}
}

// urgentPace is the pace at which attempts start. Processes of few successes find their
// paces by chance, and know nothing of each other. How long a call has waited is the same
// measure to all of them: where it is long the process goes faster, so that others meet
// more 429 and go slower, and nobody's calls wait much longer than everybody's.
func (l *law) urgentPace(g *Limiter, now time.Time) float64 {
	pace := l.paceAt(now)
	if l.slowly && g.line.first != nil {
		waited := max(0, now.Sub(g.line.first.joined).Seconds()) / urgentAfter.Seconds()
		pace *= 1 + waited*waited
	}
	return pace
}

// forgetsAfter is how long there must be no 429 before pace and seats are forgotten.
func (l *law) forgetsAfter() time.Duration {
	if l.pace == 0 || !l.slowly {
		return recently
	}
	return max(recently, time.Duration(min(slowForgets/l.pace, surelyForgot.Seconds())*float64(time.Second)))
}

// remember notes the successes so far. It reports whether there were none since the last
// time.
func (l *law) remember(now time.Time, successes uint32) (none bool) {
	last := l.marks[(l.next+memory-1)%memory]
	l.marks[l.next%memory] = mark{now, successes}
	l.next = (l.next + 1) % memory
	return last.successes == successes
}

// seen notes when an attempt began that was answered in good time.
func (l *law) seen(now time.Time, took, wrongBy time.Duration) {
	if took > longAnyway {
		l.late++
		return
	}
	l.began(now.Add(-took - wrongBy))
}

func (l *law) began(at time.Time) {
	if at.After(l.youngest) {
		l.youngest = at
	}
}

// seenInPassing does so for those of the healthy path, of which nothing is known but that
// they took less than two ticks, and that they have ended since the last time.
func (l *law) seenInPassing(now time.Time, successes uint32) {
	if quick := successes - l.late; quick != l.counted {
		l.counted = quick
		l.began(now.Add(-3 * tick))
	}
}

// overtaken reports whether an attempt that began after this one was answered in good time,
// before it. Then the server is not overloaded: it is slow with requests of this kind, or
// has lost this one.
func (l *law) overtaken(g *Limiter, now time.Time, t *ticket, took time.Duration) bool {
	l.seenInPassing(now, g.successes())
	if l.youngest.After(now) { // the clock has gone back
		l.youngest = time.Time{}
	}
	return l.youngest.After(now.Add(g.wrongBy(t) - took))
}

// rate is how many successes there were in a second, of late.
func (l *law) rate(g *Limiter, now time.Time) float64 {
	successes := g.successes()
	oldest := mark{at: now, successes: successes}
	for _, m := range l.marks {
		if !m.at.IsZero() && now.Sub(m.at) <= recently && m.at.Before(oldest.at) {
			oldest = m
		}
	}
	if span := now.Sub(oldest.at); span > 0 {
		return float64(successes-oldest.successes) / max(span, recently/10).Seconds()
	}
	return 0
}

// quick takes a token for a retry that waits a tenth. Tokens buy speed, never permission:
// there are three, and half a one for each success. Where failures are by chance most
// retries get one; where the server is down nobody does.
func (g *Limiter) quick() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mode.Load() == gateLimited || g.law.credit > 2*(quickTokens-1) {
		return false
	}
	g.law.credit += 2
	g.worry.Store(true)
	return true
}
