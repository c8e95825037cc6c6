// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Wrap returns a function that calls fn as [Do] does. The options are read once, by Wrap;
// an invalid option and a nil fn are the error of each call. The returned function is as
// safe for concurrent use as fn, and keeps nothing from one call to the next.
func Wrap[T any](fn func(context.Context) (T, error), opts ...Option) func(context.Context) (T, error) {
	w := wrapped(reflect.ValueOf(fn), opts, method{})
	return func(ctx context.Context) (T, error) { return call(ctx, fn, w.policy, 0) }
}

// Wrap1 is [Wrap] for a function of one argument, such as the List and the Watch of a
// typed client or a method of a service:
//
//	list := k8sretry.Wrap1(clientset.CoreV1().Pods("default").List, k8sretry.ForRead())
//
// If the argument is metav1.ListOptions, the verb is [VerbWatch] for a function that returns
// a watch.Interface, else [VerbList], unless WithVerb sets another.
func Wrap1[A, T any](fn func(context.Context, A) (T, error), opts ...Option) func(context.Context, A) (T, error) {
	w := wrapped(reflect.ValueOf(fn), opts, method1(reflect.TypeFor[A](), reflect.TypeFor[T]()))
	return func(ctx context.Context, a A) (T, error) {
		return call(ctx, func(ctx context.Context) (T, error) { return fn(ctx, a) }, w.policy, 0)
	}
}

// Wrap2 is [Wrap] for a function of two arguments, such as the Get, Create, Update and
// Apply of a typed client:
//
//	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead())
//	pod, err := get(ctx, "web-0", metav1.GetOptions{})
//
// The type of the options is the verb, unless WithVerb sets another: metav1.GetOptions,
// CreateOptions, UpdateOptions and ApplyOptions. It is that of generated clientsets and of
// fakes, too. Creates of reviews (groups authentication.k8s.io and authorization.k8s.io) store
// nothing and are [ReadOnly].
//
// A create is repeated even if its outcome is unknown, because a second object of the same
// name cannot be made beside the first one. (One that others have removed before the repetition is
// created again.) If a repetition is answered by AlreadyExists, the owner of the
// object is unknown: IsAlreadyExists is true and the error matches [ErrOutcomeUnknown]. Use
// [Create] to determine the owner. An object with a GenerateName is sent with a name that is
// drawn here, as the server would draw it, on a copy. An object without any name is not
// repeated while its outcome is unknown.
func Wrap2[A, B, T any](fn func(context.Context, A, B) (T, error), opts ...Option) func(context.Context, A, B) (T, error) {
	w := wrapped(reflect.ValueOf(fn), opts, method2(reflect.TypeFor[A](), reflect.TypeFor[B]()))
	return func(ctx context.Context, a A, b B) (T, error) {
		policy := w.policy
		if w.creates {
			a, policy = naming(a, w)
		}
		return call(ctx, func(ctx context.Context) (T, error) { return fn(ctx, a, b) }, policy, 0)
	}
}

// WrapRun is [Wrap] for a function that returns only an error.
func WrapRun(fn func(context.Context) error, opts ...Option) func(context.Context) error {
	w := wrapped(reflect.ValueOf(fn), opts, method{})
	return func(ctx context.Context) error {
		_, err := call(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) }, w.policy, 0)
		return err
	}
}

// WrapRun1 is [WrapRun] for a function of one argument. A function of an Eviction, such as the
// EvictV1 of a typed client, is a create that is repeated like that of [Wrap2]: by the name of
// the pod. So it may evict a new pod of that name, such as the next one of a StatefulSet, unless
// a [Transport] is below or the Eviction has the UID of the pod as a precondition. [Evict] sets
// it.
func WrapRun1[A any](fn func(context.Context, A) error, opts ...Option) func(context.Context, A) error {
	w := wrapped(reflect.ValueOf(fn), opts, method1(reflect.TypeFor[A](), nil))
	return func(ctx context.Context, a A) error {
		policy := w.policy
		if w.creates {
			a, policy = naming(a, w)
		}
		_, err := call(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx, a) }, policy, 0)
		return err
	}
}

// WrapRun2 is [WrapRun] for a function of two arguments, such as the Delete,
// DeleteCollection and Bind of a typed client. The types of the arguments are the verb, as in
// [Wrap2].
//
// A delete is repeated even if its outcome is unknown, and deletes whatever has the name then:
// also an object that was created since. [Delete] sends the UID of the object as a
// precondition. A DeleteCollection is not repeated while its outcome is unknown.
func WrapRun2[A, B any](fn func(context.Context, A, B) error, opts ...Option) func(context.Context, A, B) error {
	w := wrapped(reflect.ValueOf(fn), opts, method2(reflect.TypeFor[A](), reflect.TypeFor[B]()))
	return func(ctx context.Context, a A, b B) error {
		policy := w.policy
		if w.creates {
			a, policy = naming(a, w)
		}
		_, err := call(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx, a, b) }, policy, 0)
		return err
	}
}

// wrapping is what is known of a wrapped function.
type wrapping struct {
	policy  []Option // one Policy
	named   []Option // the same for a create whose object has a name
	creates bool     // the function has an object to create, which is seen at each call
}

// wrapped makes a Policy of the options of a wrapped function. It also knows the function
// and, unless the options say otherwise, its verb.
func wrapped(fn reflect.Value, opts []Option, m method) wrapping {
	p := NewPolicy(opts...)
	if fn.IsNil() {
		p.reject(nilFunc)
	} else {
		p.pc = fn.Pointer()
	}
	if p.given&(1<<numVerb) == 0 {
		if m.verb != VerbUnspecified {
			p.setNumber(numVerb, int64(m.verb))
		}
		if m.readOnly {
			p.setNumber(numReadOnly, 1)
		}
	}
	p.prepare()
	w := wrapping{policy: []Option{p}, creates: m.hasObject && p.verb() == VerbCreate}
	if w.creates {
		named := *p
		named.namedCreate = true
		w.named = []Option{&named}
	}
	return w
}

// naming returns the object to create and the options of the call. An object with a
// GenerateName is copied and named.
func naming[A any](a A, w wrapping) (A, []Option) {
	obj, ok := any(a).(Object)
	switch {
	case !ok || isNilValue(obj):
	case obj.GetName() != "":
		return a, w.named
	case obj.GetGenerateName() != "":
		named, err := copyToSend(obj)
		if err != nil {
			return a, w.policy
		}
		named.SetName(generatedName(named.GetGenerateName()))
		if n, ok := any(named).(A); ok {
			return n, w.named
		}
	}
	return a, w.policy
}

// method is what the types of a function tell about it, if it is a method of a typed client
// of client-go or of one generated alike. The zero value tells nothing.
type method struct {
	verb      Verb
	readOnly  bool // it stores nothing, whatever the verb
	hasObject bool // its first argument is the object to create
}

var (
	getOptions    = reflect.TypeFor[metav1.GetOptions]()
	listOptions   = reflect.TypeFor[metav1.ListOptions]()
	createOptions = reflect.TypeFor[metav1.CreateOptions]()
	updateOptions = reflect.TypeFor[metav1.UpdateOptions]()
	applyOptions  = reflect.TypeFor[metav1.ApplyOptions]()
	deleteOptions = reflect.TypeFor[metav1.DeleteOptions]()

	watchInterface = reflect.TypeFor[watch.Interface]()
	object         = reflect.TypeFor[Object]()
)

// method1 is the method with this argument and this result, nil for none.
func method1(argument, result reflect.Type) method {
	switch {
	case argument == listOptions && result == watchInterface:
		return method{verb: VerbWatch}
	case argument == listOptions:
		return method{verb: VerbList}
	case isOfPackage(argument, "k8s.io/api/policy/") && argument.Elem().Name() == "Eviction":
		return method{verb: VerbCreate, hasObject: argument.Implements(object)}
	}
	return method{}
}

// method2 is the method with these arguments.
func method2(first, second reflect.Type) method {
	switch {
	case second == getOptions:
		return method{verb: VerbGet}
	case second == createOptions && (isOfPackage(first, "k8s.io/api/authentication/") || isOfPackage(first, "k8s.io/api/authorization/")):
		return method{readOnly: true}
	case second == createOptions:
		return method{verb: VerbCreate, hasObject: first.Kind() == reflect.Pointer && first.Implements(object)}
	case second == updateOptions:
		return method{verb: VerbUpdate}
	case second == applyOptions:
		return method{verb: VerbApply}
	case second == deleteOptions:
		return method{verb: VerbDelete}
	case first == deleteOptions && second == listOptions:
		return method{verb: VerbDeleteCollection}
	}
	return method{}
}

// isOfPackage reports whether t is a pointer to a type of a package whose path begins so.
func isOfPackage(t reflect.Type, path string) bool {
	return t.Kind() == reflect.Pointer && strings.HasPrefix(t.Elem().PkgPath(), path)
}
