// SPDX-License-Identifier: Apache-2.0

package faultproxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
)

func TestCutStreamEndsTheBodyEarly(t *testing.T) {
	protocols(t, func(t *testing.T, http1 bool) {
		_, p, client := setup(t, http1, func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := io.WriteString(w, "0123456789"); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
		tests := []struct {
			fault faultproxy.Fault
			clean bool
			bytes int
		}{
			{faultproxy.CutStream(25, 0), false, 25},
			{faultproxy.CutStream(25, 0).Clean(), true, 25},
			{faultproxy.CutStream(0, 20*time.Millisecond), false, -1},
			{faultproxy.CutStream(0, 20*time.Millisecond).Clean(), true, -1},
		}
		for _, test := range tests {
			p.SetRule(faultproxy.Always(test.fault))
			resp, err := client.Get(p.URL() + "/api/v1/pods?watch=true")
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			assert.Equal(t, test.clean, err == nil, "%v", err)
			switch {
			case test.bytes < 0:
				assert.NotEmpty(t, body)
			case test.clean:
				assert.Len(t, body, test.bytes)
			default: // the client may discard unread data
				assert.LessOrEqual(t, len(body), test.bytes)
			}
		}
	})
}

func TestConnectionFaults(t *testing.T) {
	protocols(t, func(t *testing.T, http1 bool) {
		s, p, client := setup(t, http1, nil)
		client.Timeout = 5 * time.Second
		call := func() error {
			_, _, err := post(t.Context(), client, p.URL(), "")
			return err
		}
		p.SetConnRule(func(n int) faultproxy.ConnFault {
			return []faultproxy.ConnFault{faultproxy.ConnClose, faultproxy.ConnReset, faultproxy.ConnBlackhole, faultproxy.ConnPass}[min(n-1, 3)]
		})
		err := call()
		assert.ErrorIs(t, err, io.EOF)
		assert.ErrorIs(t, call(), syscall.ECONNRESET)
		client.Timeout = 200 * time.Millisecond
		var timeout net.Error
		require.ErrorAs(t, call(), &timeout)
		assert.True(t, timeout.Timeout())
		client.Timeout = 5 * time.Second
		assert.Zero(t, s.served.Load())
		require.NoError(t, call())
		p.SetConnRule(nil)

		p.Refuse()
		require.NoError(t, call(), "open connections stay open")
		p.ResetConns()
		assert.Eventually(t, func() bool { return errors.Is(call(), syscall.ECONNREFUSED) }, 2*time.Second, time.Millisecond)
		require.NoError(t, p.Listen())
		require.NoError(t, call())
		p.CloseConns()
		assert.Eventually(t, func() bool { return call() == nil }, 2*time.Second, time.Millisecond)
		assert.LessOrEqual(t, p.OpenConns(), 2)
	})
}

// If the server is unreachable, the proxy closes the connection without an answer.
func TestUnreachableServerGivesNoAnswer(t *testing.T) {
	s, p, client := setup(t, true, nil)
	s.Close()
	_, _, err := post(t.Context(), client, p.URL(), "")
	assert.ErrorIs(t, err, io.EOF)
	assert.Zero(t, p.Sends()[0].Status)
}

func TestCommittedRequestContinuesWithoutItsClient(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	_, p, client := setup(t, false, func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		select {
		case <-finish:
		case <-r.Context().Done():
		}
	})
	p.SetRule(faultproxy.Always(faultproxy.Hang().AfterCommit()))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	_, _, err := post(ctx, client, p.URL(), "")
	require.ErrorIs(t, err, context.Canceled)
	close(finish)
	assert.Eventually(t, func() bool { return p.Count(faultproxy.Send.Committed) == 1 }, 2*time.Second, time.Millisecond)
}
