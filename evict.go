package k8sretry

import (
	"context"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Evict asks the server to evict the pod given, and never another one that has taken
// its name: the UID of obj is sent as a precondition, unless opts has one. Of obj only
// name, namespace and UID are used.
//
//	err := k8sretry.Evict(ctx, clientset.CoreV1().Pods(pod.Namespace), pod, metav1.DeleteOptions{})
//
// It keeps the pace of [ForEviction], unless options say otherwise: while a
// PodDisruptionBudget allows no eviction, it asks again slowly until ctx ends, and then
// the refusal itself is in the error: apierrors.IsTooManyRequests is true for it. Give
// ctx a deadline.
//
// Nil means that the eviction was accepted, and the pod may still be terminating; or
// that the pod is gone (NotFound, or a conflict about the UID), whoever has removed it:
// a lost answer looks the same, and so does a pod that has ended during the wait. A race
// that the server has lost against others, about the budget or the pod, is repeated.
//
// A pod without a UID, and no UID in opts, is treated as by [Delete]. Each request may
// use up one of the disruptions that the budget allows, until its controller has counted
// again.
func Evict[T Object](ctx context.Context, client evictor[T], obj T, opts metav1.DeleteOptions, options ...Option) error {
	switch {
	case missing(client):
		return errNilClient
	case missing(obj):
		return errNilObject
	}
	d := deletionOf(VerbCreate, Getter[T](client), obj, opts)
	insists := d.version != nil
	// The server changes the pod before it deletes it: a new version is no sign that
	// nothing will come of a request.
	d.version = nil
	d.anyEnd = d.uid != ""
	d.raced = func(err error, v Verdict) bool {
		return isAboutBudget(err) || !insists && v.Class == ClassConflict && v.Outcome == OutcomeNotExecuted && !isOfAnother(err, v)
	}
	namespace := obj.GetNamespace()
	d.request = func(ctx context.Context) error {
		return client.EvictV1(ctx, &policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Name: d.name, Namespace: namespace},
			DeleteOptions: d.opts.DeepCopy(),
		})
	}
	_, err := proven(ctx, &d.proof, d.step, d.find, append([]Option{ForEviction()}, options...))
	return err
}

// isAboutBudget reports whether a NotFound is one of the disruption budget, which may
// have the name of its pod. It was there a moment ago; without it nothing refuses.
func isAboutBudget(err error) bool {
	if !apierrors.IsNotFound(err) {
		return false
	}
	details := statusIn(err).Details
	return details != nil && details.Kind == "poddisruptionbudgets"
}
