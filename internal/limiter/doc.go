// SPDX-License-Identifier: Apache-2.0

// Package limiter queues the attempts of a process while the server is overloaded. It is an
// adaptive concurrency limiter: additive increase, multiplicative decrease, as in TCP.
//
// # Scopes
//
// A sign of overload is believed for the smallest scope that explains it. There are three: a
// kind of request, a priority level of API Priority and Fairness, and the server (scope.go).
// Each has a law of its own (law.go), and an attempt starts when those of all its scopes allow
// it.
//
//   - A failure is a sign for its kind. kube-apiserver answers a LIST whose watch cache cannot
//     start with a 429 in the level of all the healthy GETs beside it, so the kind comes first.
//   - It is one for a level or the server, too, if several of their parts have failed since the
//     last answer in good time to any of them. Then only the kinds that have failed are
//     limited: a kind that is well never waits for one that is not. One success of any kind ends
//     it.
//   - Refused connections are about the server, and the 429 of Priority and Fairness itself is
//     about its level. They limit all kinds.
//
// # The law
//
// The law of a scope controls two quantities: the attempts in flight, and the time between two
// starts. It is pure: it has no clock, no lock and no owner.
//
//   - Failures are a sign if there are eight in a row without a success, or four over four
//     seconds. Four lost connections and 5xx are none if within two minutes before a success
//     followed others, which were chance then. Where many attempts began together, more have to have failed than are in flight.
//     So random failures with successes beside them are none. A late answer is one at once,
//     and so is a failure after a long time, unless an attempt that began later was answered
//     before: then the server is slow with this request only, or has lost it.
//   - A server that is slow with every request is not overloaded: its answers come no sooner when
//     fewer attempts are in flight. That is so after four late answers with one attempt in flight
//     at a time, or an eighth of those before, that took no less than half as long, if no answer
//     came much sooner and many calls are queued. What they take is usual from then on.
//   - A sign halves the attempts in flight, once for those that were in flight together. A
//     success adds 1 up to the limit after the last sign, and then 1/limit. A success while no
//     call is queued removes the limit.
//   - Where even one attempt at a time fails, there is a pause, as long as the trouble has
//     lasted, which doubles it each time, and half as long again where connections are refused.
//     It is a time of the callers: where their delays are short, it is short, and it never
//     makes a call wait for much longer than what has passed. Where many calls are queued and
//     the attempt was answered, but late, the pause is as long as that took: the others of the
//     process have to wait as well.
//   - A 429 with a Retry-After, while others succeed, says how many requests the server takes:
//     as many as are in flight beside it; or, if it was alone, fewer per second than have
//     succeeded. Both limits grow with the square of the time, as in TCP CUBIC. Without
//     successes it is a sign as any other, and its pause is at least as long as it asks for.
//
// # Constants
//
// The table says what each decides. The command herd of benchmarks/herd has the scenarios.
//
//	manyFailures  8      failures in a row that are no chance: 0.4^8 is less than one in a thousand
//	fewFailures   4      and as many over as many seconds: S2 and S3 of processes of few calls; fewer are
//	                     taken for overload in S4
//	maxPause      20 s   the longest pause, spread by 0.5 to 1.5: longer ones delay the recovery of S3,
//	                     shorter ones overload it with 2000 processes
//	3/2           of the pause, while connections are refused: S3 with 2000 processes
//	rateShare     0.85   of the successes per second, after a 429 to a lone request: S5
//	growth        0.02   of a limit that a 429 has set, times the square of the seconds: S5, seats
//	recent        10 s   how long successes are counted, and how long a 429 limits: S5
//	loneShare     16     successes that outweigh a 429 to a lone request, which may be an accident
//	manyQueued    10     queued calls that show that a process makes many calls: for so many a success counts
//	                     twice where the gap between starts is longer than a second (an outage of 429), and a
//	                     late answer makes no longer pause than it took (S3)
//	neverLate     1 s    answers are never late before: S2 with 2000 processes
//	lateFactor    10     nor below as many times what is usual for the kind
//	adaptTime     10 min in which a latency that was late becomes usual
//
// # Reasons
//
// A queue instead of refusals. In the simulator of benchmarks/herd every retry library without
// shared state stays down after a brown-out. Breakers and budgets, which refuse, recover but lose
// the calls. A limit of attempts in flight with a queue before it loses few. First attempts wait,
// too, because a rejected request still costs the server.
//
// No clock on the fast path. Two readings would cost more than the rest of the call. While calls
// are in flight a timer fires four times per second; an attempt that ends within two ticks took
// no time that matters. The first failure makes all attempts take the lock and read the clock
// until it is followed by a success. Attempts that started before are not counted by the
// limits: they end by themselves, and calls within them must not wait for them.
//
// Levels are limited by what they say themselves. API Priority and Fairness limits requests in
// flight, not per second. A rate measured from the successes of the last seconds is far too low
// after many clients have wasted that time; a cap of as many requests as the server did accept
// is right at once. Where lone attempts are refused, the server limits requests per second, and
// so does the law.
//
// A process of few calls learns from its own attempts. Two thousand processes with a call every
// few seconds fill a server, too, but none has ten successes to measure. Each doubles the time
// between its starts with each 429 that follows a success.
//
// Pauses are as long as the trouble. Two thousand processes with one attempt each are enough to
// keep a queue in the server full. A process whose attempt timed out pauses for as long as that
// took, and twice as long each time. Where connections are refused the pause is longer: when the
// server returns, it receives the attempts of all processes whose pause ends then (S3).
//
// A usual latency is learned by time, not by the number of answers: a queue in the server delays
// thousands of them within a minute, each by a little more than the one before.
//
// A server that is slow with every request (latency.go, slowness). A limit does not make its answers
// come sooner, and its calls would fail in the queue until the new latency is usual. A process of
// many calls sees that as soon as the limit is low. It does not trust late answers with one attempt
// in flight once one came much sooner: then the load is that of all processes together (S2, drops).
// A process of few calls cannot know, and goes on to pause.
//
// A call within an attempt uses its place (place.go), one at a time: in flight stays within the
// limit, and no attempt waits for itself.
//
// Delays by cause need a Limiter. Without one a retry is never earlier than its schedule, which is
// what logs and documentation say. With one, a retry after a 5xx may come early, because those
// that are no chance are limited, and a retry later while calls of its kind are limited.
package limiter
