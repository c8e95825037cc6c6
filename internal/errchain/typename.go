// SPDX-License-Identifier: Apache-2.0

package errchain

import (
	"fmt"
	"net"
	"net/url"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// TypeName returns the Go type of the most informative error in the chain of err, such
// as "*errors.StatusError". An API status is the most informative, then a *net.OpError,
// then a *url.Error, then the first error that is not from package errors or fmt.
func TypeName(err error) string {
	best, highest := err, 0
	_ = Find(err, func(e error) bool {
		rank := rank(e)
		if rank > highest || highest == 0 { // of plain errors, the innermost
			best, highest = e, rank
		}
		return rank == ranks
	})
	return fmt.Sprintf("%T", best)
}

// ranks is the highest rank.
const ranks = 4

// rank orders errors by how much their type says.
func rank(err error) int {
	switch err.(type) {
	case apierrors.APIStatus:
		return ranks
	case *net.OpError:
		return 3
	case *url.Error:
		return 2
	}
	if isPlain(err) {
		return 0
	}
	return 1
}

// isPlain reports whether the type of err is one of package errors or fmt.
func isPlain(err error) bool {
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == "errors" || t.PkgPath() == "fmt"
}
