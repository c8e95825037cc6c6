// Package benchmarks compares k8sretry with other retry libraries, with a loop written
// by hand and with the call alone. It is a separate module, so that users of k8sretry do
// not download the other libraries.
//
// Every contender runs in two forms:
//
//   - usual: as its README shows it, with the options built in the call and transient
//     failures recognized by the predicates of apimachinery;
//   - best: as somebody writes it who has read its source. Everything that can be
//     prepared is prepared once, and failures are recognized by the check of the
//     hand-written loop, which is as cheap as such a check can be.
//
// The situations are those of a service: a success; a NotFound, which must be returned
// at once; two failures before a success; a Get through a real clientset over loopback;
// and thousands of calls that wait for their retry. Classifying a failure and computing
// delays are also measured separately. Where a call waits, the delay is one nanosecond:
// the call arms a real timer and its goroutine parks, but the benchmark compares the
// work and not the sleep.
//
// Every loop allows three retries and uses exponential delays with a jitter of 20 % and a
// maximum of 30 s, as far as the library supports these. A test checks each contender
// before it is timed: three calls for two failures and a success, one call for a
// NotFound, four calls for a server that never recovers.
//
// This command regenerates RESULTS.md and the table in README.md:
//
//	go run ./cmd/table
package benchmarks
