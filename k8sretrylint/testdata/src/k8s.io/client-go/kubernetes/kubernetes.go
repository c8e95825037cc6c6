// Package kubernetes has what the tests need of the package of this path.
package kubernetes

import (
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

type Interface interface {
	CoreV1() corev1.CoreV1Interface
	CoordinationV1() coordinationv1.CoordinationV1Interface
}

type Clientset struct{}

func (*Clientset) CoreV1() corev1.CoreV1Interface                         { return nil }
func (*Clientset) CoordinationV1() coordinationv1.CoordinationV1Interface { return nil }

func NewForConfig(c *rest.Config) (*Clientset, error) { return nil, nil }
func NewForConfigOrDie(c *rest.Config) *Clientset     { return nil }
