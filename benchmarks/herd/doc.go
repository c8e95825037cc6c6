// SPDX-License-Identifier: Apache-2.0

// Package herd simulates many clients of an overloaded or failing API server, in virtual
// time. The clients use the real code of k8sretry and of other retry libraries. It is a
// separate module, so that k8sretry does not depend on the other libraries.
//
//	go run ./cmd/herd            # all scenarios
//	go run ./cmd/herd -write     # RESULTS.md and pictures/
//
// # The model
//
// 2000 clients make calls in an open loop: the times of the calls depend only on the seed,
// not on the results of earlier calls. A call makes up to five retries with delays of 2 s
// to 30 s, and an attempt times out after 10 s. The clients are spread over 20 or 2000
// processes. The calls of a process share the state of the library (a limiter, a budget,
// a breaker).
//
// The server answers 200 requests per second, one after the other, in order of arrival. It
// also processes requests whose clients have left. The queue holds the work of 12 s, which
// is longer than clients wait, or of 1 s. Requests that do not fit are answered 503. Errors
// are those of client-go: StatusErrors, refused connections, context errors. The network
// takes no time.
//
// # The scenarios
//
//   - S1, contention: N clients increment one object with optimistic concurrency. Each
//     message takes |N(10 ms, 2 ms)|, delays are 10 ms to 2 s.
//   - S2, brown-out: at 70 % load the capacity falls to a fifth for a minute. S2s is the
//     same with the short queue.
//   - S3, restart: connections are refused for 30 s, and all clients make a call at the
//     start. Then the capacity grows from 30 % to 100 % within a minute. 30 % load.
//   - S4, partial fault: 30 % of the requests are answered 503 at random.
//   - S5, throttling: for a minute there are twice as many calls, 140 % of a limit above
//     which requests are answered 429 with a Retry-After of 1 s to 5 s.
//   - Others, for which nothing was tuned: a slow decline, a flapping server, silence, one
//     slow verb, and a server that drops requests whose clients have left.
//
// # The figures
//
// Peak load is the load in the busiest 5 s of the second half of the fault, relative to the
// offered load. Recovery time is the time from the end of the fault until, during 5 s, calls
// succeed at 90 % of the offered rate; "never" means not before the end of the run.
// Durations are those of successful calls. A contender with few successful calls may have
// short durations, so compare both.
//
// # Variation
//
// The seed determines the simulation. The libraries take their delays from the global
// generators of math/rand, which cannot be seeded, and goroutines that wake at the same
// time run in any order. RESULTS.md shows medians and the variation between runs. With
// -exact a run is deterministic: it runs in WebAssembly on one thread, with random numbers
// and clocks of the command. The same source, Go version and flags then give the same
// output. It takes ten to thirty times as long.
package herd
