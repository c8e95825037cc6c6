package k8sretryotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/k8sretry/k8sretry"
)

// Do is k8sretry.Do with a span for the call, named name, and in it one for each attempt,
// named "attempt". The context that fn gets holds the span of the attempt.
//
//	pods, err := k8sretryotel.Do(ctx, observer, "list pods", func(ctx context.Context) (*corev1.PodList, error) {
//		return clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
//	}, k8sretry.ForRead())
//
// The span of the call has the events of the [Observer], which takes the place of any
// other in opts. name is also the function in errors, logs and metrics: it must not hold
// names of objects. A span of a call or an attempt that failed has the status Error, with
// the text of the error, and the attributes that tell what it means.
//
// An empty name is an error. With a nil Observer it is k8sretry.Do with a name.
//
// For spans of the HTTP requests that client-go makes, those of safe writes included, put
// an instrumented RoundTripper below a k8sretry.Transport: config.Wrap(instrumented) and
// then config.Wrap(k8sretry.Transport(...)).
func Do[T any](ctx context.Context, o *Observer, name string, fn func(context.Context) (T, error), opts ...k8sretry.Option) (T, error) {
	if name == "" {
		var none T
		return none, errors.New("k8sretryotel: the name of the call is empty")
	}
	opts = append(opts[:len(opts):len(opts)], k8sretry.WithName(name))
	if ctx == nil || fn == nil || o == nil || o.tracer == nil {
		return k8sretry.Do(ctx, fn, opts...)
	}
	ctx, span := o.tracer.Start(ctx, name)
	defer span.End() // also when fn panics
	seen := &lastEvent{Observer: o}
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
	}, append(opts, k8sretry.WithObserver(seen))...)
	if span.IsRecording() {
		seen.finish(span, err)
	}
	return v, err
}

// Run is [Do] for a function without a value.
func Run(ctx context.Context, o *Observer, name string, fn func(context.Context) error, opts ...k8sretry.Option) error {
	if fn == nil {
		_, err := Do[struct{}](ctx, o, name, nil, opts...)
		return err
	}
	_, err := Do(ctx, o, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) }, opts...)
	return err
}

// lastEvent keeps the event that a call ends with.
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

// finish tells the span of the call how it ended. There was no event if the options made
// no sense.
func (l *lastEvent) finish(span trace.Span, err error) {
	s := make(set, 0, 3)
	s.text(keyVerb, l.event.Verb.String())
	s.number(keyAttempt, l.event.Attempt)
	s.text(keyStop, l.event.StopReason.String())
	span.SetAttributes(s...)
	if err != nil {
		fail(span, &l.event, err)
	}
}

// fail tells a span what it ended with.
func fail(span trace.Span, e *k8sretry.Event, err error) {
	s := make(set, 0, 4)
	if e.Class != k8sretry.ClassNone {
		s.failure(e)
	}
	span.SetAttributes(s...)
	span.SetStatus(codes.Error, text(err))
}
