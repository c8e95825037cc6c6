package k8sretry_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

// frames is a server that speaks HTTP/2 frame by frame. It counts the requests that
// reach it, also those that a library repeats by itself.
type frames struct {
	requests atomic.Int32
	cfg      *rest.Config
}

// frameServer answers the n-th request as handle says, with frames on the stream.
func frameServer(t *testing.T, handle func(f *http2.Framer, conn net.Conn, stream uint32, n int)) *frames {
	t.Helper()
	certificates := httptest.NewUnstartedServer(nil)
	certificates.StartTLS()
	a := &api{Server: certificates}
	s := &frames{cfg: a.config()}
	certificate := certificates.TLS.Certificates[0]
	certificates.Close()

	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}})
	require.NoError(t, err)
	s.cfg.Host = "https://" + listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { _ = conn.Close() })
			go s.serve(conn, handle)
		}
	}()
	return s
}

func (s *frames) serve(conn net.Conn, handle func(*http2.Framer, net.Conn, uint32, int)) {
	defer conn.Close()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := conn.Read(preface); err != nil {
		return
	}
	f := http2.NewFramer(conn, conn)
	_ = f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			handle(f, conn, frame.StreamID, int(s.requests.Add(1)))
		}
	}
}

// found answers a request with an object.
func found(f *http2.Framer, stream uint32) {
	var head bytes.Buffer
	e := hpack.NewEncoder(&head)
	_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = e.WriteField(hpack.HeaderField{Name: "content-type", Value: "application/json"})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true})
	_ = f.WriteData(stream, true, mustJSON(settings("a")))
}

// HTTP/2 repeats a request by itself, up to seven times or without end. The server
// sees no more sends than the policy allows all the same.
func TestPersistentHTTP2Refusals(t *testing.T) {
	for _, c := range []struct {
		situation string
		handle    func(f *http2.Framer, conn net.Conn, stream uint32, n int)
		executed  bool // possibly
	}{
		{"REFUSED_STREAM", func(f *http2.Framer, _ net.Conn, stream uint32, _ int) {
			_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		}, false},
		{"graceful GOAWAY below the stream", func(f *http2.Framer, _ net.Conn, _ uint32, _ int) {
			_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
		}, false},
		{"GOAWAY with an error below the stream", func(f *http2.Framer, conn net.Conn, _ uint32, _ int) {
			_ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil)
			_ = conn.Close()
		}, false},
		{"GOAWAY above the stream, then closed", func(f *http2.Framer, conn net.Conn, stream uint32, _ int) {
			_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
			_ = conn.Close()
		}, true},
		{"stream reset", func(f *http2.Framer, _ net.Conn, stream uint32, _ int) {
			_ = f.WriteRSTStream(stream, http2.ErrCodeInternal)
		}, true},
	} {
		for _, verb := range []string{"get", "create", "update"} {
			for _, around := range []bool{false, true} {
				name := c.situation + ", " + verb
				if around {
					name += ", in a Do"
				}
				t.Run(name, func(t *testing.T) {
					server := frameServer(t, c.handle)
					call := func(ctx context.Context, opts ...k8sretry.Option) error {
						client := clientset(t, server.cfg, wrapper(t, opts...))
						maps := client.CoreV1().ConfigMaps("default")
						do := func(ctx context.Context) (err error) {
							switch verb {
							case "get":
								_, err = maps.Get(ctx, "a", metav1.GetOptions{})
							case "create":
								_, err = maps.Create(ctx, settings("a"), metav1.CreateOptions{})
							default:
								_, err = maps.Update(ctx, settings("a"), metav1.UpdateOptions{})
							}
							return err
						}
						if !around {
							return do(ctx)
						}
						verbs := map[string]k8sretry.Verb{"get": k8sretry.VerbGet, "create": k8sretry.VerbCreate, "update": k8sretry.VerbUpdate}
						return k8sretry.Run(ctx, do, append(opts, k8sretry.WithVerb(verbs[verb]))...)
					}
					start := time.Now()
					err := call(t.Context(), quickly, k8sretry.WithMaxRetries(1))
					require.Error(t, err)
					assert.Less(t, time.Since(start), 5*time.Second)
					want := 2
					if c.executed && verb == "create" {
						want = 1
					}
					assert.EqualValues(t, want, server.requests.Load(), err)
					if c.executed && verb != "get" {
						assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
					} else {
						assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
					}
				})
			}
		}
	}
}

// A server that takes leave now and then, as kube-apiserver does, costs no wait: the
// request goes out on another connection at once.
func TestGoAwayNowAndThen(t *testing.T) {
	server := frameServer(t, func(f *http2.Framer, _ net.Conn, stream uint32, n int) {
		if n == 1 {
			_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
			return
		}
		found(f, stream)
	})
	rec := new(recorder)
	client := clientset(t, server.cfg, wrapper(t, k8sretry.WithInitialDelay(time.Hour), k8sretry.WithMaxDelay(time.Hour), k8sretry.WithObserver(rec)))
	require.NoError(t, get(t.Context(), client))
	assert.EqualValues(t, 2, server.requests.Load())
	assert.Equal(t, k8sretry.EventSuccess, rec.last(t).Kind)
}
