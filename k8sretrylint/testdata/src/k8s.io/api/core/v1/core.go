// Package v1 has what the tests need of the package of this path.
package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

type PodStatus struct{ Phase string }

type Pod struct {
	metav1.ObjectMeta
	Status PodStatus
}

func (p *Pod) DeepCopy() *Pod { c := *p; return &c }

type PodList struct {
	Continue string
	Items    []Pod
}

type ConfigMap struct {
	metav1.ObjectMeta
	Data map[string]string
}

func (c *ConfigMap) DeepCopy() *ConfigMap { d := *c; return &d }

type ConfigMapList struct{ Items []ConfigMap }
