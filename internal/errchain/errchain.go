// SPDX-License-Identifier: Apache-2.0

// Package errchain walks through error chains that other packages have built.
//
// A foreign chain may hold nil pointers whose methods panic, values that cannot be
// compared, errors that wrap themselves, and joins of joins without end. The walks of
// this package survive all of them: they call no method of a nil pointer and visit at
// most [MaxNodes] errors. They also look into the Aggregate of
// k8s.io/apimachinery/pkg/util/errors, which errors.As does not.
package errchain

import "reflect"

// MaxNodes bounds the number of errors that one walk visits. Chains can be cyclic, and
// joins of joins grow exponentially.
const MaxNodes = 4096

// Find returns the first error in the chain of err, in depth-first order, for which
// match returns true, and nil if there is none.
func Find(err error, match func(error) bool) error {
	left := MaxNodes
	return find(err, &left, match)
}

// find is Find with a bound of its own: it decrements left for each error that it visits.
func find(err error, left *int, match func(error) bool) error {
	for ; err != nil && *left > 0; *left-- {
		if IsNil(err) {
			return nil
		}
		if match(err) {
			return err
		}
		var members []error
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
			continue
		case interface{ Unwrap() []error }:
			members = e.Unwrap()
		case interface{ Errors() []error }: // an Aggregate
			members = e.Errors()
		}
		for _, member := range members {
			if *left--; *left <= 0 {
				break
			}
			if found := find(member, left, match); found != nil {
				return found
			}
		}
		return nil
	}
	return nil
}

// Is is errors.Is with the guarantees of this package.
func Is(err, target error) bool {
	comparable := reflect.ValueOf(target).Comparable()
	return Find(err, func(e error) bool {
		if comparable && reflect.ValueOf(e).Comparable() && e == target {
			return true
		}
		is, ok := e.(interface{ Is(error) bool })
		return ok && is.Is(target)
	}) != nil
}

// IsNil reports whether err holds a nil pointer. Methods of a nil pointer may panic.
func IsNil(err error) bool {
	v := reflect.ValueOf(err)
	return v.Kind() == reflect.Pointer && v.IsNil()
}
