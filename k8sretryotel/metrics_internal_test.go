package k8sretryotel

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"
)

// Names without number (of objects, which a WithName must not hold) fill no memory.
func TestSeriesAreBounded(t *testing.T) {
	m, err := newMetrics(noop.Meter{})
	require.NoError(t, err)
	for i := range 2 * mostSeries {
		require.NotNil(t, m.series(named{function: strconv.Itoa(i)}))
	}
	assert.Len(t, *m.successes.Load(), mostSeries)
}
