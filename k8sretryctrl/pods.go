// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"context"
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

// evict creates an eviction of a pod, with the UID of the pod as a precondition. With it, an
// eviction is retried like a deletion: a second eviction of a terminating pod does not reduce
// the disruption budget again, and the eviction has succeeded if the pod is terminating or
// gone.
func (s *subresource) evict(ctx context.Context, pod, eviction client.Object, dryRun bool, opts []client.SubResourceCreateOption) error {
	eviction, uid := withUID(eviction, pod.GetUID())
	verb := k8sretry.VerbCreate
	if uid != "" {
		verb = k8sretry.VerbDelete
	}
	isEvicted := func(ctx context.Context, answer error) (fate, error) {
		if isGone(answer, pod.GetName()) {
			return done, nil
		}
		found, err := s.client.look(ctx, pod)
		if isGone(err, pod.GetName()) {
			return done, nil
		}
		if err != nil {
			return unproven, err
		}
		return doneIf(found.GetDeletionTimestamp() != nil || uid != "" && found.GetUID() != "" && found.GetUID() != uid), nil
	}
	isAmbiguous := false
	err := s.client.writeProven(ctx, verbOf(verb, dryRun), s.callName("create", pod), func(ctx context.Context, copied copier) error {
		if isAmbiguous && uid != "" {
			// kube-apiserver takes 10 s to refuse the eviction of a pod that was replaced.
			switch f, lookErr := isEvicted(ctx, nil); {
			case lookErr == nil && f == done:
				return nil
			case k8sretry.Classify(lookErr).RetryAfter > 0:
				return lookErr
			}
		}
		err := s.inner().Create(ctx, copied(pod), copied(eviction), opts...)
		isAmbiguous = isAmbiguous || err != nil && !dryRun && k8sretry.Classify(err).Outcome != k8sretry.OutcomeNotExecuted
		return err
	}, isEvicted)
	if err != nil && !dryRun && isNamespaceTerminating(err) {
		// The namespace takes no evictions any more, and deletes its pods by itself.
		if f, lookErr := isEvicted(ctx, err); f == done && lookErr == nil {
			return nil
		}
	}
	return err
}

// withUID returns an eviction with a UID as a precondition, and the UID that it has. It does
// not change the eviction that it is given.
func withUID(eviction client.Object, uid types.UID) (client.Object, types.UID) {
	complete := func(o **metav1.DeleteOptions) types.UID {
		if *o != nil && (*o).Preconditions != nil && (*o).Preconditions.UID != nil {
			return *(*o).Preconditions.UID
		}
		if uid == "" {
			return ""
		}
		if *o == nil {
			*o = &metav1.DeleteOptions{}
		}
		if (*o).Preconditions == nil {
			(*o).Preconditions = &metav1.Preconditions{}
		}
		(*o).Preconditions.UID = &uid
		return uid
	}
	switch e := eviction.(type) {
	case *policyv1.Eviction:
		e = e.DeepCopy()
		return e, complete(&e.DeleteOptions)
	case *policyv1beta1.Eviction:
		e = e.DeepCopy()
		return e, complete(&e.DeleteOptions)
	case *unstructured.Unstructured:
		if given, ok, _ := unstructured.NestedString(e.Object, "deleteOptions", "preconditions", "uid"); ok || uid == "" {
			return e, types.UID(given)
		}
		c := e.DeepCopy()
		if unstructured.SetNestedField(c.Object, string(uid), "deleteOptions", "preconditions", "uid") != nil {
			return e, "" // of the wrong type: the server rejects it
		}
		return c, uid
	}
	return eviction, ""
}

// isGone reports whether err means that the pod does not exist, or that another pod has its
// name (k8s.io/apiserver/pkg/registry/rest/delete.go and pkg/storage/interfaces.go).
func isGone(err error, name string) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	s := status.Status()
	if s.Details == nil || s.Details.Name != name {
		return false // about something else
	}
	return apierrors.IsNotFound(err) && s.Details.Kind != "poddisruptionbudgets" ||
		apierrors.IsConflict(err) && (strings.Contains(s.Message, "UID in precondition") || strings.Contains(s.Message, "UID in the precondition"))
}

func isNamespaceTerminating(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// bind creates a binding of a pod to a node. With the UID of the pod as a precondition it is
// retried: a pod that has a node gets no other one. The binding has succeeded if the pod has
// the node and the annotations of the binding, which the server copies
// (k8s.io/kubernetes/pkg/registry/core/pod/storage/storage.go). Without a UID the binding is for
// any pod of that name.
func (s *subresource) bind(ctx context.Context, pod, binding client.Object, dryRun bool, opts []client.SubResourceCreateOption) error {
	verb := k8sretry.VerbCreate
	if uid := pod.GetUID(); uid != "" && binding.GetUID() == "" {
		binding = copyOf(binding)
		binding.SetUID(uid)
	}
	uid := binding.GetUID()
	if uid != "" {
		verb = k8sretry.VerbUpdate // the outcome of a Conflict after another attempt is unknown
	}
	node := nodeIn(contentOf(binding), "target", "name")
	return s.client.writeProven(ctx, verbOf(verb, dryRun), s.callName("create", pod), func(ctx context.Context, copied copier) error {
		return s.inner().Create(ctx, copied(pod), copied(binding), opts...)
	}, func(ctx context.Context, _ error) (fate, error) {
		found, err := s.client.look(ctx, pod)
		if err != nil {
			return unproven, err
		}
		switch on := nodeIn(contentOf(found), "spec", "nodeName"); {
		case on == "" || uid != "" && found.GetUID() != uid:
			return unproven, nil
		case on == node:
			return doneIf(hasAnnotations(found, binding)), nil
		case uid == "":
			return unproven, nil // it may be another pod
		}
		return notDone, nil
	})
}

// hasAnnotations reports whether found has the annotations of sent.
func hasAnnotations(found, sent client.Object) bool {
	got := found.GetAnnotations()
	for key, value := range sent.GetAnnotations() {
		if v, ok := got[key]; !ok || v != value {
			return false
		}
	}
	return true
}

func nodeIn(content map[string]any, fields ...string) string {
	node, _, _ := unstructured.NestedString(content, fields...)
	return node
}
