package k8sretry

import (
	"context"
	"reflect"
)

// Wrap returns a function that calls fn as [Do] does. The options are read once, by Wrap;
// an invalid option and a nil fn are the error of each call. The returned function is as
// safe for concurrent use as fn, and keeps nothing from one call to the next.
func Wrap[T any](fn func(context.Context) (T, error), opts ...Option) func(context.Context) (T, error) {
	policy := wrapped(reflect.ValueOf(fn), opts)
	return func(ctx context.Context) (T, error) { return call(ctx, fn, policy) }
}

// Wrap1 is [Wrap] for a function of one argument, such as the List of a typed client or a
// method of a service:
//
//	list := k8sretry.Wrap1(clientset.CoreV1().Pods("default").List, k8sretry.ForRead())
func Wrap1[A, T any](fn func(context.Context, A) (T, error), opts ...Option) func(context.Context, A) (T, error) {
	policy := wrapped(reflect.ValueOf(fn), opts)
	return func(ctx context.Context, a A) (T, error) {
		return call(ctx, func(ctx context.Context) (T, error) { return fn(ctx, a) }, policy)
	}
}

// Wrap2 is [Wrap] for a function of two arguments, such as the Get, Create and
// Update of a typed client:
//
//	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead())
//	pod, err := get(ctx, "web-0", metav1.GetOptions{})
func Wrap2[A, B, T any](fn func(context.Context, A, B) (T, error), opts ...Option) func(context.Context, A, B) (T, error) {
	policy := wrapped(reflect.ValueOf(fn), opts)
	return func(ctx context.Context, a A, b B) (T, error) {
		return call(ctx, func(ctx context.Context) (T, error) { return fn(ctx, a, b) }, policy)
	}
}

// WrapRun is [Wrap] for a function that returns only an error.
func WrapRun(fn func(context.Context) error, opts ...Option) func(context.Context) error {
	policy := wrapped(reflect.ValueOf(fn), opts)
	return func(ctx context.Context) error {
		_, err := call(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) }, policy)
		return err
	}
}

// WrapRun1 is [WrapRun] for a function of one argument.
func WrapRun1[A any](fn func(context.Context, A) error, opts ...Option) func(context.Context, A) error {
	policy := wrapped(reflect.ValueOf(fn), opts)
	return func(ctx context.Context, a A) error {
		_, err := call(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx, a) }, policy)
		return err
	}
}

// WrapRun2 is [WrapRun] for a function of two arguments, such as the Delete of a
// typed client.
func WrapRun2[A, B any](fn func(context.Context, A, B) error, opts ...Option) func(context.Context, A, B) error {
	policy := wrapped(reflect.ValueOf(fn), opts)
	return func(ctx context.Context, a A, b B) error {
		_, err := call(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx, a, b) }, policy)
		return err
	}
}

// wrapped makes a Policy of the options of a wrapped function, which also knows the
// function.
func wrapped(fn reflect.Value, opts []Option) []Option {
	p := NewPolicy(opts...)
	if fn.IsNil() {
		p.reject(nilFunc)
	} else {
		p.pc = fn.Pointer()
	}
	p.prepare()
	return []Option{p}
}
