package k8sretryctrl_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// Where there is a wire, it tells more than the error of a JSON patch: a timeout before
// there was a connection has done nothing, one after it may have.
func TestJSONPatchOnTheWire(t *testing.T) {
	for situation, hangs := range map[string]string{"no connection": "dial", "no answer": "serve"} {
		t.Run(situation, func(t *testing.T) {
			var dials, served atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client has left
				if served.Add(1) == 1 && hangs == "serve" {
					<-r.Context().Done()
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"default","resourceVersion":"2"}}`))
			}))
			t.Cleanup(server.Close)
			transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials.Add(1) == 1 && hangs == "dial" {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			}}
			t.Cleanup(transport.CloseIdleConnections)
			known := builder().Build()
			inner, err := client.New(&rest.Config{Host: server.URL, QPS: -1}, client.Options{
				HTTPClient: &http.Client{Transport: transport}, Scheme: known.Scheme(), Mapper: known.RESTMapper(),
			})
			require.NoError(t, err)
			c := k8sretryctrl.NewClient(inner, k8sretry.WithAttemptTimeout(time.Second/4), k8sretry.WithInitialDelay(0))
			cm := configMap("x")
			err = c.Patch(t.Context(), cm, jsonPatch())
			if hangs == "serve" {
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.EqualValues(t, 1, served.Load())
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "2", cm.ResourceVersion)
		})
	}
}
