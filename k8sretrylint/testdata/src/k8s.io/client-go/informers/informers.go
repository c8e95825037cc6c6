// Package informers has what the tests need of the package of this path.
package informers

import (
	"time"

	"k8s.io/client-go/kubernetes"
)

func NewSharedInformerFactory(client kubernetes.Interface, resync time.Duration) any { return nil }
