// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// podClient returns a retrying client whose creates of a subresource are those of attempt.
func podClient(server client.WithWatch, attempt func(n int, pod, sub client.Object) error) client.WithWatch {
	n := 0
	return k8sretryctrl.NewClient(interceptor.NewClient(server, interceptor.Funcs{
		SubResourceCreate: func(_ context.Context, _ client.Client, _ string, pod, sub client.Object, _ ...client.SubResourceCreateOption) error {
			n++
			return attempt(n, pod, sub)
		},
	}))
}

func podWithUID(uid types.UID) *corev1.Pod {
	p := pod()
	p.UID = uid
	return p
}

func TestAnEvictionTakesTheUIDOfItsPod(t *testing.T) {
	for situation, c := range map[string]struct {
		pod      *corev1.Pod
		eviction client.Object
		want     types.UID
	}{
		"v1":                     {podWithUID("1"), evictionOf(""), "1"},
		"v1, with options":       {podWithUID("1"), &policyv1.Eviction{DeleteOptions: &metav1.DeleteOptions{GracePeriodSeconds: pointerTo(int64(7))}}, "1"},
		"v1, with a UID":         {podWithUID("1"), evictionOf("2"), "2"},
		"v1, a pod without UID":  {pod(), evictionOf(""), ""},
		"v1beta1":                {podWithUID("1"), &policyv1beta1.Eviction{}, "1"},
		"unstructured":           {podWithUID("1"), &unstructured.Unstructured{Object: map[string]any{"apiVersion": "policy/v1", "kind": "Eviction"}}, "1"},
		"unstructured, with UID": {podWithUID("1"), unstructuredEviction("2"), "2"},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			var sent client.Object
			retrying := podClient(cluster(), func(_ int, _, sub client.Object) error { sent = sub; return nil })
			before := c.eviction.DeepCopyObject()
			require.NoError(t, retrying.SubResource("eviction").Create(t.Context(), c.pod, c.eviction))
			assert.Equal(t, before, c.eviction, "the eviction is unchanged")
			var o *metav1.DeleteOptions
			switch e := sent.(type) {
			case *policyv1.Eviction:
				o = e.DeleteOptions
			case *policyv1beta1.Eviction:
				o = e.DeleteOptions
			case *unstructured.Unstructured:
				uid, _, _ := unstructured.NestedString(e.Object, "deleteOptions", "preconditions", "uid")
				o = metav1.NewPreconditionDeleteOptions(uid)
			}
			if c.want == "" {
				assert.Nil(t, o)
				return
			}
			require.NotNil(t, o)
			assert.Equal(t, c.want, *o.Preconditions.UID)
		})
	}
}

func unstructuredEviction(uid string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": map[string]any{"preconditions": map[string]any{"uid": uid}},
	}}
}

func TestTheOutcomeOfAnEvictionIsThatOfThePod(t *testing.T) {
	notFound := apierrors.NewNotFound(corev1.Resource("pods"), "web-0")
	otherPod := apierrors.NewConflict(corev1.Resource("pods"), "web-0", errors.New("Precondition failed: UID in precondition: 1, UID in object meta: 2"))
	otherUID := apierrors.NewConflict(corev1.Resource("Pod"), "web-0", errors.New("the UID in the precondition (1) does not match the UID in record (2)"))
	elsewhere := apierrors.NewConflict(corev1.Resource("pods"), "web-1", errors.New("the UID in the precondition (1) does not match the UID in record (2)"))
	noBudget := apierrors.NewNotFound(policyv1.Resource("poddisruptionbudgets"), "web-0")
	terminating := apierrors.NewForbidden(corev1.Resource("pods"), "web-0", errors.New("the namespace is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	unreadable := podWithUID("1")
	going := podWithUID("1")
	going.DeletionTimestamp, going.Finalizers = pointerTo(metav1.Now()), []string{"example.com/x"}
	for situation, c := range map[string]struct {
		server  *corev1.Pod // nil if there is none
		answers []error     // the last one is repeated
		want    error       // nil for a success, errUnknown, or the answer
	}{
		"a lost response, then not found":                              {nil, []error{unknownOutcome(), notFound}, nil},
		"a lost response, then another pod":                            {podWithUID("2"), []error{unknownOutcome(), otherPod}, nil},
		"no server to read from, and another pod, as deletions say it": {unreadable, []error{unknownOutcome(), otherUID}, nil},
		"no server to read from, and a conflict about another pod":     {unreadable, []error{unknownOutcome(), elsewhere}, k8sretry.ErrOutcomeUnknown},
		"no server to read from, and a budget that has the pod's name": {unreadable, []error{unknownOutcome(), noBudget}, k8sretry.ErrOutcomeUnknown},
		"no response, and the pod is terminating":                      {going, []error{unknownOutcome()}, nil},
		"no response, and the pod is gone":                             {nil, []error{unknownOutcome()}, nil},
		"no response, and another pod":                                 {podWithUID("2"), []error{unknownOutcome()}, nil},
		"no response, and the pod is there":                            {podWithUID("1"), []error{unknownOutcome()}, k8sretry.ErrOutcomeUnknown},
		"not found at first":                                           {nil, []error{notFound}, notFound},
		"another pod at first":                                         {podWithUID("2"), []error{otherPod}, otherPod},
		"a terminating namespace, the pod is there":                    {podWithUID("1"), []error{terminating}, terminating},
		"a terminating namespace, the pod is going":                    {going, []error{terminating}, nil},
		"a terminating namespace, the pod is gone":                     {nil, []error{terminating}, nil},
		"a lost response, then a terminating namespace":                {going, []error{unknownOutcome(), terminating}, nil},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			b := builder()
			if c.server != nil {
				b = b.WithObjects(c.server.DeepCopy())
			}
			attempts := 0
			server := b.Build()
			if c.server == unreadable {
				server = interceptor.NewClient(server, interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
					return apierrors.NewForbidden(corev1.Resource("pods"), "web-0", errors.New("no"))
				}})
			}
			retrying := podClient(server, func(n int, _, _ client.Object) error { attempts = n; return c.answers[min(n, len(c.answers))-1] })
			err := retrying.SubResource("eviction").Create(t.Context(), podWithUID("1"), evictionOf(""))
			if c.want == nil && c.server != unreadable {
				assert.Equal(t, 1, attempts, "the server takes 10 s to refuse the eviction of a pod that was replaced")
			}
			switch c.want {
			case nil:
				assert.NoError(t, err)
			case k8sretry.ErrOutcomeUnknown:
				assert.ErrorIs(t, err, c.want)
			default:
				assert.Same(t, c.want, err)
			}
		})
	}
}

// The read before a repetition may be refused with a Retry-After.
func TestAnEvictionKeepsTheRetryAfterOfItsReads(t *testing.T) {
	inVirtualTime(t, "after a lost response", func(t *testing.T) {
		var read, evicted time.Time
		server := interceptor.NewClient(builder().WithObjects(podWithUID("1")).Build(), interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				if !read.IsZero() {
					return c.Get(ctx, key, obj, opts...)
				}
				read = time.Now()
				return apierrors.NewTooManyRequests("wait", 1)
			},
		})
		retrying := podClient(server, func(n int, _, _ client.Object) error {
			evicted = time.Now()
			if n == 1 {
				return unknownOutcome()
			}
			return nil
		})
		require.NoError(t, retrying.SubResource("eviction").Create(t.Context(), podWithUID("1"), evictionOf("")))
		assert.GreaterOrEqual(t, evicted.Sub(read), time.Second)
	})
}

func bindingTo(node string) *corev1.Binding {
	return &corev1.Binding{ObjectMeta: meta("web-0"), Target: corev1.ObjectReference{Kind: "Node", Name: node}}
}

func TestABindingIsVerifiedByTheNodeOfThePod(t *testing.T) {
	assigned := apierrors.NewConflict(corev1.Resource("pods/binding"), "web-0", errors.New("pod web-0 is already assigned to node"))
	onNode := func(uid types.UID, node string) *corev1.Pod {
		p := podWithUID(uid)
		p.Spec.NodeName = node
		return p
	}
	for situation, c := range map[string]struct {
		pod      *corev1.Pod // of the caller
		server   *corev1.Pod
		answers  []error
		attempts int
		want     error
	}{
		"a lost response, then a conflict: it is on the node": {podWithUID("1"), onNode("1", "a"), []error{unknownOutcome(), assigned}, 2, nil},
		"a lost response, then a conflict: another node":      {podWithUID("1"), onNode("1", "b"), []error{unknownOutcome(), assigned}, 2, assigned},
		"a lost response, then a conflict: another pod":       {podWithUID("1"), onNode("2", "a"), []error{unknownOutcome(), assigned}, 2, k8sretry.ErrOutcomeUnknown},
		"not executed, then a success":                        {podWithUID("1"), onNode("1", ""), []error{unknownOutcome(), nil}, 2, nil},
		"without a UID, it is on the node":                    {pod(), onNode("1", "a"), []error{unknownOutcome()}, 1, nil},
		"without a UID, it is not":                            {pod(), onNode("1", ""), []error{unknownOutcome()}, 1, k8sretry.ErrOutcomeUnknown},
		"a conflict at first":                                 {podWithUID("1"), onNode("1", "a"), []error{assigned}, 1, assigned},
	} {
		for kind, binding := range map[string]client.Object{
			"typed": bindingTo("a"),
			"unstructured": &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Binding", "target": map[string]any{"kind": "Node", "name": "a"},
			}},
		} {
			inVirtualTime(t, situation+", "+kind, func(t *testing.T) {
				attempts := 0
				retrying := podClient(builder().WithObjects(c.server.DeepCopy()).Build(), func(n int, _, sub client.Object) error {
					attempts = n
					assert.Equal(t, c.pod.UID, sub.GetUID(), "the server binds no other pod")
					return c.answers[min(n, len(c.answers))-1]
				})
				before := binding.DeepCopyObject()
				err := retrying.SubResource("binding").Create(t.Context(), c.pod, binding)
				assert.Equal(t, c.attempts, attempts)
				assert.Equal(t, before, binding, "the binding is unchanged")
				switch c.want {
				case nil:
					assert.NoError(t, err)
				case k8sretry.ErrOutcomeUnknown:
					assert.ErrorIs(t, err, c.want)
				default:
					assert.Same(t, c.want, err)
				}
			})
		}
	}
}

// The server copies the annotations of a binding to the pod. The assumption was that the node of the
// pod is all that a binding stores.
func TestABindingIsAlsoVerifiedByItsAnnotations(t *testing.T) {
	for situation, c := range map[string]struct {
		stored map[string]string
		done   bool
	}{
		"they are there, with others": {map[string]string{"example.com/gpu": "1", "a": "b"}, true},
		"they are not there":          {nil, false},
		"another scheduler has bound the pod to the same node with others": {map[string]string{"example.com/gpu": "2"}, false},
	} {
		for _, answers := range [][]error{{unknownOutcome()}, {unknownOutcome(), apierrors.NewConflict(corev1.Resource("pods/binding"), "web-0", nil)}} {
			inVirtualTime(t, fmt.Sprintf("%s, %d answers", situation, len(answers)), func(t *testing.T) {
				server := podWithUID("1")
				server.Spec.NodeName, server.Annotations = "a", c.stored
				retrying := podClient(builder().WithObjects(server).Build(), func(n int, _, _ client.Object) error { return answers[min(n, len(answers))-1] })
				binding := bindingTo("a")
				binding.Annotations = map[string]string{"example.com/gpu": "1"}
				err := retrying.SubResource("binding").Create(t.Context(), podWithUID("1"), binding)
				assert.Equal(t, !c.done, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
				assert.Equal(t, c.done, err == nil, "%v", err)
			})
		}
	}
}

func TestABindingThatCannotHaveBeenStoredIsKnown(t *testing.T) {
	inVirtualTime(t, "no response, and the pod is on another node", func(t *testing.T) {
		server := podWithUID("1")
		server.Spec.NodeName = "b"
		retrying := podClient(builder().WithObjects(server).Build(), func(int, client.Object, client.Object) error { return unknownOutcome() })
		err := retrying.SubResource("binding").Create(t.Context(), podWithUID("1"), bindingTo("a"))
		assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.True(t, apierrors.IsTimeout(err))
	})
}
