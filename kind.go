// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"reflect"
	"unsafe"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// This file tells the kinds of calls apart that a Limiter limits each by itself.

// kindOf is the kind of a call for a Limiter. Without a name it is the code of the caller's
// function.
func kindOf[T any](c *config, fn func(context.Context) (T, error), code uintptr) uint64 {
	if c.limiter == nil || fn == nil {
		return 0
	}
	if code == 0 {
		code = codeOf(fn)
	}
	return c.kind(code)
}

// codeOf returns the address of the code of a function that is not nil. Closures of the same
// code have the same address. It is what reflect.Value.Pointer returns, without letting the
// function escape (a func value points to a closure, whose first word is the address of its
// code: internal/abi.FuncPCABIInternal).
func codeOf[F any](fn F) uintptr { return **(**uintptr)(unsafe.Pointer(&fn)) }

// codeOfType returns a number for a type, for the kind of a safe write: all of them have the
// same code.
func codeOfType[T any]() uintptr { return reflect.ValueOf(reflect.TypeFor[T]()).Pointer() }

// codeOfObject is codeOfType for a write of an object that is known. Of the types that stand for
// objects of any resource, it tells these apart.
func codeOfObject[T any](obj T) uintptr {
	switch o := any(obj).(type) {
	case *unstructured.Unstructured:
		if o != nil {
			return uintptr(hashOf(hashOf(firstHash, o.GetAPIVersion()), o.GetKind()))
		}
	case *metav1.PartialObjectMetadata:
		if o != nil {
			return uintptr(hashOf(hashOf(firstHash, o.APIVersion), o.Kind))
		}
	}
	return codeOfType[T]()
}

// keyOfLimiter identifies the kind of the call for a Limiter by its name, or by the wrapped
// function; 0 if it has neither.
func (c *config) keyOfLimiter() uint64 {
	switch {
	case c.name != "":
		return kindKey(hashOf(firstHash, c.name), c.verb())
	case c.pc != 0:
		return kindKey(uint64(c.pc), c.verb())
	}
	return 0
}

// kind returns the kind of a call of fn, whose code has the given address.
func (c *config) kind(code uintptr) uint64 {
	if c.limiterKey != 0 {
		return c.limiterKey
	}
	return kindKey(uint64(code), c.verb())
}

// kindKey is a number for a kind, never 0.
func kindKey(of uint64, verb Verb) uint64 {
	h := (of + uint64(verb)) * 0x9E3779B97F4A7C15
	return max(1, h^h>>32)
}

const firstHash = 14695981039346656037 // FNV-1a

func hashOf(h uint64, text string) uint64 {
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return h
}
