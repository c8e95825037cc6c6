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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// A timeout without a connection means that the patch was not executed. The error does not
// show whether there was a connection.
func TestAJSONPatchThatWasNotSentIsRetried(t *testing.T) {
	for situation, stalls := range map[string]string{"no connection": "dial", "no response": "serve"} {
		t.Run(situation, func(t *testing.T) {
			var dials, served atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // after that the server notices that the client closes the connection
				if served.Add(1) == 1 && stalls == "serve" {
					<-r.Context().Done()
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"default","resourceVersion":"2"}}`))
			}))
			t.Cleanup(server.Close)
			transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials.Add(1) == 1 && stalls == "dial" {
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
			if stalls == "serve" {
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.EqualValues(t, 1, served.Load())
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "2", cm.ResourceVersion)
		})
	}
}

func TestAJSONPatchIsNotAppliedTwice(t *testing.T) {
	appends := client.RawPatch("application/json-patch+json", []byte(`[{"op":"add","path":"/metadata/finalizers/-","value":"example.com/a"}]`))
	inVirtualTime(t, "unknown outcome", func(t *testing.T) {
		f := &faults{only: "Patch", err: unknownOutcome, lose: 1}
		retrying, server := newClient(f)
		cm := read(t, server, "x")
		cm.Finalizers = []string{"example.com/b"}
		require.NoError(t, server.Update(t.Context(), cm))
		err := retrying.Patch(t.Context(), configMap("x"), appends)
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Len(t, read(t, server, "x").Finalizers, 2)
		result, err := k8sretryctrl.Result(err)
		require.NoError(t, err)
		assert.NotZero(t, result.RequeueAfter)
	})
	inVirtualTime(t, "unknown outcome after failures that were not executed", func(t *testing.T) {
		n := 0
		c := k8sretryctrl.NewClient(interceptor.NewClient(cluster(), interceptor.Funcs{
			Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
				if n++; n < 3 {
					return notExecuted()
				}
				return unknownOutcome()
			},
		}))
		err := c.Patch(t.Context(), configMap("x"), appends)
		var e *k8sretry.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, 3, e.Attempts)
		assert.True(t, apierrors.IsTimeout(err))
	})
}
