// SPDX-License-Identifier: Apache-2.0

package k8sretryotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/k8sretry/k8sretry"
)

// Do calls k8sretry.Do. It creates a span for the call, with the given name, and a child
// span "attempt" for each attempt, which is in the context passed to fn.
//
//	pods, err := k8sretryotel.Do(ctx, observer, "list pods", func(ctx context.Context) (*corev1.PodList, error) {
//		return clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
//	}, k8sretry.ForRead())
//
// The events of the call are added to its span. The [Observer] replaces any other in opts.
// The name, which replaces a WithName in opts, is also the function in errors, logs and
// metrics, so it must not contain names of objects. The span of a call or an attempt that
// failed has the status Error with the text of the error, and the attributes of the
// failure.
//
// Do returns an error if name is empty. With a nil Observer it creates no spans.
//
// For spans of the HTTP requests of client-go, including those of safe writes, use an
// instrumented RoundTripper below a k8sretry.Transport: call config.Wrap(instrumented)
// before config.Wrap(k8sretry.Transport(...)).
func Do[T any](ctx context.Context, o *Observer, name string, fn func(context.Context) (T, error), opts ...k8sretry.Option) (T, error) {
	if name == "" {
		var zero T
		return zero, errors.New("k8sretryotel: the name of the call is empty")
	}
	opts = append(opts[:len(opts):len(opts)], k8sretry.WithName(name))
	if ctx == nil || fn == nil || o == nil || o.tracer == nil {
		return k8sretry.Do(ctx, fn, opts...)
	}
	ctx, span := o.tracer.Start(ctx, name)
	defer span.End() // fn may panic
	last := &lastEvent{Observer: o}
	attempts := 0
	v, err := k8sretry.Do(ctx, func(ctx context.Context) (T, error) {
		attempts++
		ctx, span := o.tracer.Start(ctx, "attempt", trace.WithAttributes(keyAttempt.Int(attempts)))
		defer span.End()
		v, err := fn(ctx)
		if err != nil && span.IsRecording() {
			verdict := k8sretry.Classify(err)
			fail(span, &k8sretry.Event{Class: verdict.Class, Outcome: verdict.Outcome, StatusCode: verdict.StatusCode}, err)
		}
		return v, err
	}, append(opts, k8sretry.WithObserver(last))...)
	if span.IsRecording() {
		last.finish(span, err)
	}
	return v, err
}

// Run is like [Do] for a function that returns only an error.
func Run(ctx context.Context, o *Observer, name string, fn func(context.Context) error, opts ...k8sretry.Option) error {
	if fn == nil {
		_, err := Do[struct{}](ctx, o, name, nil, opts...)
		return err
	}
	_, err := Do(ctx, o, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) }, opts...)
	return err
}

// lastEvent is an Observer that stores the event of the end of a call.
type lastEvent struct {
	*Observer
	event k8sretry.Event
}

func (l *lastEvent) Observe(ctx context.Context, e k8sretry.Event) {
	l.Observer.Observe(ctx, e)
	if e.Kind == k8sretry.EventSuccess || e.Kind == k8sretry.EventFailure {
		l.event = e
	}
}

// finish sets the attributes and the status of the span of the call. There is no event if an
// option is invalid.
func (l *lastEvent) finish(span trace.Span, err error) {
	s := make(set, 0, 3)
	s.text(keyVerb, l.event.Verb.String())
	s.number(keyAttempt, l.event.Attempt)
	s.text(keyStopReason, l.event.StopReason.String())
	span.SetAttributes(s...)
	if err != nil {
		fail(span, &l.event, err)
	}
}

// fail sets the status of a span and the attributes of its failure.
func fail(span trace.Span, e *k8sretry.Event, err error) {
	s := make(set, 0, 4)
	if e.Class != k8sretry.ClassNone {
		s.failure(e)
	}
	span.SetAttributes(s...)
	span.SetStatus(codes.Error, text(err))
}
