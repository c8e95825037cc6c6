// SPDX-License-Identifier: Apache-2.0

package k8sretryprom_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/k8sretryprom"
)

// The linter of Prometheus checks names, units, types and help texts.
func TestMetricsFollowTheConventions(t *testing.T) {
	problems, err := promlint.NewWithMetricFamilies(gather(t, full(t))).Lint()
	require.NoError(t, err)
	assert.Empty(t, problems)
}

func TestDescribeListsAllMetrics(t *testing.T) {
	c := full(t)
	descs := make(chan *prometheus.Desc, 100)
	c.Describe(descs)
	assert.Len(t, gather(t, c), len(descs))
	assert.Error(t, func() error {
		registry := prometheus.NewRegistry()
		registry.MustRegister(c)
		return registry.Register(k8sretryprom.New())
	}(), "two Collectors in one registry")
}

func TestAttemptsHaveANativeHistogramAndBuckets(t *testing.T) {
	for _, family := range gather(t, full(t)) {
		if family.GetName() != "k8sretry_call_attempts" {
			continue
		}
		h := family.GetMetric()[0].GetHistogram()
		assert.NotEmpty(t, h.GetPositiveSpan())
		assert.Len(t, h.GetBucket(), 6)
		return
	}
	t.Error("no metric k8sretry_call_attempts")
}
