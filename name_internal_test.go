package k8sretry

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestShortName(t *testing.T) {
	for full, want := range map[string]string{
		"k8s.io/client-go/kubernetes/typed/core/v1.PodInterface.Get-fm":                            "PodInterface.Get",
		"k8s.io/client-go/kubernetes/typed/core/v1/fake.(*fakePods).Get-fm":                        "fakePods.Get",
		"k8s.io/client-go/gentype.(*Client[go.shape.*uint8]).Get-fm":                               "Client.Get",
		"k8s.io/client-go/gentype.(*Client[go.shape.*k8s.io/api/core/v1.Pod,a.b/c[d.e/f]]).Get-fm": "Client.Get",
		"example.com/svc.(*Service).Sync.func1":                                                    "Service.Sync.func1",
		"example.com/svc.Load[...]":                                                                "Load",
		"example.com/svc.Load[...].func2":                                                          "Load.func2",
		"main.main":                                                                                "main",
		"gopkg.in/yaml%2ev3.Unmarshal":                                                             "Unmarshal",
		"odd":                                                                                      "odd",
		"half[open":                                                                                "half",
		"":                                                                                         "",
	} {
		assert.Equal(t, want, shortName(full), full)
	}
	assert.Empty(t, functionName(1), "no function begins there")
}

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
			assert.Equal(t, passing[c], Verdict{Class: c}.Retryable(v), "%v %v", c, v)
			notTwice := v == VerbCreate || v == VerbDeleteCollection
			assert.Equal(t, passing[c] && !notTwice, Verdict{Class: c, Outcome: OutcomeUnknown}.Retryable(v), "%v %v", c, v)
			harmless := v == VerbUnspecified || v == VerbGet || v == VerbList || v == VerbWatch
			assert.Equal(t, passing[c] && harmless, Verdict{Class: c, Outcome: OutcomeExecuted}.Retryable(v), "%v %v", c, v)
		}
	}
	assert.False(t, Verdict{Class: 99}.Retryable(VerbGet))
}
