// Package benchmarks measures k8sretry beside the libraries it is compared
// with, a loop written by hand, and the call alone. It is a module of its own,
// so that nobody who uses k8sretry downloads its peers.
//
// Every contender takes part in two forms:
//
//   - usual: as its README shows it, its options built in the call, transient
//     failures told apart with the predicates of apimachinery;
//   - best: as somebody writes it who has read its source: all that may be
//     prepared is prepared once, and failures are told apart by the check of
//     the hand-written loop, which is as cheap as such a check can be.
//
// The situations are what a service meets: success; a NotFound that must be
// returned at once; two failures before a success; a Get through a real
// clientset over loopback; thousands of calls waiting for their retry; and, by
// themselves, telling failures apart and calculating delays. Delays are one
// nanosecond where a call waits: a real timer is armed and the goroutine parks,
// but the work is compared, not the sleep.
//
// All loops allow three retries and use exponential delays with a jitter of
// 20 % and a cap of 30 s, as far as the library has these. Before it is timed,
// each contender is tested: three calls for two failures and a success, one
// call for a NotFound, four for a server that stays away.
//
// To regenerate the tables of this directory and of the README:
//
//	go run ./cmd/table
package benchmarks
