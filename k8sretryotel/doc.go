// SPDX-License-Identifier: Apache-2.0

// Package k8sretryotel reports the calls of k8sretry to OpenTelemetry: events on the span of
// the caller, metrics and, for calls of [Do] and [Run], a span for each attempt. It depends
// on the API of OpenTelemetry, but not on the SDK.
//
//	observer, err := k8sretryotel.New()
//	policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithObserver(observer))
//
// # Span events
//
// A call adds events to the span in its context for each retry, for a success after a
// retry, and for a failure. The events have the names of the log lines:
// k8s_api_call_failed_retrying, k8s_api_call_succeeded_after_retry, and
// k8s_api_call_failed_ followed by the stop reason. They do not change the status of the
// span, because only the caller knows whether an error such as NotFound is a failure.
//
// In a Transport, events are added to the span in the context of the request: that of the
// caller, or that of an instrumented RoundTripper above the Transport.
//
// # Attributes
//
// The semantic conventions define error.type, which is the status code ("503") or, without
// a response of the API, the class ("connection"); http.response.status_code; and
// exception.message, the text of the error, cut at 1024 bytes, in span events only.
//
// The other attributes are k8sretry.function, k8sretry.verb, k8sretry.attempt,
// k8sretry.max_retries, k8sretry.delay_seconds, k8sretry.class, k8sretry.outcome,
// k8sretry.stop_reason, k8sretry.detail, k8sretry.retry_after_seconds,
// k8sretry.elapsed_seconds and k8sretry.queued_seconds. They have the values of the fields
// of k8sretry.Event.
//
// # Metrics
//
//	name                    kind       unit       attributes
//	k8sretry.calls          counter    {call}     verb, function; for failures stop_reason, outcome, error.type
//	k8sretry.retries        counter    {retry}    verb, function, class, http.response.status_code
//	k8sretry.call.attempts  histogram  {attempt}  verb; for failures stop_reason
//	k8sretry.retry.delay    histogram  s          verb, class
//
// k8sretry.calls counts calls when they end, including those that end before their first
// attempt. A call that failed has an error.type. k8sretry.retry.delay is the delay that was
// chosen for a retry; the wait is shorter if the context ends.
//
// If no WithName contains the name of an object, no attribute of a metric does. Values of
// verb, class, stop_reason and outcome are constants of k8sretry, and status codes are
// between 100 and 599. Values of function are functions of the program or, with a
// Transport, pairs of verb and resource ("get pods"). A success at once of a call without
// WithName has no k8sretry.function, so use names to compare functions.
//
// # Cost
//
// An Observer does not allocate for a success at once, whether or not metrics are
// collected. To measure the time it adds to a call:
//
//	go test -run '^$' -bench SuccessAtOnce .
package k8sretryotel
