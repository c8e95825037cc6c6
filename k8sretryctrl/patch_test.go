// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
	"github.com/k8sretry/k8sretry/k8sretrytest"
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

// The rules are those of k8sretry.Patch.
func TestAPatchIsRepeatedIfItsBodyAllowsThat(t *testing.T) {
	appending := `{"op":"add","path":"/metadata/finalizers","value":["example.com/a"]}`
	for situation, c := range map[string]struct {
		patch   client.Patch
		err     func() error
		repeats bool
	}{
		"a JSON patch that tests the version": {
			client.RawPatch(types.JSONPatchType, []byte(`[{"op":"test","path":"/metadata/resourceVersion","value":"999"},`+appending+`]`)), unknownOutcome, true,
		},
		"a JSON patch that tests nothing": {client.RawPatch(types.JSONPatchType, []byte(`[`+appending+`]`)), unknownOutcome, false},
		"a merge patch without a version, a conflict": {
			labelPatch(), func() error { return apierrors.NewConflict(corev1.Resource("configmaps"), "x", errors.New("modified")) }, true,
		},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			f := &faults{only: "Patch", err: c.err, fail: 1}
			retrying, _ := newClient(f)
			err := retrying.Patch(t.Context(), configMap("x"), c.patch)
			if c.repeats {
				require.NoError(t, err)
				assert.Equal(t, 2, f.count("Patch"))
				return
			}
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.Equal(t, 1, f.count("Patch"))
		})
	}
	t.Run("the error of a patch without data", func(t *testing.T) {
		cause := errors.New("cause")
		f := &faults{}
		retrying, _ := newClient(f)
		assert.Same(t, cause, retrying.Patch(t.Context(), configMap("x"), badPatch{labelPatch(), cause}))
		assert.Empty(t, f.all())
	})
}

type badPatch struct {
	client.Patch
	err error
}

func (p badPatch) Data(client.Object) ([]byte, error) { return nil, p.err }

// With a resource version, a second patch is a Conflict, which shows nothing by itself.
// The content of a merge patch proves nothing: another client may have sent the same.
func TestAPatchWithAResourceVersion(t *testing.T) {
	type call struct {
		name string
		run  func(context.Context, client.Client, string) error
	}
	for kind, c := range map[string]call{
		"merge patch": {"Patch", func(ctx context.Context, c client.Client, version string) error {
			patch := fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"data":{"n":"1","old":null}}`, version)
			return c.Patch(ctx, configMap("x"), client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("me"))
		}},
		"merge patch from a base": {"Patch", func(ctx context.Context, c client.Client, version string) error {
			base := configMap("x", "n", "0", "old", "yes")
			base.ResourceVersion = version
			cm := base.DeepCopy()
			cm.Data = map[string]string{"n": "1"}
			return c.Patch(ctx, cm, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}), client.FieldOwner("me"))
		}},
		"apply patch": {"Patch", func(ctx context.Context, c client.Client, version string) error {
			cm := configMap("x", "n", "1")
			cm.APIVersion, cm.Kind, cm.ResourceVersion = "v1", "ConfigMap", version
			//lint:ignore SA1019 it is still in use
			return c.Patch(ctx, cm, client.Apply, client.FieldOwner("me"), client.ForceOwnership)
		}},
		"apply": {"Apply", func(ctx context.Context, c client.Client, version string) error {
			config := corev1apply.ConfigMap("x", "default").WithResourceVersion(version).WithData(map[string]string{"n": "1"})
			err := c.Apply(ctx, config, client.FieldOwner("me"), client.ForceOwnership)
			if err == nil {
				assert.NotEqual(t, version, *config.ResourceVersion, "the configuration has the content of the response")
			}
			return err
		}},
	} {
		for situation, s := range map[string]struct {
			lose, fail int
			other      string // what another client sets after the first attempt
			unknown    bool
			conflict   bool
		}{
			"a lost response": {lose: 1},
			"lost responses":  {lose: 1000},
			"not executed":    {fail: 1},
			"a lost response, then another client has set it":       {lose: 1, other: "8", unknown: true, conflict: true},
			"not executed, and another client has set it":           {fail: 1, other: "8", unknown: true, conflict: true},
			"not executed, and another client has set a part of it": {fail: 1, other: "1", unknown: true, conflict: true},
		} {
			isMerge := strings.HasPrefix(kind, "merge")
			s.unknown = s.unknown || isMerge && s.lose > 0
			inVirtualTime(t, kind+": "+situation, func(t *testing.T) {
				server := builder().WithReturnManagedFields().WithObjects(configMap("x", "n", "0", "old", "yes")).Build()
				f := &faults{only: c.name, err: unknownOutcome, lose: s.lose, fail: s.fail}
				version := read(t, server, "x").ResourceVersion
				attempts := 0
				between := func() {
					if attempts++; attempts == 1 && s.other != "" {
						other := read(t, server, "x")
						other.Data["n"] = s.other
						require.NoError(t, server.Update(t.Context(), other, client.FieldOwner("other")))
					}
				}
				var events k8sretrytest.Recorder
				retrying := k8sretryctrl.NewClient(after(f.in(server), between), k8sretry.WithObserver(&events))
				err := c.run(t.Context(), retrying, version)
				assert.Equal(t, s.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
				if !isMerge || s.lose == 0 {
					assert.Equal(t, s.conflict, apierrors.IsConflict(err), "%v", err)
				}
				if !s.unknown {
					require.NoError(t, err)
					assert.Equal(t, "1", read(t, server, "x").Data["n"])
				}
				if s.lose == 1 && !s.unknown {
					all := events.Events()
					assert.Equal(t, k8sretry.EventSuccess, all[len(all)-1].Kind, "the events say so, too")
				}
			})
		}
	}
}

// after calls then after each patch and apply.
func after(c client.WithWatch, then func()) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			defer then()
			return c.Patch(ctx, obj, patch, opts...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			defer then()
			return c.Apply(ctx, obj, opts...)
		},
	})
}
