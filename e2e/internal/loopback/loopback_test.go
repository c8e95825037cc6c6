// SPDX-License-Identifier: Apache-2.0

package loopback_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/e2e/internal/loopback"
)

func TestPortCanBeUsedAgain(t *testing.T) {
	l, err := loopback.Listen()
	require.NoError(t, err)
	port := loopback.Port(l)
	assert.Less(t, port, 32768, "below the range for outgoing connections")
	assert.Equal(t, "127.0.0.1:", l.Addr().String()[:10])
	_, err = loopback.ListenPort(port)
	assert.Error(t, err, "the port is in use")
	require.NoError(t, l.Close())

	l, err = loopback.ListenPort(port)
	require.NoError(t, err, "the port is free again")
	require.NoError(t, l.Close())
	free, err := loopback.FreePort()
	require.NoError(t, err)
	assert.NotZero(t, free)
}
