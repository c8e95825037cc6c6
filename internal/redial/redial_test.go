// SPDX-License-Identifier: Apache-2.0

package redial

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry/internal/testkit"
)

type conn struct{ net.Conn }

var errLost = errors.New("timed out")

// request is what a RoundTripper with hooks does for one request.
type request struct {
	Use
	through http.RoundTripper
}

func begin(c *Connections, on net.Conn, kept bool) *request {
	r := new(request)
	r.through = c.Choose(&r.Use)
	if on != nil {
		c.GotConn(&r.Use, httptrace.GotConnInfo{Conn: on, Reused: kept})
	}
	return r
}

func expired(t *testing.T) context.Context {
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	t.Cleanup(cancel)
	return ctx
}

// unaware is a context whose timer has not fired yet.
type unaware struct{ context.Context }

func (unaware) Deadline() (time.Time, bool) { return time.Unix(1, 0), true }

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestWhenRequestsGetNewConnections(t *testing.T) {
	one, two := new(conn), new(conn)
	for _, c := range []struct {
		situation string
		run       func(t *testing.T, c *Connections)
		left      bool
	}{
		{"a deadline on a kept connection", func(t *testing.T, c *Connections) {
			c.Done(expired(t), &begin(c, one, true).Use, errLost)
		}, true},
		// The assumption was that a context has ended when its deadline has ended the request. The Timeout
		// of an http.Client cancels requests in another way, too, and that may come first.
		{"a deadline on a kept connection, which the context does not show yet", func(t *testing.T, c *Connections) {
			c.Done(unaware{t.Context()}, &begin(c, one, true).Use, errLost)
		}, true},
		{"a deadline on a new connection", func(t *testing.T, c *Connections) {
			c.Done(expired(t), &begin(c, one, false).Use, errLost)
		}, false},
		{"a deadline without a connection", func(t *testing.T, c *Connections) {
			c.Done(expired(t), &begin(c, nil, false).Use, errLost)
		}, false},
		{"a deadline after a repetition of net/http on a new connection", func(t *testing.T, c *Connections) {
			r := begin(c, one, true)
			c.GotConn(&r.Use, httptrace.GotConnInfo{Conn: two})
			c.Done(expired(t), &r.Use, errLost)
		}, false},
		{"the caller has canceled", func(t *testing.T, c *Connections) {
			c.Done(canceled(t), &begin(c, one, true).Use, errLost)
		}, false},
		{"another error", func(t *testing.T, c *Connections) {
			c.Done(t.Context(), &begin(c, one, true).Use, errLost)
		}, false},
		{"an answer just before the deadline", func(t *testing.T, c *Connections) {
			c.Done(expired(t), &begin(c, one, true).Use, nil)
		}, false},
		{"another request got an answer", func(t *testing.T, c *Connections) {
			r := begin(c, one, true)
			c.Done(t.Context(), &begin(c, one, true).Use, nil)
			c.Done(expired(t), &r.Use, errLost)
		}, false},
		{"another request got an answer before", func(t *testing.T, c *Connections) {
			c.Done(t.Context(), &begin(c, one, true).Use, nil)
			c.Done(expired(t), &begin(c, one, true).Use, errLost)
		}, true},
		{"another request got an answer on another connection", func(t *testing.T, c *Connections) {
			r := begin(c, one, true)
			c.Done(t.Context(), &begin(c, two, true).Use, nil)
			c.Done(expired(t), &r.Use, errLost)
		}, true},
		{"requests got answers on many connections", func(t *testing.T, c *Connections) {
			r := begin(c, one, true)
			for range 10 {
				c.Done(t.Context(), &begin(c, new(conn), true).Use, nil)
				c.Done(t.Context(), &begin(c, one, true).Use, nil)
			}
			c.Done(expired(t), &r.Use, errLost)
		}, false},
	} {
		t.Run(c.situation, func(t *testing.T) {
			next := new(http.Transport)
			connections := New(next)
			c.run(t, connections)
			assert.Equal(t, c.left, begin(connections, nil, false).through != http.RoundTripper(next))
		})
	}
}

// A request that was sent before the others have left its connection does not make another copy.
func TestOneCopyForAllRequestsOfAConnection(t *testing.T) {
	silent, fresh := new(conn), new(conn)
	c := New(new(http.Transport))
	early := begin(c, silent, true)
	c.Done(expired(t), &begin(c, silent, true).Use, errLost)
	first := begin(c, fresh, false)
	c.Done(expired(t), &early.Use, errLost)
	assert.Same(t, first.through, begin(c, nil, false).through)

	c.Done(expired(t), &begin(c, fresh, true).Use, errLost)
	assert.NotSame(t, first.through, begin(c, nil, false).through, "the connection of the copy has gone silent, too")
}

func TestTheOriginalIsUsedAgainAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := new(http.Transport)
		c := New(next)
		c.Done(expired(t), &begin(c, new(conn), true).Use, errLost)
		testkit.Sleep(copyLifetime - 1)
		assert.NotSame(t, next, begin(c, nil, false).through)
		testkit.Sleep(1)
		assert.Same(t, next, begin(c, nil, false).through)
		assert.Nil(t, c.current.Load(), "the copy can be collected")
	})
}

// A copy bypasses nothing but what client-go wraps its own transports in.
func TestWhatIsCopied(t *testing.T) {
	plain, err := rest.TransportFor(&rest.Config{Host: "https://server", TLSClientConfig: rest.TLSClientConfig{ServerName: "server"}})
	require.NoError(t, err)
	require.NotNil(t, original(plain), "%T", plain)
	named, err := rest.TransportFor(&rest.Config{Host: "https://server", UserAgent: "agent"})
	require.NoError(t, err)
	bearer, err := rest.TransportFor(&rest.Config{Host: "https://server", BearerToken: "token"})
	require.NoError(t, err)
	for _, rt := range []http.RoundTripper{named, bearer, wrapped{new(http.Transport)}, nil} {
		assert.Nil(t, original(rt), "%T", rt)
	}
}

type wrapped struct{ http.RoundTripper }

func (w wrapped) WrappedRoundTripper() http.RoundTripper { return w.RoundTripper }

// A copy has the settings of the original and connections of its own, however HTTP/2 was
// configured.
func TestCopy(t *testing.T) {
	direct := func(*http.Request) (*url.URL, error) { return nil, nil }
	for name, make := range map[string]func(config *tls.Config) *http.Transport{
		"as client-go does": func(config *tls.Config) *http.Transport {
			return utilnet.SetTransportDefaults(&http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 25, TLSHandshakeTimeout: 7 * time.Second})
		},
		"with settings that client-go would change": func(config *tls.Config) *http.Transport {
			c := utilnet.SetTransportDefaults(&http.Transport{TLSClientConfig: config})
			c.Proxy, c.DialContext, c.TLSHandshakeTimeout, c.IdleConnTimeout = nil, nil, 0, 0
			return c
		},
		"by net/http": func(config *tls.Config) *http.Transport {
			return &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, Proxy: direct, ResponseHeaderTimeout: time.Minute}
		},
		"HTTP/1.1": func(config *tls.Config) *http.Transport {
			return &http.Transport{TLSClientConfig: config, Proxy: direct, DisableCompression: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var conns atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Proto", r.Proto)
			}))
			server.EnableHTTP2 = true
			server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					conns.Add(1)
				}
			}
			server.StartTLS()
			defer server.Close()
			get := func(rt *http.Transport) string {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
				require.NoError(t, err)
				resp, err := rt.RoundTrip(req)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				return resp.Header.Get("Proto")
			}
			before := make(server.Client().Transport.(*http.Transport).TLSClientConfig.Clone())
			defer before.CloseIdleConnections()
			proto := get(before)
			assert.Equal(t, name != "HTTP/1.1", proto == "HTTP/2.0")
			assert.EqualValues(t, 1, conns.Load())

			after := copyOf(before)
			defer after.CloseIdleConnections()
			assert.Equal(t, settings(before), settings(after))
			if before.IdleConnTimeout == 0 {
				assert.Equal(t, copyLifetime, after.IdleConnTimeout, "what a copy leaves behind ends")
			} else {
				assert.Equal(t, before.IdleConnTimeout, after.IdleConnTimeout)
			}
			assert.Equal(t, proto, get(after))
			assert.EqualValues(t, 2, conns.Load(), "a connection of its own")
			assert.Equal(t, proto, get(before))
			assert.Equal(t, proto, get(after))
			assert.EqualValues(t, 2, conns.Load())
			after.CloseIdleConnections()
			assert.Equal(t, proto, get(before))
			assert.EqualValues(t, 2, conns.Load(), "that of the original is not closed")
		})
	}
}

// settings are the fields of a Transport, of a func whether it is there.
func settings(t *http.Transport) map[string]any {
	all := map[string]any{}
	v := reflect.ValueOf(t).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		switch {
		case !field.IsExported() || field.Name == "IdleConnTimeout" || field.Name == "TLSNextProto":
		case field.Type.Kind() == reflect.Func:
			all[field.Name] = v.Field(i).Pointer()
		case field.Name == "TLSClientConfig":
			all[field.Name] = strings.Join(t.TLSClientConfig.NextProtos, " ")
		default:
			all[field.Name] = v.Field(i).Interface()
		}
	}
	return all
}
