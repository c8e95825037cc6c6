package k8sretry

import (
	"fmt"
	"net"
	"net/url"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// errorType is the Go type of the error that tells something: the API status or the
// network error in the chain, whatever wraps it; if there is none, the first that is more
// than a text or a wrapper.
func errorType(err error) string {
	telling, most, left := err, 0, maxNodes
	first(err, &left, func(e error) bool {
		tells := 0
		switch e.(type) {
		case apierrors.APIStatus:
			tells = 4
		case *net.OpError:
			tells = 3
		case *url.Error:
			tells = 2
		default:
			if !isPlain(e) {
				tells = 1
			}
		}
		if tells > most || most == 0 {
			telling, most = e, tells
		}
		return tells == 4
	})
	return fmt.Sprintf("%T", telling)
}

// isPlain reports whether an error is one of package errors or fmt.
func isPlain(err error) bool {
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == "errors" || t.PkgPath() == "fmt"
}
