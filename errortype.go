package k8sretry

import (
	"fmt"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// errorType is the Go type of the error that tells something: the API status or the
// network error in the chain, whatever wraps it.
func errorType(err error) string {
	telling, most, left := err, 0, maxNodes
	first(err, &left, func(e error) bool {
		tells := 0
		switch e.(type) {
		case apierrors.APIStatus:
			tells = 3
		case *net.OpError:
			tells = 2
		case *url.Error:
			tells = 1
		}
		if tells > most {
			telling, most = e, tells
		}
		return tells == 3
	})
	return fmt.Sprintf("%T", telling)
}
