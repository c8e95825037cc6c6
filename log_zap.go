// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/k8sretry/k8sretry/internal/funcname"
)

// WithLogger sets the logger for the events of a call. nil silences them.
// Default: zap.L() at the time of each event, which is silent until a service
// calls zap.ReplaceGlobals.
//
// The event's name is the message; the fields are listed in the package documentation.
// To drop the line for permanent errors (a Get that finds nothing), give a logger that
// starts at warn: logger.WithOptions(zap.IncreaseLevel(zap.WarnLevel)).
func WithLogger(l *zap.Logger) Option {
	if l == nil {
		return loggerOption{}
	}
	return loggerOption{logger{
		enabled: func(_ context.Context, level level) bool { return l.Core().Enabled(zapcore.Level(level)) },
		write:   func(_ context.Context, e *Event) { writeZap(l, e) },
	}}
}

// WithContextLogger sets the logger for the events of a call to the one that from
// returns for the context of the call, so that its lines carry the fields of the request
// or reconcile that the call is part of. If from returns nil, zap.L() is used. Of
// WithLogger and WithContextLogger the later wins. Default: zap.L(). A nil from behaves
// like one that returns nil.
//
// from is called in the goroutine of the call, at most twice for each event and never
// for a success at once. It must be safe for concurrent use.
func WithContextLogger(from func(context.Context) *zap.Logger) Option {
	if from == nil {
		return loggerOption{defaultLogger}
	}
	return loggerOption{logger{
		enabled: func(ctx context.Context, level level) bool {
			return orGlobal(from(ctx)).Core().Enabled(zapcore.Level(level))
		},
		write: func(ctx context.Context, e *Event) { writeZap(orGlobal(from(ctx)), e) },
	}}
}

// defaultLogger is zap.L(), looked up for each event.
var defaultLogger = logger{
	enabled: func(_ context.Context, level level) bool { return zap.L().Core().Enabled(zapcore.Level(level)) },
	write:   func(_ context.Context, e *Event) { writeZap(zap.L(), e) },
}

func orGlobal(l *zap.Logger) *zap.Logger {
	if l == nil {
		return zap.L()
	}
	return l
}

// writeZap writes an event. Logger.Check has a frame of more than a kilobyte, so it is
// called only when the line will be written; see loop.
func writeZap(l *zap.Logger, e *Event) {
	entry := l.Check(zapcore.Level(e.level()), e.Name())
	if entry == nil {
		return
	}
	// The location and the stack are those of the code that makes the call.
	if site, depth := funcname.Site(); site.PC != 0 {
		if entry.Caller.Defined {
			entry.Caller = zapcore.EntryCaller{Defined: true, PC: site.PC, File: site.File, Line: site.Line, Function: site.Function}
		}
		if entry.Stack != "" {
			entry.Stack = zap.StackSkip("", depth).String
		}
	}
	fields := e.fields()
	line := make([]zap.Field, len(fields))
	for i, f := range fields {
		line[i] = zap.Any(f.key, f.value)
	}
	entry.Write(line...)
}
