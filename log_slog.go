// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"log/slog"
	"time"

	"github.com/k8sretry/k8sretry/internal/funcname"
)

// SlogObserver returns an [Observer] that writes the events of calls to l: the same
// names, levels and fields as on the lines of [WithLogger]. The handler gets the
// caller's context. nil writes nothing. It is safe for concurrent use.
//
// It does not replace the zap logger, which is silent only as long as the service has not
// set the global one. WithLogger(nil) keeps each event from being logged twice:
//
//	policy := k8sretry.NewPolicy(k8sretry.WithObserver(k8sretry.SlogObserver(logger)), k8sretry.WithLogger(nil))
func SlogObserver(l *slog.Logger) Observer {
	return slogObserver(func(context.Context) *slog.Logger { return l })
}

// ContextSlogObserver is [SlogObserver] for the logger that from returns for the context
// of the call, such as logr.FromContextAsSlogLogger, which finds that of a reconcile.
// If from returns nil, slog.Default() is used. A nil from behaves like one that returns
// nil.
//
// from is called in the goroutine of the call, once for each event but a success at
// once. It must be safe for concurrent use.
func ContextSlogObserver(from func(context.Context) *slog.Logger) Observer {
	return slogObserver(func(ctx context.Context) *slog.Logger {
		if from != nil {
			if l := from(ctx); l != nil {
				return l
			}
		}
		return slog.Default()
	})
}

// slogObserver finds the logger of a context, nil for none.
type slogObserver func(context.Context) *slog.Logger

func (o slogObserver) Observe(ctx context.Context, e Event) {
	name := e.Name()
	if name == "" {
		return
	}
	severity := slog.Level(4 * e.level())
	l := o(ctx)
	if l == nil || !l.Enabled(ctx, severity) {
		return
	}
	fields := e.fields()
	// The source is the code that makes the call. LogAttrs would take this function.
	site, _ := funcname.Site()
	record := slog.NewRecord(time.Now(), severity, name, site.PC)
	for _, f := range fields {
		record.AddAttrs(slog.Any(f.key, f.value))
	}
	_ = l.Handler().Handle(ctx, record) // as LogAttrs, which drops the error, too
}
