// SPDX-License-Identifier: Apache-2.0

package exact

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Two runs of a scenario with random delays have the same output. Another seed changes it.
func TestSameSeedGivesTheSameOutput(t *testing.T) {
	command, err := Build(t.Context(), "github.com/k8sretry/k8sretry/benchmarks/herd/cmd/herd")
	require.NoError(t, err)
	defer func() { assert.NoError(t, command.Close(t.Context())) }()
	run := func(args ...string) (string, string, int) {
		var out, errOut bytes.Buffer
		code, err := command.Run(t.Context(), &out, &errOut, args...)
		require.NoError(t, err)
		return out.String(), errOut.String(), code
	}
	herd := func(seed string) string {
		out, errOut, code := run("-scenario", "S4", "-contender", "k8sretry limiter$", "-load", "0.1", "-processes", "20", "-series", "-seed", seed)
		assert.Zero(t, code)
		assert.Empty(t, errOut)
		return out
	}
	first := herd("1")
	assert.Contains(t, first, "**k8sretry limiter**")
	assert.Equal(t, first, herd("1"))
	assert.NotEqual(t, first, herd("2"))

	out, errOut, code := run("-scenario", "S9")
	assert.Equal(t, 2, code, "exit code and error output are passed on")
	assert.Empty(t, out)
	assert.Contains(t, errOut, "S9")
}

func TestBuildErrorIsReturned(t *testing.T) {
	_, err := Build(t.Context(), "github.com/k8sretry/k8sretry/benchmarks/herd/nothing")
	assert.ErrorContains(t, err, "nothing")
}
