// Package k8sretryprom shows the retries of package k8sretry to Prometheus.
//
// One [Collector] observes calls and is scraped:
//
//	retries := k8sretryprom.New()
//	prometheus.MustRegister(retries)
//
//	config.Wrap(k8sretry.Transport(k8sretry.ForRead(), k8sretry.WithObserver(retries)))
//
// # Metrics
//
// metrics:begin
//
//	k8sretry_attempts_total                    counter    function, verb
//	k8sretry_breaker_changes_total             counter    state
//	k8sretry_breaker_state                     gauge      breaker, state
//	k8sretry_budget_remaining_retries          gauge      budget
//	k8sretry_budget_retries_total              counter    budget, decision
//	k8sretry_budget_retry_time_seconds         gauge      budget
//	k8sretry_call_attempts                     histogram  function, verb
//	k8sretry_calls_total                       counter    function, verb, result, stop_reason
//	k8sretry_limiter_changes_total             counter    state
//	k8sretry_limiter_in_flight_attempts        gauge      limiter
//	k8sretry_limiter_limit_attempts            gauge      limiter
//	k8sretry_limiter_limited                   gauge      limiter
//	k8sretry_limiter_pause_seconds             gauge      limiter
//	k8sretry_limiter_queued_calls              gauge      limiter
//	k8sretry_limiter_rate_attempts_per_second  gauge      limiter
//	k8sretry_retries_total                     counter    function, verb, class, code
//	k8sretry_sends_total                       counter    method, code
//	k8sretry_wait_seconds_total                counter    function, verb, cause
//
// metrics:end
//
// These names and labels stay. More may come.
//
// # Labels
//
// No label holds the name of an object or of a namespace.
//
//   - function is Event.Function: the name of [k8sretry.WithName]; of a Transport the verb and
//     the resource, such as "get pods"; else the function that made the call. A call without
//     a name that succeeds at once has "unnamed": only calls with a name of their own can be
//     compared function by function. There are series for 256 pairs of function and verb, and
//     what comes later is counted as "other". A name is cut after 100 bytes.
//   - verb is Event.Verb, "none" where the caller named none.
//   - result is succeeded_at_once, succeeded_after_retry, failed_at_once or failed_after_retry.
//   - stop_reason is the [k8sretry.StopReason] of a call that failed, "" for a success.
//   - class is the [k8sretry.Class] of the failure before the retry.
//   - code is the HTTP status, "none" if there was no answer, "other" if it is no known one.
//   - cause is what a call waited for: the class of the failure before it, or "limiter".
//   - budget, breaker and limiter are the names given to [WithBudget], [WithBreaker] and [WithLimiter].
//
// # Beside the metrics of client-go
//
// rest_client_requests_total, which controller-runtime and k8s.io/component-base register,
// counts what client-go asked its transport for. Where a [k8sretry.Transport] retries, that is
// one for each call, with the last answer, whatever it took; elsewhere it is one for each attempt,
// and one for each repetition that client-go makes by itself. The metrics of this package tell what
// happened in between, and share neither names nor registration with those.
package k8sretryprom
