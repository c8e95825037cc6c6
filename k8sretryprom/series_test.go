// SPDX-License-Identifier: Apache-2.0

package k8sretryprom_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryprom"
)

// A program may pass names of objects to WithName.
func TestTheNumberOfFunctionsIsLimited(t *testing.T) {
	c := k8sretryprom.New()
	for i := range 10_000 {
		success(t, c, fmt.Sprint("get_pod_", i), k8sretry.VerbGet)
	}
	success(t, c, "get_pod_7", k8sretry.VerbDelete)

	calls := values(t, c, "calls_total")

	assert.Len(t, calls, 256+2)
	assert.Contains(t, calls, "calls_total{function=get_pod_255,result=succeeded_at_once,verb=get} 1")
	assert.Contains(t, calls, "calls_total{function=other,result=succeeded_at_once,verb=get} 9744")
	assert.Contains(t, calls, "calls_total{function=other,result=succeeded_at_once,verb=delete} 1")
}

func TestTheNumberOfCodesIsLimited(t *testing.T) {
	c := k8sretryprom.New()
	for code := range 100_000 {
		c.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventRetry, Function: "f", StatusCode: code, Class: k8sretry.ClassServer})
	}
	assert.Less(t, len(values(t, c, "retries_total")), 70)
}

func TestFunctionLabels(t *testing.T) {
	long := strings.Repeat("x", 99)
	for _, situation := range []struct{ name, function, label string }{
		{"a request through a Transport", "create pods/eviction", "create pods/eviction"},
		{"a success at once without a name", "", "unnamed"},
		{"invalid UTF-8", "a\xffb", "a\uFFFDb"},
		{"a long name, cut within a character", long + "é", long + "\uFFFD"},
	} {
		t.Run(situation.name, func(t *testing.T) {
			c := k8sretryprom.New()
			success(t, c, situation.function, k8sretry.VerbUnspecified)
			assert.Equal(t, []string{"attempts_total{function=" + situation.label + ",verb=none} 1"}, values(t, c, "attempts_total"))
		})
	}
}

func TestACollectorIsSafeForConcurrentUse(t *testing.T) {
	c := k8sretryprom.New()
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for i := range 1000 {
				success(t, c, fmt.Sprint("f", i%10), k8sretry.VerbGet)
				if i%100 == 0 {
					gather(t, c)
				}
			}
		})
	}
	calls.Wait()
	got := values(t, c, "calls_total")
	assert.Len(t, got, 10)
	for _, line := range got {
		assert.True(t, strings.HasSuffix(line, " 800"), line)
	}
}
