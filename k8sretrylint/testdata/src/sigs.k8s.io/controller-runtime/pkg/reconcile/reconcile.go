// Package reconcile has what the tests need of the package of this path.
package reconcile

import "k8s.io/apimachinery/pkg/types"

type Request struct{ types.NamespacedName }

type Result struct{}
