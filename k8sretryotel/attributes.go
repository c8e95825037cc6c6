package k8sretryotel

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/k8sretry/k8sretry"
)

// The attributes of this library: fields of the log lines, with a prefix.
const (
	keyFunction   = attribute.Key("k8sretry.function")
	keyVerb       = attribute.Key("k8sretry.verb")
	keyAttempt    = attribute.Key("k8sretry.attempt")
	keyMaxRetries = attribute.Key("k8sretry.max_retries")
	keyDelay      = attribute.Key("k8sretry.delay_seconds")
	keyClass      = attribute.Key("k8sretry.class")
	keyOutcome    = attribute.Key("k8sretry.outcome")
	keyStop       = attribute.Key("k8sretry.stop")
	keyDetail     = attribute.Key("k8sretry.detail")
	keyRetryAfter = attribute.Key("k8sretry.retry_after_seconds")
	keyElapsed    = attribute.Key("k8sretry.elapsed_seconds")
	keyHeld       = attribute.Key("k8sretry.queued_seconds")
)

// set is a list of attributes, in which what says nothing is left out.
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

// eventAttributes are what a span event tells.
func eventAttributes(e *k8sretry.Event) set {
	s := make(set, 0, 14)
	s.text(keyFunction, e.Function)
	s.text(keyVerb, e.Verb.String())
	s.number(keyAttempt, e.Attempt)
	s.number(keyMaxRetries, e.MaxRetries)
	s.seconds(keyDelay, e.Delay)
	s.seconds(keyElapsed, e.Elapsed)
	s.seconds(keyHeld, e.Queued)
	if e.Kind == k8sretry.EventFailure {
		s.text(keyStop, e.StopReason.String())
	}
	if e.Err != nil {
		s.failure(e)
		s.text(keyDetail, e.Detail)
		s.seconds(keyRetryAfter, e.RetryAfter)
		s.text(semconv.ExceptionMessageKey, text(e.Err))
	}
	return s
}

// failure is what all spans tell of an error.
func (s *set) failure(e *k8sretry.Event) {
	s.text(semconv.ErrorTypeKey, errorType(e))
	s.text(keyClass, e.Class.String())
	s.text(keyOutcome, e.Outcome.String())
	s.status(e.StatusCode)
}

// status adds the status code if it is one: a classifier, and a Status that was not
// written by an API server, may hold any number.
func (s *set) status(code int) {
	if isStatus(code) {
		s.number(semconv.HTTPResponseStatusCodeKey, code)
	}
}

func isStatus(code int) bool { return code >= 100 && code <= 599 }

// errorType is the value of error.type, one of a bounded number.
func errorType(e *k8sretry.Event) string {
	switch {
	case isStatus(e.StatusCode):
		return strconv.Itoa(e.StatusCode)
	case e.Class != k8sretry.ClassNone:
		return e.Class.String()
	}
	return e.StopReason.String()
}

// longestText bounds the text of an error: a gateway may answer with a page of HTML.
const longestText = 1024

// text is the text of an error, which survives an Error method that panics, in the valid
// UTF-8 that exporters insist on.
func text(err error) string {
	s := fmt.Sprint(err)
	return strings.ToValidUTF8(s[:min(len(s), longestText)], "")
}
