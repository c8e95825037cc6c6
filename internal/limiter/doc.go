// Package limiter queues the attempts of a process while the server is overloaded. It is an
// adaptive concurrency limiter: additive increase, multiplicative decrease, as in TCP.
//
// # The algorithm
//
// While nothing is limited, Enter and Leave count attempts in flight and successes; nothing else
// happens. On signs of overload the Limiter limits the attempts in flight, first attempts
// included, and queues the others, first in, first out.
//
// Signs of overload are:
//
//   - timeouts, refused and lost connections;
//   - answers that take longer than a second and more than ten times the mean of their kind, or
//     more than a quarter of the attempt timeout where no mean is known;
//   - a 429 while nothing has succeeded in the last ten seconds;
//   - eight 5xx in a row without a success, or three over three seconds.
//
// Each sign halves the limit, once per group of attempts that were in flight together (an
// epoch). Each success raises it: by 1 up to the limit after the last decrease, then by 1/limit.
// Where even one attempt at a time fails, the process pauses. After a failure the first pause is
// 2 s, or as long as the attempt took; each further one is twice as long, up to 30 s. After a late
// answer it is as long as that took, doubled with each late answer in a row. Pauses are spread
// from a half to three halves, so they are 1 to 3 s at first and up to 45 s later. A success
// ends a pause. A success while no call is queued removes the limit.
//
// A 429 while others succeed is treated in one of two ways:
//
//   - If other attempts are in flight, the number of those becomes a cap of attempts in flight,
//     at least 1.
//   - If there are no others, the server counts requests per second. The second such 429 sets a
//     rate: 85 % of the successes per second of the last ten seconds, and a further decrease at
//     most once per second and only after a success.
//
// A process with less than one success per second cannot measure a rate. It starts with the
// higher of 0.2 attempts per second and 85 % of the successes, and continues with a quarter of its
// own rate after each 429 that follows a success, down to one attempt in 40 s. Its rate grows with
// its starts, and is higher the longer the head of the queue has waited: twice as high after 20 s.
//
// Cap and rate grow with the square of the time. They are removed when there has been no 429 for
// ten seconds and no call is queued; the rate of a process of few successes after the time of
// four attempts at that rate, between 10 and 80 s.
//
// A Retry-After makes a pause longer, up to five minutes, extended by a random share of up to a
// half. It is ignored if requests succeed more often than once per Retry-After.
//
// # Reasons
//
// A queue instead of refusals. In the simulator of benchmarks/herd every retry library without
// shared state stays down after a brown-out. Breakers and budgets, which refuse, recover but lose
// the calls. A limit of attempts in flight with a queue before it loses few. First attempts wait,
// too, because a rejected request still costs the server.
//
// No clock on the fast path. Two readings would cost more than the rest of the call. While calls
// are in flight a timer fires four times per second; an attempt that ends within two ticks took no
// time that matters. The timer also records the number of successes, from which rates are
// measured.
//
// A single 5xx is no sign. A server under a partial failure answers 503 at random, and limiting
// calls would not help it. A timeout or a refused connection is a sign at once, because mistaking
// those for random failures costs the most.
//
// A 429 while others succeed is about requests in flight. API Priority and Fairness limits those,
// not requests per second. A rate measured from the successes of the last seconds is far too low
// after many clients have wasted that time; a cap of as many requests as the server did accept is
// right at once. Where lone attempts are refused, the server limits requests per second, and the
// Limiter a rate.
//
// A process of few calls learns from its own attempts. Two thousand processes with a call every
// few seconds fill a server, too, but none has ten successes to measure. With a rate that grew
// with time, each had forgotten its last 429 before its next attempt: half of all attempts were
// refused, and some calls met six refusals in a row. So their rates start low and grow with
// successes, whatever the number of processes. Such rates drift apart by chance. The time that the
// head of the queue has waited is known without communication, so a process whose calls have
// waited longer is faster; otherwise the calls of unlucky processes would reach their timeouts.
//
// What is measured in an outage is not the capacity of the server. A process that is refused
// everything has no successes either, like one of few calls, but after the outage it must not stay
// slow. So a series of 429 without a success lowers the rate once (pauses already grow with each),
// and for a process of few successes a success counts for more while many calls are queued or have
// given up: only a process of many calls has a long queue. The price is that in the simulator one
// call in some 170,000 still meets six refusals (-scenario S5 -processes 2000, seeds 21 to 52: 8 of
// 1.34 million, in eight runs of 32). If the first lone 429 set the rate, it would be one in a
// million, but then an accidental 429 would delay the calls of a process that makes twenty calls
// per minute by 20 s.
//
// An attempt that was overtaken is no sign. In an overloaded server requests queue up, and none
// that came later is answered earlier. Where that happens, one kind of requests is slow, or one
// was lost. The usual latency is learned by time, not by the number of answers: a queue in the
// server delays thousands of them within a minute.
//
// Pauses are as long as attempts. Two thousand processes with one attempt each are enough to keep
// a queue in the server full. A process whose attempt timed out pauses about as long as that took,
// and twice as long each time. Refused connections cost nothing, so pauses begin with 2 s.
//
// Delays by cause need a Limiter. Without one a retry is never earlier than its schedule, which is
// what logs and documentation say. With one, a retry after a random 5xx may come early, for a few
// tokens that successes pay for (Quick), and a retry after overload later.
package limiter
