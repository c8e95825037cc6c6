// SPDX-License-Identifier: Apache-2.0

package k8sretryotel_test

import (
	"context"
	"fmt"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryotel"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// An Observer may be used by all policies of a program. Without options it uses the global
// providers.
func ExampleNew() {
	observer, err := k8sretryotel.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithName("find pod"), k8sretry.WithObserver(observer))

	_, err = k8sretry.Do(context.Background(), func(context.Context) (string, error) {
		return "", k8sretrytest.Status(404)
	}, policy)
	fmt.Println(err)
	// Output: the server could not find the requested resource (put pods web-0)
}

// Each attempt has a span, which is a child of the span of the call.
func ExampleDo() {
	spans := tracetest.NewInMemoryExporter()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	observer, err := k8sretryotel.New(k8sretryotel.WithTracerProvider(tracers))
	if err != nil {
		fmt.Println(err)
		return
	}

	attempts := 0
	pod, err := k8sretryotel.Do(context.Background(), observer, "find pod", func(context.Context) (string, error) {
		if attempts++; attempts == 1 {
			return "", k8sretrytest.Status(503)
		}
		return "web-0", nil
	}, k8sretry.ForRead(), k8sretry.WithInitialDelay(0))

	fmt.Println(pod, err)
	for _, span := range spans.GetSpans() {
		fmt.Println(span.Name, span.Status.Code)
	}
	// Output:
	// web-0 <nil>
	// attempt Error
	// attempt Unset
	// find pod Unset
}
