package k8sretry

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StatusUpdater is what [StatusSubresource] needs of a client.
type StatusUpdater[T Object] interface {
	Getter[T]
	UpdateStatus(ctx context.Context, obj T, opts metav1.UpdateOptions) (T, error)
}

// StatusSubresource makes [Update] and [Modify] write the status subresource:
//
//	pod, err := k8sretry.Modify(ctx, k8sretry.StatusSubresource(clientset.CoreV1().Pods("default")), "web-0", mutate)
//
// The server stores the status of pods, nodes, deployments and some other kinds together
// with the annotations of the write, and the proofs are those of Update. Of most kinds,
// custom resources among them, it stores the status alone. Nothing can tell then whose
// write a Conflict after a request of unknown outcome is about, and the error has
// [ErrOutcomeUnknown] in its chain.
func StatusSubresource[T Object](client StatusUpdater[T]) Updater[T] {
	if missing(client) {
		return nil
	}
	return statusClient[T]{client}
}

type statusClient[T Object] struct{ client StatusUpdater[T] }

func (c statusClient[T]) Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error) {
	return c.client.Get(ctx, name, opts)
}

func (c statusClient[T]) Update(ctx context.Context, obj T, opts metav1.UpdateOptions) (T, error) {
	return c.client.UpdateStatus(ctx, obj, opts)
}

func (c statusClient[T]) watcher() (Watcher, bool) { return watcherOf(c.client) }
func (c statusClient[T]) keepsAnnotations() bool   { return false }
