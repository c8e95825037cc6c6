package k8sretry

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/apirequest"
)

func TestVerbClassOutcomeNames(t *testing.T) {
	seen := map[string]bool{}
	for v := VerbGet; v <= VerbDeleteCollection; v++ {
		assert.NotEmpty(t, v.String())
		assert.False(t, seen[v.String()])
		seen[v.String()] = true
	}
	assert.Empty(t, VerbUnspecified.String())
	assert.Equal(t, "invalid", Verb(len(verbNames)).String())
	for c := range Class(len(classNames)) {
		assert.NotEmpty(t, c.String())
		assert.False(t, seen[c.String()])
		seen[c.String()] = true
	}
	assert.Equal(t, "canceled", ClassCanceled.String())
	assert.Equal(t, "invalid", Class(len(classNames)).String())
	assert.Equal(t, "not_executed unknown executed invalid", OutcomeNotExecuted.String()+" "+OutcomeUnknown.String()+" "+OutcomeExecuted.String()+" "+Outcome(3).String())
}

// What may be repeated, for every class, outcome and verb.
func TestRetryable(t *testing.T) {
	passing := map[Class]bool{
		ClassServer: true, ClassTimeout: true, ClassThrottled: true, ClassRefused: true, ClassConnection: true, ClassDisruptionBudget: true, ClassBadResponse: true,
	}
	for c := range Class(len(classNames)) {
		for v := VerbUnspecified; v <= VerbDeleteCollection; v++ {
			raced := c == ClassConflict && v == VerbApply // no version that it names can be stale
			assert.Equal(t, passing[c] || raced, Verdict{Class: c}.Retryable(v), "%v %v", c, v)
			notTwice := v == VerbCreate || v == VerbDeleteCollection
			assert.Equal(t, passing[c] && !notTwice, Verdict{Class: c, Outcome: OutcomeUnknown}.Retryable(v), "%v %v", c, v)
			harmless := v == VerbUnspecified || v == VerbGet || v == VerbList || v == VerbWatch
			assert.Equal(t, passing[c] && harmless, Verdict{Class: c, Outcome: OutcomeExecuted}.Retryable(v), "%v %v", c, v)
		}
	}
	assert.False(t, Verdict{Class: 99}.Retryable(VerbGet))
}

// internal/apirequest has verbs of its own, because it cannot import this package.
// Transports convert them.
func TestVerbsOfRequestsConvert(t *testing.T) {
	for v := range Verb(len(verbNames) + 1) {
		assert.Equal(t, v.String(), apirequest.Verb(v).String())
		assert.Equal(t, v.reads(), apirequest.Verb(v).Reads())
	}
}
