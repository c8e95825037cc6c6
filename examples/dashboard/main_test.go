// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheProgramServesThePageUntilItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, write, options{listen: "127.0.0.1:0", seed: 1}) }()
	line := make([]byte, 200)
	n, err := read.Read(line)
	require.NoError(t, err)
	url := strings.Fields(string(line[:n]))[1]

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	page, err := client.Get(url)
	require.NoError(t, err)
	defer page.Body.Close()
	assert.Equal(t, http.StatusOK, page.StatusCode)
	events, err := client.Get(url + "/events")
	require.NoError(t, err)
	defer events.Body.Close()

	cancel()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		require.Fail(t, "the program goes on after the end of its context")
	}
	_, _ = io.Copy(io.Discard, events.Body) // ends
}

func TestThePageIsServedOnLoopbackOnly(t *testing.T) {
	for name, address := range map[string]string{
		"another address": "192.0.2.1:8099",
		"all addresses":   ":8099",
		"no address":      "nowhere",
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := listen(address)
			if !assert.Error(t, err) {
				_ = listener.Close()
			}
		})
	}
}
