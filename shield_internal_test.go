package k8sretry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

func ofSocket(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, errno)}
}

// fromClient is an error as client-go sees it.
func fromClient(err error) error {
	return &url.Error{Op: "Get", URL: "https://server/api/v1/pods", Err: err}
}

// repeatedByClientGo is what client-go asks (k8s.io/client-go/rest/request.go).
func repeatedByClientGo(err error, watch bool) bool {
	if watch {
		return utilnet.IsProbableEOF(err) || utilnet.IsTimeout(err)
	}
	return utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) || utilnet.IsHTTP2ConnectionLost(err)
}

// Under the shield, client-go recognises none of the errors that it would repeat a
// GET after; everybody else does, and once it is off, client-go's helpers, too.
func TestShield(t *testing.T) {
	reset := ofSocket("read", syscall.ECONNRESET)
	gaveUp := &Error{Function: "get pods", Attempts: 4, StopReason: StopMaxRetries, Err: reset}
	for _, c := range []struct {
		situation string
		err       error
		watchOnly bool
	}{
		{"reset", reset, false},
		{"reset, given up", gaveUp, false},
		{"EOF", io.EOF, false},
		{"unexpected EOF", io.ErrUnexpectedEOF, false},
		{"closed", &net.OpError{Op: "write", Net: "tcp", Err: net.ErrClosed}, false},
		{"GOAWAY", errors.New(`http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=""`), false},
		{"ping lost", errors.New("http2: client connection lost"), false},
		{"broken connection", errors.New("http: can't write HTTP request on broken connection"), false},
		{"timeout", os.ErrDeadlineExceeded, true},
	} {
		for _, watch := range []bool{false, true} {
			t.Run(fmt.Sprint(c.situation, ", watch ", watch), func(t *testing.T) {
				if c.watchOnly && !watch {
					assert.Same(t, gaveUp, shield(gaveUp, &request{}, http.MethodPost))
					assert.Equal(t, c.err, shield(c.err, &request{}, http.MethodGet))
					return
				}
				plain := fromClient(c.err)
				err := fromClient(shield(c.err, &request{watch: watch}, http.MethodGet))
				assert.False(t, repeatedByClientGo(err, watch))
				assert.ErrorIs(t, err, c.err)
				assert.Equal(t, errors.Is(plain, syscall.ECONNRESET), errors.Is(err, syscall.ECONNRESET))
				assert.Equal(t, errors.Is(plain, net.ErrClosed), errors.Is(err, net.ErrClosed))
				var op, wantOp *net.OpError
				assert.Equal(t, errors.As(plain, &wantOp), errors.As(err, &op))
				assert.Equal(t, wantOp, op)

				for name, bare := range map[string]error{
					"as it is":  unshield(err),
					"wrapped":   unshield(fmt.Errorf("getting: %w", err)),
					"joined":    unshield(errors.Join(io.ErrNoProgress, err)),
					"aggregate": unshield(utilerrors.NewAggregate([]error{err})),
				} {
					if name != "aggregate" { // into which nobody looks
						assert.Equal(t, utilnet.IsConnectionReset(plain), utilnet.IsConnectionReset(bare), name)
						assert.Equal(t, utilnet.IsTimeout(plain), utilnet.IsTimeout(bare), name)
					}
				}
				assert.EqualError(t, unshield(err), plain.Error())
				assert.Equal(t, repeatedByClientGo(plain, watch), repeatedByClientGo(unshield(fromClient(shield(c.err, &request{watch: watch}, http.MethodGet))), watch))
				assert.Equal(t, Classify(plain), Classify(unshield(err)))
			})
		}
	}
}

// What client-go does not repeat stays as it is, above all what reflectors ask for.
func TestWithoutShield(t *testing.T) {
	for _, err := range []error{
		ofSocket("dial", syscall.ECONNREFUSED), context.Canceled, errors.New("tls: bad certificate"), nil,
	} {
		assert.Equal(t, err, shield(err, &request{}, http.MethodGet))
		assert.Equal(t, err, shield(err, &request{watch: true}, http.MethodGet))
	}
	assert.Equal(t, io.EOF, shield(io.EOF, &request{}, http.MethodPost), "client-go repeats only GETs")
}

func TestShieldLetsOtherErrnosThrough(t *testing.T) {
	err := fromClient(shield(&Error{Err: errors.Join(ofSocket("dial", syscall.ECONNREFUSED), io.EOF, errors.New("connection reset by peer"))}, &request{}, http.MethodGet))
	assert.False(t, repeatedByClientGo(err, false))
	assert.True(t, utilnet.IsConnectionRefused(err))
	var temporary interface{ Temporary() bool }
	require.ErrorAs(t, err, &temporary)
	assert.False(t, temporary.Temporary())
}

func TestRetryAfterIsRead(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "-1": 0, "1": time.Second, "30": 30 * time.Second, "1.5": 0, "soon": 0,
		"9223372036854775807":           9223372036 * time.Second,
		"99999999999999999999":          9223372036 * time.Second,
		"-99999999999999999999":         0,
		"Wed, 21 Oct 2015 07:28:00 GMT": 0,
	} {
		assert.Equal(t, want, retryAfterIn(http.Header{"Retry-After": {text}}), text)
	}
	date := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	assert.InDelta(t, time.Minute, retryAfterIn(http.Header{"Retry-After": {date}}), float64(2*time.Second))
}

// Who looks at a Transport's error outside of a Do gets the same verdict as without one.
func TestClassifyLooksBehindTheShield(t *testing.T) {
	reset := ofSocket("read", syscall.ECONNRESET)
	shielded := shield(reset, &request{verb: VerbGet}, http.MethodGet)
	require.NotEqual(t, reset, shielded, "a reset GET is shielded")
	assert.True(t, IsRetryableConnectionError(fromClient(shielded)))
	assert.Equal(t, Classify(fromClient(reset)), Classify(fromClient(shielded)))
}
