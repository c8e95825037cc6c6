// Package k8sretryotel tells OpenTelemetry what the calls of k8sretry do: events on the
// caller's span, metrics, and, for calls made by [Do] and [Run], a span for each attempt.
// It needs the API of OpenTelemetry only, not the SDK.
//
//	observer, err := k8sretryotel.New()
//	policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithObserver(observer))
//
// # Events on spans
//
// A call tells the span of its context (the caller's, of a request or a reconcile) each
// retry, its success after a retry, and its failure, under the names of the log lines:
// k8s_api_call_failed_retrying, k8s_api_call_succeeded_after_retry, k8s_api_call_failed_
// and the stop. The status of that span is left alone: whether a NotFound is an error is
// for the caller to say. A span that does not record costs the look-up in the context, a
// success at once not even that.
//
// Inside a Transport the span is that of the request's context, which is the caller's, or
// that of an instrumented RoundTripper above it.
//
// # Attributes
//
// By the semantic conventions: error.type, which is the status code ("503") or, without an answer
// of the API, the class ("connection"); http.response.status_code; and exception.message, the
// text of the error, cut at 1024 bytes, in traces only. All others are fields of the log
// lines with k8sretry. before them: k8sretry.function, .verb, .attempt, .max_retries,
// .delay_seconds, .class, .outcome, .stop, .detail, .retry_after_seconds, .elapsed_seconds, .queued_seconds.
//
// # Metrics
//
//	name                    kind       unit       attributes
//	k8sretry.calls          counter    {call}     verb, function; of failures stop, outcome, error.type
//	k8sretry.retries        counter    {retry}    verb, function, class, http.response.status_code
//	k8sretry.call.attempts  histogram  {attempt}  verb; of failures stop
//	k8sretry.retry.delay    histogram  s          verb, class
//
// k8sretry.calls counts calls when they end, those that end before their first attempt,
// too; a failure is what has an error.type. k8sretry.retry.delay is the wait that was decided before a
// retry; the end of the context may have cut it short.
//
// No attribute of a metric holds the name of an object, as long as no WithName does. A
// verb, class, stop or outcome is one of the constants of k8sretry, a status code lies
// between 100 and 599; functions are those of the program, or of a Transport the pairs of
// verb and resource ("get pods"). k8sretry.function is absent from a success at once of a call without
// WithName: its name is not worth a look-up. Give names where failures are to be set
// against all calls of a function.
//
// # Cost
//
// An Observer allocates nothing for a success at once, whether metrics are collected or
// not (TestNoAllocation). What it adds to the time of a call shows
//
//	go test -run '^$' -bench SuccessAtOnce .
package k8sretryotel
