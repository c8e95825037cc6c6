// SPDX-License-Identifier: Apache-2.0

package k8sretryotel

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"
)

// A program may pass names of objects to WithName.
func TestTheNumberOfSeriesIsLimited(t *testing.T) {
	m, err := newMetrics(noop.Meter{})
	require.NoError(t, err)
	for i := range 2 * maxSeries {
		require.NotNil(t, m.series(call{function: strconv.Itoa(i)}))
	}
	assert.Len(t, *m.successes.Load(), maxSeries)
}
