// SPDX-License-Identifier: Apache-2.0

// Package k8sretryprom exports metrics of package k8sretry to Prometheus.
//
// A [Collector] is both an Observer of calls and a collector of metrics:
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
//	k8sretry_hedges_total                      counter    function, verb
//	k8sretry_limiter_changes_total             counter    state, scope
//	k8sretry_limiter_in_flight_attempts        gauge      limiter
//	k8sretry_limiter_limit_attempts            gauge      limiter
//	k8sretry_limiter_limited                   gauge      limiter
//	k8sretry_limiter_limited_scopes            gauge      limiter, scope
//	k8sretry_limiter_pause_seconds             gauge      limiter
//	k8sretry_limiter_queued_calls              gauge      limiter
//	k8sretry_limiter_rate_attempts_per_second  gauge      limiter
//	k8sretry_retries_total                     counter    function, verb, class, code
//	k8sretry_sends_total                       counter    method, code
//	k8sretry_wait_seconds_total                counter    function, verb, cause
//
// metrics:end
//
// Later versions may add metrics, but do not rename these metrics or their labels.
//
// # Labels
//
// No label contains the name of an object or namespace.
//
//   - function is Event.Function: the name passed to [k8sretry.WithName]; the verb and the
//     resource of a request through a Transport, such as "get pods"; otherwise the name of
//     the function that made the call. A call without WithName that succeeds at once has
//     "unnamed", so use names to compare functions. There are series for 256 pairs of
//     function and verb; further pairs are counted as function "other". Names are cut at 100
//     bytes.
//   - verb is Event.Verb, or "none" for a call without WithVerb.
//   - result is succeeded_at_once, succeeded_after_retry, failed_at_once or failed_after_retry.
//   - stop_reason is the [k8sretry.StopReason] of a failed call, or "" for a success.
//   - class is the [k8sretry.Class] of the failed attempt.
//   - code is the HTTP status code, "none" without a response, or "other" for an unknown code.
//   - cause is the reason for a wait: the class of the failed attempt, or "limiter".
//   - scope is to what the limits of a limiter apply: "kind", "level" or "server".
//   - budget, breaker and limiter are the names passed to [WithBudget], [WithBreaker] and
//     [WithLimiter].
//
// # Metrics of client-go
//
// rest_client_requests_total, which controller-runtime and k8s.io/component-base register,
// counts the requests that client-go passed to its transport. If a [k8sretry.Transport]
// retries, that is one for each call, with the code of the last response. Otherwise it is
// one for each attempt and one for each retry that client-go makes itself. The two sets of
// metrics share neither names nor registration.
package k8sretryprom
