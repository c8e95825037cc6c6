// Package k8sretryctrl brings k8sretry to controller-runtime.
package k8sretryctrl
