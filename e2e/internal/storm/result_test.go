// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry"
)

func TestJudgement(t *testing.T) {
	exists := apierrors.NewAlreadyExists(schema.GroupResource{Resource: "configmaps"}, "a")
	other := apierrors.NewInternalError(k8sretry.ErrMaxRetries)
	unknown := fmt.Errorf("%w: %w", k8sretry.ErrOutcomeUnknown, exists)
	must := certain(apierrors.IsAlreadyExists)
	cases := map[string]struct {
		err       error
		expected  func(error) bool
		present   bool
		done      int
		ambiguous bool
		want      Result
	}{
		"succeeded":                              {nil, nil, true, 1, false, Result{}},
		"succeeded, carried out twice":           {nil, nil, true, 2, false, Result{Twice: 1}},
		"succeeded without an effect":            {nil, nil, false, 0, false, Result{Lost: 1}},
		"failed, carried out":                    {exists, nil, true, 1, false, Result{FalseFailures: 1}},
		"failed, carried out twice":              {other, nil, true, 2, false, Result{FalseFailures: 1, Twice: 1}},
		"gave up":                                {other, nil, false, 0, false, Result{FalseFailures: 1, GaveUp: 1}},
		"unknown, carried out":                   {unknown, nil, true, 1, false, Result{Unknown: 1}},
		"unknown, not carried out":               {unknown, nil, false, 0, false, Result{Unknown: 1}},
		"unknown, carried out twice":             {unknown, nil, true, 2, false, Result{Unknown: 1, Twice: 1}},
		"must fail, and did":                     {exists, must, false, 0, false, Result{Expected: 1, Reported: 1}},
		"must fail, with another error":          {other, must, false, 0, false, Result{Expected: 1, FalseFailures: 1}},
		"must fail, unknown":                     {unknown, must, false, 0, false, Result{Expected: 1, Unknown: 1, ExpectedUnknown: 1}},
		"must fail, succeeded":                   {nil, must, false, 0, false, Result{Expected: 1, Lost: 1}},
		"must fail, carried out on another":      {nil, must, false, 1, false, Result{Expected: 1, Lost: 1, Twice: 1}},
		"may fail, succeeded":                    {nil, must, true, 0, true, Result{Expected: 1, Ambiguous: 1}},
		"may fail, succeeded on another object":  {nil, must, true, 1, true, Result{Expected: 1, Ambiguous: 1, Twice: 1}},
		"may fail, with an error that is absurd": {other, must, true, 0, true, Result{Expected: 1, FalseFailures: 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got Result
			got.add("call", c.err, c.expected, c.present, c.done, c.ambiguous)
			assert.Equal(t, got.Wrong()+got.Unknown > 0, len(got.Causes) == 1, "the cause is noted")
			got.Notes, got.Causes = nil, nil
			c.want.Ops = 1
			assert.Equal(t, c.want, got)
		})
	}
}

func TestSumOfResults(t *testing.T) {
	r := Result{Ops: 1, FalseFailures: 2, GaveUp: 3, Twice: 4, Lost: 5, Unknown: 6, Expected: 7, Reported: 8, ExpectedUnknown: 9,
		Ambiguous: 10, Sends: 11, Faulty: 12, Took: 13, Notes: []string{"a"}, Causes: map[string]int{"b": 14}}
	sum := r.Add(r)
	assert.Equal(t, Result{Ops: 2, FalseFailures: 4, GaveUp: 6, Twice: 8, Lost: 10, Unknown: 12, Expected: 14, Reported: 16, ExpectedUnknown: 18,
		Ambiguous: 20, Sends: 22, Faulty: 24, Took: 26, Notes: []string{"a", "a"}, Causes: map[string]int{"b": 28}}, sum)
	assert.Equal(t, map[string]int{"b": 14}, r.Causes)
}
