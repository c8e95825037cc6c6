package k8sretry_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry"
)

// post sends one request as client-go would and turns an answer into its error.
func post(ctx context.Context, client *http.Client, url, contentType string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"kind":"Pod"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// For verbs that write, the transport tells whether anything can have been sent.
func TestNothingWasSent(t *testing.T) {
	atOnce := k8sretry.WithInitialDelay(0)
	soon := k8sretry.WithAttemptTimeout(50 * time.Millisecond)
	for _, c := range []struct {
		situation string
		verb      k8sretry.Verb
		dial      func(context.Context) error                // before a connection is made
		answer    func(http.ResponseWriter, <-chan struct{}) // of the server, for each request
		attempts  int
		unknown   bool
	}{
		{
			situation: "a create whose dial hangs until the attempt timeout: never sent, repeated",
			verb:      k8sretry.VerbCreate,
			dial:      func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			attempts:  4, unknown: false,
		},
		{
			situation: "a create that reached the server, which never answers: not repeated",
			verb:      k8sretry.VerbCreate,
			answer:    func(_ http.ResponseWriter, never <-chan struct{}) { <-never },
			attempts:  1, unknown: true,
		},
		{
			situation: "a create whose connection the server drops: not repeated",
			verb:      k8sretry.VerbCreate,
			answer:    func(http.ResponseWriter, <-chan struct{}) { panic(http.ErrAbortHandler) },
			attempts:  1, unknown: true,
		},
		{
			situation: "an update whose connection the server drops: repeated, and in doubt",
			verb:      k8sretry.VerbUpdate,
			answer:    func(http.ResponseWriter, <-chan struct{}) { panic(http.ErrAbortHandler) },
			attempts:  4, unknown: true,
		},
		{
			situation: "an update whose dial hangs: repeated, and certainly not done",
			verb:      k8sretry.VerbUpdate,
			dial:      func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			attempts:  4, unknown: false,
		},
	} {
		t.Run(c.situation, func(t *testing.T) {
			never := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.answer(w, never) }))
			server.Config.ErrorLog = quiet
			t.Cleanup(server.Close)
			t.Cleanup(func() { close(never) })
			client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if c.dial != nil {
					if err := c.dial(ctx); err != nil {
						return nil, err
					}
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			}}}
			t.Cleanup(client.CloseIdleConnections)
			attempts := 0
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
				attempts++
				return post(ctx, client, server.URL, "application/json")
			}, k8sretry.WithVerb(c.verb), atOnce, soon)
			require.Error(t, err)
			assert.Equal(t, c.attempts, attempts)
			if c.unknown {
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			} else {
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			}
		})
	}
}

// A JSON patch may append to a list: with an unknown outcome it is not repeated. A
// merge patch may be.
func TestPatchTypeIsSeenOnTheWire(t *testing.T) {
	for contentType, attempts := range map[string]int{
		"application/json-patch+json": 1, "application/json-patch+json; charset=utf-8": 1,
		"application/merge-patch+json": 4, "application/strategic-merge-patch+json": 4,
	} {
		t.Run(contentType, func(t *testing.T) {
			var served atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1); panic(http.ErrAbortHandler) }))
			server.Config.ErrorLog = quiet
			t.Cleanup(server.Close)
			client := &http.Client{Transport: &http.Transport{}}
			t.Cleanup(client.CloseIdleConnections)
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return post(ctx, client, server.URL, contentType) },
				k8sretry.WithVerb(k8sretry.VerbPatch), k8sretry.WithInitialDelay(0))
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.EqualValues(t, attempts, served.Load())
		})
	}
}

// What was answered by 429 has not been carried out, and may be repeated whatever it is.
func TestThrottledJSONPatchIsRepeated(t *testing.T) {
	var served atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	n := 0
	err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
		if err := post(ctx, client, server.URL, "application/json-patch+json"); err != nil {
			return err
		}
		if n++; n == 1 {
			return tooMany(0)
		}
		return nil
	}, k8sretry.WithVerb(k8sretry.VerbPatch), k8sretry.WithInitialDelay(0))
	require.NoError(t, err)
	assert.EqualValues(t, 2, served.Load())
}

// The type of a patch is that of its body, not of the answer it would like.
func TestAcceptIsNoPatchType(t *testing.T) {
	var served atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1); panic(http.ErrAbortHandler) }))
	server.Config.ErrorLog = quiet
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPatch, server.URL, strings.NewReader("{}"))
		if err != nil {
			return err
		}
		req.Header.Set("Accept", "application/json-patch+json")
		req.Header.Set("Content-Type", "application/merge-patch+json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}, k8sretry.WithVerb(k8sretry.VerbPatch), k8sretry.WithInitialDelay(0))
	require.Error(t, err)
	assert.EqualValues(t, 4, served.Load())
}

// A fake that never asks for a connection proves nothing about one.
func TestFakesAreNotTakenForSilentTransports(t *testing.T) {
	s := fails(network("read", 104))
	_, err := k8sretry.Do(t.Context(), s.get, k8sretry.WithVerb(k8sretry.VerbCreate))
	assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
	assert.Equal(t, 1, s.attempts())
}

// What the record of a writing verb costs.
func TestAllocationsOfAWritingVerb(t *testing.T) {
	k8sretry.ForgetTransports()
	for verb, want := range map[k8sretry.Verb]float64{k8sretry.VerbCreate: 4, k8sretry.VerbUpdate: 4, k8sretry.VerbPatch: 5, k8sretry.VerbDelete: 4} {
		got := testing.AllocsPerRun(100, func() {
			_ = k8sretry.Run(t.Context(), func(context.Context) error { return nil }, k8sretry.WithVerb(verb))
		})
		assert.LessOrEqual(t, got, want, verb)
	}
}
