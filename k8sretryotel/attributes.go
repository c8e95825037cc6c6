// SPDX-License-Identifier: Apache-2.0

package k8sretryotel

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"

	"github.com/k8sretry/k8sretry"
)

// The attributes that semantic conventions do not define. Most are fields of the log lines
// with the prefix "k8sretry.".
const (
	keyFunction   = attribute.Key("k8sretry.function")
	keyVerb       = attribute.Key("k8sretry.verb")
	keyAttempt    = attribute.Key("k8sretry.attempt")
	keyMaxRetries = attribute.Key("k8sretry.max_retries")
	keyDelay      = attribute.Key("k8sretry.delay_seconds")
	keyClass      = attribute.Key("k8sretry.class")
	keyOutcome    = attribute.Key("k8sretry.outcome")
	keyStopReason = attribute.Key("k8sretry.stop_reason")
	keyDetail     = attribute.Key("k8sretry.detail")
	keyRetryAfter = attribute.Key("k8sretry.retry_after_seconds")
	keyElapsed    = attribute.Key("k8sretry.elapsed_seconds")
	keyQueued     = attribute.Key("k8sretry.queued_seconds")
)

// set is a list of attributes without empty texts and zero durations.
type set []attribute.KeyValue

func (s *set) text(key attribute.Key, value string) {
	if value != "" {
		*s = append(*s, key.String(value))
	}
}

func (s *set) number(key attribute.Key, value int) { *s = append(*s, key.Int(value)) }

func (s *set) seconds(key attribute.Key, value time.Duration) {
	if value > 0 {
		*s = append(*s, key.Float64(value.Seconds()))
	}
}

// eventAttributes returns the attributes of a span event.
func eventAttributes(e *k8sretry.Event) set {
	s := make(set, 0, 14)
	s.text(keyFunction, e.Function)
	s.text(keyVerb, e.Verb.String())
	s.number(keyAttempt, e.Attempt)
	s.number(keyMaxRetries, e.MaxRetries)
	s.seconds(keyDelay, e.Delay)
	s.seconds(keyElapsed, e.Elapsed)
	s.seconds(keyQueued, e.Queued)
	if e.Kind == k8sretry.EventFailure {
		s.text(keyStopReason, e.StopReason.String())
	}
	if e.Err != nil {
		s.failure(e)
		s.text(keyDetail, e.Detail)
		s.seconds(keyRetryAfter, e.RetryAfter)
		s.text(semconv.ExceptionMessageKey, text(e.Err))
	}
	return s
}

// failure adds the attributes of a failure that spans and span events share.
func (s *set) failure(e *k8sretry.Event) {
	s.text(semconv.ErrorTypeKey, errorType(e))
	s.text(keyClass, e.Class.String())
	s.text(keyOutcome, e.Outcome.String())
	s.status(e.StatusCode)
}

// status adds a valid HTTP status code. A classifier or a Status from another server may
// contain any number.
func (s *set) status(code int) {
	if isStatus(code) {
		s.number(semconv.HTTPResponseStatusCodeKey, code)
	}
}

func isStatus(code int) bool { return code >= 100 && code <= 599 }

// errorType returns the value of error.type, which has a limited number of values.
func errorType(e *k8sretry.Event) string {
	switch {
	case isStatus(e.StatusCode):
		return strconv.Itoa(e.StatusCode)
	case e.Class != k8sretry.ClassNone:
		return e.Class.String()
	}
	return e.StopReason.String()
}

// maxText limits the length of an error text in bytes. A gateway may respond with an HTML
// page.
const maxText = 1024

// text returns the text of an error, also if its Error method panics, as the valid UTF-8
// that exporters require.
func text(err error) string {
	s := fmt.Sprint(err)
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}
