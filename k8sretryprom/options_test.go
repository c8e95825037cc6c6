// SPDX-License-Identifier: Apache-2.0

package k8sretryprom_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryprom"
)

func TestTheLaterOfTwoOptionsWithOneNameApplies(t *testing.T) {
	small, big := k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 1}), k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 9})
	c := k8sretryprom.New(
		k8sretryprom.WithBudget("a\xff", small), k8sretryprom.WithBudget("a\xff", big), nil,
		k8sretryprom.WithBudget("b", small), k8sretryprom.WithBudget("b", nil), k8sretryprom.WithLimiter("g", nil),
	)
	assert.Equal(t, []string{"budget_remaining_retries{budget=a\uFFFD} 9"}, values(t, c, "budget_remaining_retries", "limiter_limited"))
}
