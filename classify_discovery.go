// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry/internal/errchain"
)

// isFailedDiscovery recognises a failed discovery by the name of its type: the request of
// the call was not sent, whatever errors it contains. The types belong to client-go
// (discovery/discovery_client.go) and controller-runtime (pkg/client/apiutil/errors.go),
// which this package does not import.
func isFailedDiscovery(err error) bool {
	if err == nil || errchain.IsNil(err) {
		return false
	}
	if isGroupsWrapper(err) {
		return true
	}
	name := reflect.TypeOf(err).String()
	return strings.HasSuffix(name, ".ErrGroupDiscoveryFailed") || strings.HasSuffix(name, ".ErrResourceDiscoveryFailed")
}

// isGroupsWrapper recognises the error of the RESTMapper of controller-runtime if the discovery fails as
// a whole (pkg/client/apiutil/restmapper.go). What it wraps is the answer to a request for the groups.
func isGroupsWrapper(err error) bool {
	return reflect.TypeOf(err) == wrapError && strings.HasPrefix(err.Error(), "failed to get server groups: ")
}

// visitDiscovery adds the meaning of a failed discovery. Nothing of the call was executed.
// The discovery may be repeated if all of its requests failed for a transient reason; an
// API that is not served, or that may not be read, blocks the call.
func (w *walk) visitDiscovery(err error, members []error) {
	if members == nil {
		members = discoveryErrors(err)
	}
	sub := walk{left: w.left}
	for _, member := range members {
		if sub.left--; sub.left <= 0 {
			sub.add(&meansTooLong, meansTooLong.outcome, 0)
			break
		}
		if member != nil {
			sub.visit(member, errorPath{})
		}
	}
	w.left = max(0, sub.left)
	if w.inner == nil {
		w.inner = sub.inner
	}
	w.permanent = w.permanent || sub.permanent
	w.retryAfter = max(w.retryAfter, sub.retryAfter)
	m := &meansDiscoveryFailed
	switch {
	case sub.worst == nil:
	case sub.worst == &meansTooLong:
		m = &meansTooLong
	case sub.worst.class == ClassCanceled:
		m = &meansDiscoveryCanceled
	case sub.worst.class.transient():
		m = &meaning{class: sub.worst.class, flags: notOfSending, detail: meansDiscoveryFailed.detail}
		if m.class == ClassServer || m.class == ClassTimeout {
			m.flags |= besideServer // a group that fails is most often that of an aggregated server
		}
	}
	w.add(m, m.outcome, 0)
}

// discoveryErrors returns the errors in the field Groups of an ErrGroupDiscoveryFailed,
// which it does not unwrap.
func discoveryErrors(err error) []error {
	v := reflect.ValueOf(err)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	field := v.FieldByName("Groups")
	if !field.IsValid() || !field.CanInterface() {
		return nil
	}
	groups, _ := field.Interface().(map[schema.GroupVersion]error)
	errs := make([]error, 0, len(groups))
	for _, err := range groups {
		errs = append(errs, err)
	}
	return errs
}
