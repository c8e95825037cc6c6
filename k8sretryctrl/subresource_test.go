// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

func TestAStatusUpdateIsVerifiedByTheStatus(t *testing.T) {
	get := func(t *testing.T, c client.Client) *corev1.Pod {
		p := pod()
		require.NoError(t, c.Get(t.Context(), client.ObjectKeyFromObject(p), p))
		return p
	}
	for _, lose := range []int{1, 2, 1000} {
		inVirtualTime(t, fmt.Sprintf("%d lost responses", lose), func(t *testing.T) {
			retrying, server := newClient(&faults{only: "status.Update", err: unknownOutcome, lose: lose})
			p := get(t, server)
			p.Status.Phase = corev1.PodRunning
			require.NoError(t, retrying.Status().Update(t.Context(), p))
			assert.Equal(t, get(t, server), p)
			assert.Equal(t, corev1.PodRunning, p.Status.Phase)
		})
	}
	inVirtualTime(t, "another client has changed the labels", func(t *testing.T) {
		server := cluster()
		c := interruptFirstUpdate(server, func(update func() error) {
			require.NoError(t, update())
			require.NoError(t, server.Patch(t.Context(), pod(), labelPatch()))
		})
		p := get(t, server)
		p.Status.Phase = corev1.PodRunning
		require.NoError(t, c.Status().Update(t.Context(), p))
		assert.Equal(t, "b", p.Labels["a"])
	})
	inVirtualTime(t, "another client has set another status: unknown outcome", func(t *testing.T) {
		server := cluster()
		c := interruptFirstUpdate(server, func(func() error) {
			other := get(t, server)
			other.Status.Phase = corev1.PodFailed
			require.NoError(t, server.Status().Update(t.Context(), other))
		})
		p := get(t, server)
		p.Status.Phase = corev1.PodRunning
		assert.ErrorIs(t, c.Status().Update(t.Context(), p), k8sretry.ErrOutcomeUnknown)
	})
}

func TestAnEvictionWithTheUIDIsRetried(t *testing.T) {
	inVirtualTime(t, "with a UID", func(t *testing.T) {
		f := &faults{only: "eviction.Create", err: unknownOutcome, fail: 1}
		retrying, _ := newClient(f)
		require.NoError(t, retrying.SubResource("eviction").Create(t.Context(), pod(), evictionOf("1")))
		assert.Equal(t, 2, f.count("eviction.Create"))
	})
	inVirtualTime(t, "without a UID", func(t *testing.T) {
		f := &faults{only: "eviction.Create", err: unknownOutcome, fail: 1}
		retrying, _ := newClient(f)
		assert.ErrorIs(t, retrying.SubResource("eviction").Create(t.Context(), pod(), evictionOf("")), k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, 1, f.count("eviction.Create"))
	})
	for situation, response := range map[string]error{
		"another pod has the name": apierrors.NewConflict(corev1.Resource("pods"), "web-0", errors.New("Precondition failed: UID in precondition: 1, UID in object meta: 2")),
		"the pod does not exist":   apierrors.NewNotFound(corev1.Resource("pods"), "web-0"),
	} {
		for _, unknown := range []bool{true, false} {
			inVirtualTime(t, fmt.Sprintf("%s, after an unknown outcome: %v", situation, unknown), func(t *testing.T) {
				n := 0
				c := k8sretryctrl.NewClient(interceptor.NewClient(cluster(), interceptor.Funcs{
					SubResourceCreate: func(context.Context, client.Client, string, client.Object, client.Object, ...client.SubResourceCreateOption) error {
						if n++; n == 1 && unknown {
							return unknownOutcome()
						}
						return response
					},
				}))
				err := c.SubResource("eviction").Create(t.Context(), pod(), evictionOf("1"))
				if unknown {
					assert.NoError(t, err)
				} else {
					assert.Same(t, response, err, "the first response is returned")
				}
			})
		}
	}
}

// A write to a subresource may be an action, such as the restart of a virtual machine. The
// assumption was that an update and a patch only replace state.
func TestAnActionIsNotRepeated(t *testing.T) {
	merge := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"nodeName":"a"}}`))
	for name, repeated := range map[string]bool{
		"restart": false, "addvolume": false, "binding": false,
		"scale": true, "finalize": true, "approval": true, "ephemeralcontainers": true, "resize": true,
	} {
		for kind, call := range map[string]func(context.Context, client.SubResourceClient) error{
			"Update": func(ctx context.Context, c client.SubResourceClient) error { return c.Update(ctx, pod()) },
			"Patch":  func(ctx context.Context, c client.SubResourceClient) error { return c.Patch(ctx, pod(), merge) },
			"Apply": func(ctx context.Context, c client.SubResourceClient) error {
				return c.Apply(ctx, applycorev1.Pod("web-0", "default"), client.FieldOwner("me"))
			},
		} {
			inVirtualTime(t, kind+" of "+name, func(t *testing.T) {
				sent := 0
				send := func() error {
					if sent++; sent > 1 {
						return nil
					}
					return unknownOutcome()
				}
				c := k8sretryctrl.NewClient(interceptor.NewClient(cluster(), interceptor.Funcs{
					SubResourceUpdate: func(context.Context, client.Client, string, client.Object, ...client.SubResourceUpdateOption) error {
						return send()
					},
					SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
						return send()
					},
					SubResourceApply: func(context.Context, client.Client, string, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
						return send()
					},
				}))
				err := call(t.Context(), c.SubResource(name))
				if repeated {
					require.NoError(t, err)
					assert.Equal(t, 2, sent)
					return
				}
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.Equal(t, 1, sent)
			})
		}
	}
}

// Everything but the status of a minimal object is unset, and so is not compared.
func TestAStatusUpdateComparesOnlyWhatWasSent(t *testing.T) {
	inVirtualTime(t, "a name, a UID and a version", func(t *testing.T) {
		h := &history{}
		stored := podWithUID("1")
		stored.Labels, stored.Spec.NodeName = map[string]string{"app": "web"}, "node"
		server := h.of(builder().WithStatusSubresource(&corev1.Pod{}).WithObjects(stored).Build())
		for _, overwritten := range []bool{false, true} {
			require.NoError(t, server.Get(t.Context(), key("web-0"), stored))
			c := interruptFirstUpdate(server, func(update func() error) {
				require.NoError(t, update())
				if overwritten {
					other := stored.DeepCopy()
					require.NoError(t, server.Get(t.Context(), key("web-0"), other))
					other.Status.Phase = corev1.PodFailed
					require.NoError(t, server.Status().Update(t.Context(), other))
				}
			})
			minimal := podWithUID("1")
			minimal.ResourceVersion = stored.ResourceVersion
			minimal.Status.Phase = corev1.PodRunning
			minimal.Status.Message = fmt.Sprint(overwritten)
			require.NoError(t, c.Status().Update(t.Context(), minimal), "overwritten: %v", overwritten)
			assert.Equal(t, "node", minimal.Spec.NodeName)
		}
	})
	entry := func(manager string, after time.Duration) metav1.ManagedFieldsEntry {
		at := metav1.NewTime(longAgo.Add(after))
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", Subresource: "status", Time: &at}
	}
	for situation, c := range map[string]struct {
		before, after []metav1.ManagedFieldsEntry
		unknown       bool
	}{
		"by another manager":             {[]metav1.ManagedFieldsEntry{entry("me", 0)}, []metav1.ManagedFieldsEntry{entry("me", 0), entry("other", time.Hour)}, false},
		"by another manager, once more":  {[]metav1.ManagedFieldsEntry{entry("me", 0), entry("other", 0)}, []metav1.ManagedFieldsEntry{entry("me", 0), entry("other", time.Hour)}, false},
		"by this manager":                {[]metav1.ManagedFieldsEntry{entry("me", 0)}, []metav1.ManagedFieldsEntry{entry("me", time.Hour)}, true},
		"by this manager, for the first": {[]metav1.ManagedFieldsEntry{entry("other", 0)}, []metav1.ManagedFieldsEntry{entry("me", time.Hour), entry("other", 0)}, true},
		"no managed fields were sent":    {nil, []metav1.ManagedFieldsEntry{entry("other", time.Hour)}, true},
	} {
		inVirtualTime(t, "another status was set first "+situation, func(t *testing.T) {
			h := &history{}
			server := h.of(builder().WithStatusSubresource(&corev1.Pod{}).WithObjects(podWithUID("1")).Build())
			p := pod()
			require.NoError(t, server.Get(t.Context(), key("web-0"), p))
			retrying := interruptFirstUpdate(ownedBy(server, "me"), func(func() error) {
				other := p.DeepCopy()
				other.Status.Phase = corev1.PodFailed
				require.NoError(t, server.Status().Update(t.Context(), other))
				other.ManagedFields = c.after
				h.begin = []watch.Event{{Type: watch.Modified, Object: other}}
			})
			p.Status.Phase, p.ManagedFields = corev1.PodRunning, c.before
			err := retrying.Status().Update(t.Context(), p)
			assert.True(t, apierrors.IsConflict(err), "%v", err)
			assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown))
		})
	}
}

// controller-runtime encodes and decodes the body of a subresource without the scheme.
func TestTheBodyOfASubresourceNeedNotBeInTheScheme(t *testing.T) {
	scheme := runtime.NewScheme()
	require.NoError(t, appsv1.AddToScheme(scheme))
	require.NoError(t, corev1.AddToScheme(scheme))
	var requests []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests = append(requests, r.Method+" "+r.URL.Path+" "+string(body))
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/scale") {
			_, _ = w.Write([]byte(`{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"web","resourceVersion":"7"},"spec":{"replicas":3}}`))
			return
		}
		_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Status","status":"Success"}`))
	}))
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	mapper := apimeta.NewDefaultRESTMapper(nil)
	mapper.Add(appsv1.SchemeGroupVersion.WithKind("Deployment"), apimeta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), apimeta.RESTScopeNamespace)
	plain, err := client.New(&rest.Config{Host: server.URL, QPS: -1}, client.Options{HTTPClient: &http.Client{Transport: transport}, Scheme: scheme, Mapper: mapper})
	require.NoError(t, err)

	deployment := &appsv1.Deployment{ObjectMeta: meta("web")}
	for situation, call := range map[string]func(client.Client, *autoscalingv1.Scale) error{
		"get": func(c client.Client, scale *autoscalingv1.Scale) error {
			return c.SubResource("scale").Get(t.Context(), deployment.DeepCopy(), scale)
		},
		"update": func(c client.Client, scale *autoscalingv1.Scale) error {
			return c.SubResource("scale").Update(t.Context(), deployment.DeepCopy(), client.WithSubResourceBody(scale))
		},
		"patch": func(c client.Client, scale *autoscalingv1.Scale) error {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":3}}`))
			return c.SubResource("scale").Patch(t.Context(), deployment.DeepCopy(), patch, client.WithSubResourceBody(scale))
		},
		"create": func(c client.Client, scale *autoscalingv1.Scale) error {
			return c.SubResource("scale").Create(t.Context(), deployment.DeepCopy(), scale)
		},
		"create an eviction": func(c client.Client, _ *autoscalingv1.Scale) error {
			return c.SubResource("eviction").Create(t.Context(), pod(), evictionOf("1"))
		},
	} {
		t.Run(situation, func(t *testing.T) {
			requests = nil
			want, got := &autoscalingv1.Scale{}, &autoscalingv1.Scale{}
			wantErr, err := call(plain, want), call(k8sretryctrl.NewClient(plain), got)
			assert.Equal(t, wantErr, err)
			assert.Equal(t, want, got)
			require.Len(t, requests, 2)
			assert.Equal(t, requests[0], requests[1])
		})
	}
}

func TestTheOutcomeOfOtherSubresourcesIsWhatTheyStore(t *testing.T) {
	approved := func(times bool) []certificatesv1.CertificateSigningRequestCondition {
		c := certificatesv1.CertificateSigningRequestCondition{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Auto"}
		if times {
			c.LastUpdateTime, c.LastTransitionTime = metav1.Now(), metav1.Now() // set by the server
		}
		return []certificatesv1.CertificateSigningRequestCondition{c}
	}
	for situation, c := range map[string]struct {
		stored []certificatesv1.CertificateSigningRequestCondition
		want   error
	}{
		"the conditions are there":   {approved(true), nil},
		"there are no conditions":    {nil, k8sretry.ErrOutcomeUnknown},
		"there are other conditions": {[]certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied, Status: corev1.ConditionTrue}}, k8sretry.ErrOutcomeUnknown},
	} {
		for _, answers := range [][]error{{unknownOutcome(), apierrors.NewConflict(corev1.Resource("x"), "x", nil)}, {unknownOutcome()}} {
			inVirtualTime(t, fmt.Sprintf("approval, %d answers: %s", len(answers), situation), func(t *testing.T) {
				stored := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "csr", UID: "1"}}
				stored.Status.Conditions, stored.Status.Certificate = c.stored, []byte("issued since")
				n := 0
				retrying := k8sretryctrl.NewClient(interceptor.NewClient(builder().WithObjects(stored).Build(), interceptor.Funcs{
					SubResourceUpdate: func(context.Context, client.Client, string, client.Object, ...client.SubResourceUpdateOption) error {
						n++
						return answers[min(n, len(answers))-1]
					},
				}))
				csr := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "csr", UID: "1", ResourceVersion: "1"}}
				csr.Status.Conditions = approved(false)
				before := csr.DeepCopy()
				err := retrying.SubResource("approval").Update(t.Context(), csr)
				if c.want != nil {
					assert.ErrorIs(t, err, c.want)
					assert.Equal(t, before, csr)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, "issued since", string(csr.Status.Certificate))
			})
		}
	}
	for replicas, success := range map[int32]bool{0: true, 3: true, 5: false} {
		inVirtualTime(t, fmt.Sprintf("scale to %d", replicas), func(t *testing.T) {
			server := cluster()
			n := 0
			retrying := k8sretryctrl.NewClient(interceptor.NewClient(server, interceptor.Funcs{
				SubResourceUpdate: func(ctx context.Context, c client.Client, name string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
					if n++; n > 1 {
						return apierrors.NewConflict(corev1.Resource("x"), "x", nil)
					}
					if success {
						require.NoError(t, c.SubResource(name).Update(ctx, obj, opts...))
					}
					return unknownOutcome()
				},
			}))
			scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
			err := retrying.SubResource("scale").Update(t.Context(), &appsv1.Deployment{ObjectMeta: meta("web")}, client.WithSubResourceBody(scale))
			if !success {
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				return
			}
			require.NoError(t, err)
			assert.NotEmpty(t, scale.ResourceVersion)
		})
	}
}
