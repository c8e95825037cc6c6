package k8sretry

import (
	"bytes"
	"io"
	"log/slog"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Whatever fields an Event has and will have, all of them at once and for each kind:
// what zap writes, slog writes.
func TestSlogHasEveryField(t *testing.T) {
	drop := func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey, slog.MessageKey, slog.LevelKey:
			return slog.Attr{}
		}
		return a
	}
	for kind := range EventKind(16) {
		for stop := range StopReason(len(stops) + 1) {
			e := Event{Err: io.ErrUnexpectedEOF}
			fill(reflect.ValueOf(&e).Elem())
			e.Kind, e.StopReason = kind, stop

			var want, got bytes.Buffer
			writeZap(zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(&want), zapcore.DebugLevel)), &e)
			SlogObserver(slog.New(slog.NewJSONHandler(&got, &slog.HandlerOptions{ReplaceAttr: drop}))).Observe(t.Context(), e)
			if e.Name() == "" {
				continue
			}
			assert.JSONEq(t, want.String(), got.String(), "kind %d, stop %d", kind, stop)
		}
	}
}

// fill sets the numbers and texts of an event to something that is seen in a line.
func fill(event reflect.Value) {
	for i := range event.NumField() {
		switch f := event.Field(i); f.Kind() {
		case reflect.Int, reflect.Int64:
			f.SetInt(int64(i+1) * 1_100_000_000)
		case reflect.Uint8:
			f.SetUint(1)
		case reflect.String:
			f.SetString(event.Type().Field(i).Name)
		}
	}
}
