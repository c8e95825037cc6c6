// Package v1 has what the tests need of the package of this path.
package v1

import corev1 "k8s.io/api/core/v1"

type PodLister interface {
	Pods(namespace string) PodNamespaceLister
}

type PodNamespaceLister interface {
	Get(name string) (*corev1.Pod, error)
}
