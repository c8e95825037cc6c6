// Package k8sretry makes calls to the Kubernetes API survive what is transient,
// stop at what is not, and never do a write twice.
//
// # The idea
//
// One line wraps a call of client-go:
//
//	pod, err := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
//		return clientset.CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
//	}, k8sretry.ForRead())
//
// or makes a function that retries by itself, without a closure:
//
//	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead())
//	pod, err := get(ctx, "web-0", metav1.GetOptions{})
//
// [Do] and [Wrap] are for a value and an error, [Run] and [WrapRun] for an error
// alone; Wrap1, Wrap2, WrapRun1 and WrapRun2 are for functions with arguments. They
// work with real and fake clientsets alike. What decides is a [Policy], made of
// options by [NewPolicy]; presets such as [ForWrite] are Policies, too.
//
// # Words
//
// A call is one invocation of Do or of a wrapped function. An attempt is one
// invocation of the caller's function; attempt 1 is the first. A retry is attempt 2
// and later: with 3 retries there are at most 4 attempts. The [Class] of a failure
// says what it means, its [Outcome] what the server did, and a [StopReason] why a call
// ended without success. The [Verb] says what the call does: with a verb, a failure
// that may hide a success is repeated only where that can do no harm. Without a verb
// the caller vouches that the call may be repeated.
//
// # One call, in order
//
//	options > context over? > breaker > gate > attempt > ok: an event if it was retried, return
//	                                             | failed
//	          verdict > context over? > may this verb repeat it? > retries left? >
//	          delay > fits the deadline? > budget > event > sleep > context over? > breaker ...
//
// A call waits in the caller's goroutine and starts no other. It never sleeps
// towards a deadline that it cannot meet. A Retry-After of the server is a floor for
// the delay. What an inner call of this package has given up on is not repeated by
// an outer one.
//
// # Presets
//
// The longest waits in all, when every attempt is answered by 503. The first figure
// is the schedule, the second the most that jitter makes of it.
//
// presets:begin
//
//	Preset           Retries   Delays          In all   With jitter
//	the defaults     3         1s to 30s       7s       8.4s
//	ForWrite         5         2s to 30s       1m0s     1m6s
//	ForRead          3         1s to 10s       7s       8.4s
//	ForConnection    5         500ms to 10s    15.5s    18.6s
//	ForMaintenance   10        500ms to 1m0s   4m3.5s   4m16.2s
//	ForBackground    2         2s to 10s       6s       7.2s
//
// presets:end
//
// [ForEviction] goes on until the context ends.
//
// # Logs
//
// Each decision is one line with a fixed name as its message, written to the logger
// of [WithLogger], by default zap.L(), which is silent until a service calls
// zap.ReplaceGlobals:
//
//	k8s_api_call_failed_retrying        warn   function, attempt, max_retries, delay_seconds, error_type, error, status_code
//	k8s_api_call_succeeded_after_retry  info   function, attempt, max_retries
//	k8s_api_call_failed_max_retries     error  function, attempt, max_retries, error_type, error, status_code
//	k8s_api_call_failed_non_retryable   info   function, attempt, error_type, error, status_code
//
// Other stops are k8s_api_call_failed_ and one of deadline, max_elapsed,
// retry_after_too_long, budget_exhausted, breaker_open, queue_timeout, outcome_unknown
// (error) and canceled (info), with function, attempt and error. Further fields may
// be there (verb, class, outcome, detail, retry_after_seconds, elapsed_seconds) and
// more may come; these names and types stay.
//
// attempt is the attempt that has just ended, delay_seconds a number with a
// fraction. status_code is absent if there was no answer of the API. error_type is
// the Go type of the API or network error, whatever wraps it. The text of an error
// is cut at 1024 bytes.
//
// With zap's MessageKey set to "event", this counts the status codes that were
// retried:
//
//	grep k8s_api_call_failed_retrying app.log | jq .status_code | sort | uniq -c | sort -rn
//
// [WithContextLogger] takes the logger out of the context of the call. [SlogObserver] and
// [ContextSlogObserver] write the same lines with log/slog, and by it with logr.
//
// For metrics and traces there is [Observer]. For tests of a service's retries there is
// package k8sretrytest.
//
// # Safe writes
//
// [Create], [Update], [Modify], [Delete] and [Evict] send a write and retry it even if an
// earlier request may have been carried out. They determine the outcome, so that the write
// is carried out at most once, and the result is true:
//
//   - They retry after the failures after which [Do] retries with the same options, and also
//     after failures of writes with an unknown outcome.
//   - Create, Update and Modify store a random token in an annotation of the object (see
//     [TokenAnnotation]). If the server rejects a retry with AlreadyExists, Conflict or
//     another permanent error, they read the object. If it carries the token, the write was
//     carried out, and the call succeeds. Delete and Evict use the UID of the object instead.
//   - If the write was not carried out, they return the server's error unchanged. If the
//     outcome cannot be determined, the error matches [ErrOutcomeUnknown].
//   - If the outcome is ambiguous when the retries or the context end, they check it once
//     more. This final check takes at most 5 s, and does not end with the context: a call may
//     return up to 5 s later than its context ends.
//   - Without a failure they send exactly one request (Modify: one read and one update). A dry
//     run stores nothing and is not checked.
//   - If a redirect with 301, 302 or 303 turns the write into a GET, they return an error if
//     a [Transport] sees it. Create always notices it.
//   - They do not change the caller's object. After a check they return the object as read,
//     which other clients may have changed since.
//
// [Apply] retries a server-side apply, which has the same result if it is applied twice. It
// does not retry a conflict with another field manager.
//
// The options are those of Do and [WithTokenAnnotation]; WithVerb is ignored. The functions
// are safe for concurrent use if the client is, even with the same object. [Dynamic] adapts
// the dynamic client, [StatusSubresource] the status subresource.
//
// # Overload
//
// Retries are what keeps an overloaded server overloaded. Three things that calls share
// keep them from it; each is off unless it is given:
//
//   - A [Limiter] lets calls wait in line, first attempts included, while the server is
//     overloaded, and lets as many through as it answers. Begin with it: calls come late
//     instead of failing.
//   - A [Budget] bounds the retries of all calls together, and with MaxRetryTime the time
//     spent on them.
//   - A [Breaker] lets calls fail at once while nearly everything fails: for callers that
//     have something better to do than to wait.
//
// One value serves all calls of a process to one server. With a prepared [Policy] a
// Budget and a Breaker cost a success three to five nanoseconds each, a Limiter twenty to
// forty (go test -bench Guards); written in the call they cost more:
//
//	policy := k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.WithLimiter(k8sretry.NewLimiter()))
//
// Their changes of state are events, logged as k8s_api_limiter_limiting and
// k8s_api_limiter_open, k8s_api_breaker_open, k8s_api_breaker_half_open and
// k8s_api_breaker_closed, with the function, attempt and error that brought them
// about. Calls that have waited at a gate have queued_seconds in their lines.
//
// # Below client-go
//
// client-go itself repeats every request, writes included, up to 10 times when a 429
// or 5xx carries a Retry-After, and a read whose connection was reset up to 10 times
// (k8s.io/client-go/rest/with_retry.go). It does so inside one attempt, unseen. A
// [Transport] in the rest.Config takes its place: inside a Do it sends once and tells
// what it saw, elsewhere it has the loop of Do.
package k8sretry
