// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"runtime"
	"slices"

	"github.com/go-logr/logr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// contextLogger returns a logger that writes to the logr.Logger of the context, which is
// that of the reconcile, or else to the one of log.SetLogger. If there is neither, it returns
// zap.L(), as k8sretry does, or else a logger that writes the calls that gave up to
// slog.Default().
func contextLogger(ctx context.Context) *zap.Logger {
	l := log.FromContext(ctx)
	switch {
	case !discards(l.GetSink()):
		return zap.New(&logrCore{logger: l, from: zapcore.DebugLevel}, zap.AddCaller())
	case zap.L().Core().Enabled(zapcore.ErrorLevel):
		return zap.L()
	}
	return zap.New(&logrCore{logger: logr.FromSlogHandler(slog.Default().Handler()), from: zapcore.ErrorLevel}, zap.AddCaller())
}

// discards reports whether the sink writes nothing because no logger was set. That of
// log.Log writes nothing before log.SetLogger, and becomes a NullLogSink after 30 s.
func discards(sink logr.LogSink) bool {
	if sink == nil {
		return true
	}
	_, isNull := sink.(log.NullLogSink)
	return isNull || reflect.TypeOf(sink) == reflect.TypeOf(log.Log.GetSink())
}

// logrCore is a zapcore.Core that writes to a logr.Logger.
type logrCore struct {
	logger logr.Logger
	from   zapcore.Level // lower levels are not written
	fields []zapcore.Field
}

// Enabled reports whether a line is written. A logr.Logger writes errors whatever its
// verbosity.
func (c *logrCore) Enabled(level zapcore.Level) bool {
	return level >= c.from && (level >= zapcore.ErrorLevel || c.logger.V(verbosity(level)).Enabled())
}

func (c *logrCore) With(fields []zapcore.Field) zapcore.Core {
	return &logrCore{c.logger, c.from, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c *logrCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c *logrCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	// k8sretry has set the caller to the code that makes the call. A logr.Logger takes only how far
	// away that is, for the location and the stack of the line.
	logger := c.logger
	var stack [64]uintptr
	if depth := slices.Index(stack[:runtime.Callers(1, stack[:])], entry.Caller.PC); depth > 0 {
		logger = logger.WithCallDepth(depth)
	}
	var failure error
	values := make([]any, 0, 2*(len(c.fields)+len(fields)))
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		if f.Key == "error" && entry.Level >= zapcore.ErrorLevel {
			failure = errors.New(f.String) // logr writes it as error, too
			continue
		}
		e := zapcore.NewMapObjectEncoder()
		f.AddTo(e)
		values = append(values, f.Key, e.Fields[f.Key])
	}
	if entry.Level >= zapcore.ErrorLevel {
		logger.Error(failure, entry.Message, values...)
		return nil
	}
	logger.V(verbosity(entry.Level)).Info(entry.Message, values...)
	return nil
}

func (*logrCore) Sync() error { return nil }

// verbosity returns the V level of logr. There is none for warnings.
func verbosity(level zapcore.Level) int {
	if level < zapcore.InfoLevel {
		return 1
	}
	return 0
}
