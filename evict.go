// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Evict evicts the given pod, and never another pod that has taken its name: it sends the
// UID of obj as a precondition, unless opts has one. It uses only the name, the namespace
// and the UID of obj.
//
//	err := k8sretry.Evict(ctx, clientset.CoreV1().Pods(pod.Namespace), pod, metav1.DeleteOptions{})
//
// The options default to [ForEviction]: while a PodDisruptionBudget allows no eviction,
// Evict asks again after 5 s to 20 s until ctx ends, and then returns an error that
// contains the server's refusal, so that apierrors.IsTooManyRequests reports true for it.
// Use a context with a deadline.
//
// Evict returns nil if the server has accepted the eviction; the pod may still be
// terminating. It also returns nil if the pod is gone (NotFound, or a conflict about the
// UID), even if another client has deleted it. If the server reports a conflict of its own,
// about the budget or the resource version of the pod, Evict retries, unless opts requires a
// resource version.
//
// A namespace that is being deleted takes no evictions, and deletes its pods by itself; one that
// is gone has none. Evict then reads the pod: it returns nil if the pod is terminating or gone, and
// asks again if not. Without a UID, it returns the NotFound about the namespace.
//
// Before Evict sends the eviction again after a request that may have been carried out, it
// reads the pod, because kube-apiserver takes 10 s to refuse the eviction of a pod that was
// replaced. Without the right to get pods it goes on without reading; use an attempt timeout
// of more than 10 s then, or none.
//
// If neither obj nor opts has a UID, an ambiguous failure is handled as by [Delete]. The
// final check, after the retries or the context have ended, takes at most 5 s. Each request
// may use up one of the disruptions that the budget allows, until the disruption controller
// counts again.
func Evict[T Object](ctx context.Context, client evictor[T], obj T, opts metav1.DeleteOptions, options ...Option) error {
	switch {
	case isNilValue(client):
		return errNilClient
	case isNilValue(obj):
		return errNilObject
	}
	d := newDeleteCall(VerbCreate, Getter[T](client), obj, opts)
	needsVersion := d.version != nil
	// The server changes the pod before it deletes it, so a new resource version does not
	// mean that the eviction has failed.
	d.version = nil
	d.goneIsOK, d.slowConflict = d.uid != "", true
	d.lostRace = func(err error, v Verdict) bool {
		return isBudgetNotFound(err) ||
			!needsVersion && v.Class == ClassConflict && v.Outcome == OutcomeNotExecuted && !isUIDConflict(err, v, d.name)
	}
	d.goesAnyway = func(err error) bool {
		return isNamespaceTerminating(err) || d.uid != "" && isNamespaceNotFound(err)
	}
	namespace := obj.GetNamespace()
	d.request = func(ctx context.Context) error {
		return client.EvictV1(ctx, &policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Name: d.name, Namespace: namespace},
			DeleteOptions: d.opts.DeepCopy(),
		})
	}
	d.target = func() target { return d.seen.or(targetOf(obj, "eviction")) }
	_, err := runWrite(ctx, &d.safeWrite, d.step, d.check, append([]Option{ForEviction()}, options...))
	return err
}

// isNamespaceTerminating reports whether an eviction, which is a create, was refused because
// the namespace of the pod is being deleted (the NamespaceLifecycle plugin).
func isNamespaceTerminating(err error) bool {
	return apierrors.HasStatusCause(err, causeNamespaceTerminating)
}

// isNamespaceNotFound reports whether a NotFound is about the namespace, as the same plugin says for
// one that has been deleted.
func isNamespaceNotFound(err error) bool {
	details := statusIn(err).Details
	return apierrors.IsNotFound(err) && details != nil && details.Kind == "namespaces"
}

// isBudgetNotFound reports whether a NotFound is about a PodDisruptionBudget, which may
// have the name of its pod. The budget was deleted during the request, so that the next
// request will not be refused because of it.
func isBudgetNotFound(err error) bool {
	if !apierrors.IsNotFound(err) {
		return false
	}
	details := statusIn(err).Details
	return details != nil && details.Kind == "poddisruptionbudgets"
}
