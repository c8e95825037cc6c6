// SPDX-License-Identifier: Apache-2.0

// Package k8sretry retries calls to the Kubernetes API. It retries transient failures,
// returns permanent errors at once, and keeps writes from being carried out twice.
//
//	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead())
//	pod, err := get(ctx, "web-0", metav1.GetOptions{})
//
// [Do] calls a function that returns a value and an error, [Run] one that returns an
// error. [Wrap], [Wrap1] and [Wrap2] return a function that retries, for functions with
// zero, one or two arguments after the context; [WrapRun], [WrapRun1] and [WrapRun2] do
// so for functions that return only an error. All of them work with real and fake
// clientsets. Options configure a call; a [Policy], made by [NewPolicy], is a reusable
// set of options. Presets such as [ForWrite] are Policies. A function that knows that an
// error is final returns [Permanent] of it. [ReadOnly] says that a call changes nothing.
// [Until] reads until a condition holds, and [UntilWatch] watches.
//
// # Terms
//
// A call is one invocation of Do or of a wrapped function. An attempt is one invocation
// of the caller's function. Attempts are counted from 1; a retry is any attempt after the
// first, so 3 retries are at most 4 attempts.
//
// The [Class] of a failure is its kind, and its [Outcome] is what the server did. A
// [StopReason] is the reason why a call ended without success. The [Verb] is what the call
// does: with a verb, k8sretry does not repeat a write that must not be carried out twice
// while its outcome is unknown. Without a verb, k8sretry assumes that the call is safe to
// repeat.
//
// # Order of a call
//
//	options > context done? > breaker > limiter > attempt > success: event if it was retried, return
//	                                                | failure
//	          classification > context done? > may the verb be repeated? > retries left? >
//	          Retry-After too long? > delay > within the deadline? > budget > event >
//	          sleep > context done? > breaker ...
//
// A call waits in the caller's goroutine. It starts no other goroutine, and its attempts never
// overlap: within one attempt, a [Transport] with [WithHedge] may send a read twice at the same
// time, from a second goroutine that ends before the attempt does. A call does not start
// a wait that would end after the deadline of the context. The server's Retry-After is a
// lower bound for the delay. If an inner call of this package gave up on an error, an
// outer call does not retry it.
//
// # Presets
//
// The longest total waits, when every attempt is answered by 503: according to the
// schedule, and with the largest jitter.
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
// [ForEviction] retries until the context ends.
//
// # Logs
//
// Each decision is one line, whose message is the name of the event. It is written to the
// logger of [WithLogger], by default zap.L(), which is silent until the program calls
// zap.ReplaceGlobals:
//
//	k8s_api_call_failed_retrying        warn   function, attempt, max_retries, delay_seconds, error_type, error, status_code
//	k8s_api_call_succeeded_after_retry  info   function, attempt, max_retries
//	k8s_api_call_failed_max_retries     error  function, attempt, max_retries, error_type, error, status_code
//	k8s_api_call_failed_non_retryable   info   function, attempt, error_type, error, status_code
//
// The other events of failed calls are k8s_api_call_failed_ followed by deadline,
// max_elapsed, retry_after_too_long, budget_exhausted, breaker_open, queue_timeout or
// outcome_unknown (level error) or by canceled (level info). They have function, attempt
// and error. A line may also have verb, class, outcome, detail, retry_after_seconds,
// elapsed_seconds, with [WithObjectNames] object ("default/web-0") and, if the call waited in
// the queue of a Limiter, queued_seconds. New fields may be added; these names and types do
// not change.
//
// function is the name of [WithName], the wrapped function ("PodInterface.Get"), verb and
// resource of a safe write or of a request to a Transport ("create deployments.apps"), or the
// function that calls Do.
//
// attempt is the attempt that has just ended. delay_seconds is a number with a fraction.
// status_code is missing if the API did not answer. error_type is the Go type of the API
// or network error without its wrappers. error is truncated to 1024 bytes.
//
// If the program sets zap's MessageKey to "event", this command counts the status codes
// that were retried:
//
//	grep k8s_api_call_failed_retrying app.log | jq .status_code | sort | uniq -c | sort -rn
//
// [WithContextLogger] takes the logger from the context of the call. [SlogObserver] and
// [ContextSlogObserver] write the same lines with log/slog. An [Observer] receives the
// events for metrics and traces. Package k8sretrytest is for tests of code that retries.
//
// # Safe writes
//
// [Create], [Update], [Modify], [Delete], [Evict], [Apply] and [Patch] repeat a write whose
// outcome is unknown and then determine whether an earlier attempt was carried out:
//
//   - If a repetition is answered by AlreadyExists, Conflict or another permanent error,
//     they read the object. If it shows that the write was carried out, the call succeeds.
//   - Update is proven by the content. Modify stores a random token in an annotation
//     together with its change, and Create a mark, if neither a generated name nor a
//     controller proves it (see [TokenAnnotation]).
//   - Apply and Patch need no check, because what they repeat has the same result twice, or
//     is rejected the second time. Patch does not repeat other patches.
//   - If the write was not carried out, the error is returned unchanged. If the outcome
//     cannot be determined, the error is [ErrOutcomeUnknown].
//   - If the retries, the deadline or the context end while the outcome is unknown, one
//     last check of at most 5 s runs, even after the context has ended.
//   - Without a failure exactly one request is sent (Modify: one read and one write, and no
//     write if mutate changes nothing). A dry run is not checked.
//   - A write that a 301, 302 or 303 redirect has turned into a GET has failed. Its outcome
//     is checked like that of a lost answer. See [WithVerb].
//   - The caller's object is never changed. After a check the returned object is the
//     stored one, which may have been changed since.
//
// They take the options of Do, of which WithVerb has no effect, and [WithTokenAnnotation].
// They are safe for concurrent use if the client is, and concurrent calls may share an
// object. [Dynamic] adapts the dynamic client, [StatusSubresource] the status subresource,
// [PatchSubresource] any subresource to Patch.
//
// # Overload
//
// Three types limit the load that retries put on a server. Calls share them:
//
//   - A [Limiter] makes calls wait in a queue, first attempts included, while the server is
//     overloaded. Start with this one.
//   - A [Budget] bounds the retries of all calls and, with MaxRetryTime, the time spent on
//     them.
//   - A [Breaker] makes calls fail at once while nearly every attempt fails.
//
// Use one value for all calls of a process to one server, preferably in a Policy:
//
//	policy := k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.WithLimiter(k8sretry.NewLimiter()))
//
// A call that has waited in the queue for a second says so once, with k8s_api_call_queued (level
// info). Changes of state are the events k8s_api_limiter_limiting, k8s_api_limiter_open,
// k8s_api_breaker_open, k8s_api_breaker_half_open and k8s_api_breaker_closed, with the
// function, attempt and error that caused the change.
//
// # Transport
//
// client-go itself repeats any request, writes included, up to 10 times if a 429 or 5xx has
// a Retry-After, and a read whose connection was reset up to 10 times
// (k8s.io/client-go/rest/with_retry.go). It does so inside one attempt. A [Transport] in the
// rest.Config replaces these retries: inside a Do it sends once per attempt and passes what
// it observed to the Do; otherwise it retries as Do does.
package k8sretry
