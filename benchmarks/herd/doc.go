// Package herd simulates a herd of clients and an API server in trouble, in virtual
// time. The code under test is real: this library and its peers, as they are. It is a
// module of its own, so that nobody who uses k8sretry downloads its peers.
//
//	go run ./cmd/herd            # all scenarios
//	go run ./cmd/herd -write     # RESULTS.md and pictures/
//
// # The model
//
// 2000 clients make calls in an open loop: when they call depends on the seed alone, not
// on what becomes of their calls. A call makes up to five retries after 2 s to 30 s, and
// an attempt may take 10 s. The clients are spread over 20 processes or over 2000. What a
// library lets its calls share (a limiter, a budget, a breaker) is shared in a process.
//
// The server answers 200 requests per second, one after the other, first come, first
// served, and goes on with those whose clients have left. Its queue holds what it
// does in 12 s (a request may wait longer than its client does), or in 1 s (what does not
// fit is answered by 503). Errors are those of client-go: StatusErrors, refused
// connections, ends of contexts. The network takes no time.
//
// # The scenarios
//
//   - S1, contention: N clients add one to one object with optimistic concurrency, each
//     message takes |N(10 ms, 2 ms)|, delays are 10 ms to 2 s.
//   - S2, brown-out: at 70 % load the capacity falls to a fifth for a minute. S2s is the
//     same with the short queue.
//   - S3, restart: 30 s of refused connections, and all clients make a call when it
//     begins. Then the capacity grows from 30 % to 100 % within a minute. 30 % load.
//   - S4, partial fault: 30 % of the requests are answered by 503 at random.
//   - S5, throttled: for a minute twice the calls are made, which is 140 % of a limit
//     above which a 429 asks for 1 s to 5 s.
//   - Others, for which nothing has been tuned: a slow decline, a flapping server, silence, one
//     slow verb, a server that drops what its clients have left.
//
// # The figures
//
// Peak load is that of the busiest 5 s in the second half of the trouble, in times of the
// offered load. Recovery is the time from the end of the trouble until, over 5 s, calls end
// well at 90 % of the offered rate; "never" means not before the run ends. Times of calls
// are those of calls that ended well. A contender that brings few calls through has
// short times: read both.
//
// # What is chance
//
// The simulator follows from its seed. The libraries draw their delays from the global
// generators of math/rand, which cannot be seeded, and goroutines that wake at the same
// moment run in any order. RESULTS.md shows medians, and how far runs lie apart. With -exact
// a run is the same each time: it takes place in WebAssembly, where there is one thread, and
// random numbers and clocks come from the command. The same source, Go and flags then give
// the same output, ten to thirty times as late.
package herd
