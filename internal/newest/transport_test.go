// SPDX-License-Identifier: Apache-2.0

package newest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// After faults of all kinds the caches of informers are right at most a second and a delay
// of the reflector later than without a Transport.
func TestTransportBelowInformers(t *testing.T) {
	// client-go's handlers of errors share a clock that is not virtual.
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = nil
	defer func() { utilruntime.ErrorHandlers = handlers }()
	for _, faults := range [][]string{
		{},
		{"reset"},
		{"reset", "reset", "reset"},
		{"", "reset"},
		{"", "", "reset"},
		{"", "503", "", "cut", "reset", "cut"},
		{"", "", "cut", "reset", "reset"},
		{"", "", "429", "429"},
		{"429", "503", "reset", "", "", "503", "cut"},
	} {
		t.Run(strings.Join(faults, ","), func(t *testing.T) {
			took := map[bool]time.Duration{}
			for _, wrapped := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					server := &listWatch{faults: faults}
					config := &rest.Config{Host: "https://server", Transport: server, QPS: -1}
					if wrapped {
						config.Wrap(k8sretry.Transport(k8sretry.WithLogger(nil)))
					}
					clientset, err := kubernetes.NewForConfig(config)
					require.NoError(t, err)
					factory := informers.NewSharedInformerFactory(clientset, 0)
					maps := factory.Core().V1().ConfigMaps()
					store := maps.Informer().GetStore()
					ctx, cancel := context.WithCancel(t.Context())
					start := time.Now()
					factory.Start(ctx.Done())
					for {
						o, ok, _ := store.GetByKey("default/a")
						requests := server.seen()
						watching := len(requests) > 0 && requests[len(requests)-1] == "watch "
						if ok && watching && len(store.ListKeys()) == 2 && len(o.(*corev1.ConfigMap).ResourceVersion) == 4 {
							break
						}
						require.Less(t, time.Since(start), 5*time.Minute, "never right: %v", requests)
						testkit.Sleep(10 * time.Millisecond)
					}
					took[wrapped] = time.Since(start)
					cancel()
					factory.Shutdown()
				})
			}
			const secondAndDelay = time.Second + 2*time.Second // the reflector's delay is up to 1.6 s
			assert.LessOrEqual(t, took[true], took[false]+secondAndDelay)
		})
	}
}

// listWatch serves lists and watches. Its n-th request, from 1, fails with the n-th fault.
type listWatch struct {
	faults []string // "" is none; "reset", "503", "429"; "cut" ends a watch after its event

	mu       sync.Mutex
	requests []string
}

func (s *listWatch) RoundTrip(req *http.Request) (*http.Response, error) {
	query := req.URL.Query()
	watch := query.Get("watch") == "true"
	s.mu.Lock()
	n := len(s.requests)
	fault := ""
	if n < len(s.faults) {
		fault = s.faults[n]
	}
	if watch {
		s.requests = append(s.requests, "watch "+fault)
	} else {
		s.requests = append(s.requests, "list "+fault)
	}
	s.mu.Unlock()
	switch {
	case fault == "reset":
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	case fault == "503" || fault == "429":
		code := map[string]int{"503": 503, "429": 429}[fault]
		return answer(req, code, "text/plain", "not now"), nil
	case query.Get("sendInitialEvents") == "true":
		return answer(req, 422, "application/json", `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":"no streaming lists"}`), nil
	case !watch:
		list := &corev1.ConfigMapList{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMapList"},
			ListMeta: metav1.ListMeta{ResourceVersion: fmt.Sprint(100 + n)},
		}
		list.Items = []corev1.ConfigMap{*version("a", 10), *version("b", 20)}
		return answer(req, 200, "application/json", mustJSON(list)), nil
	}
	reader, writer := io.Pipe()
	go func() {
		event := fmt.Sprintf(`{"type":"MODIFIED","object":%s}`+"\n", mustJSON(version("a", 1000+n)))
		_, _ = io.WriteString(writer, event)
		if fault == "cut" {
			_ = writer.CloseWithError(io.ErrUnexpectedEOF)
			return
		}
		<-req.Context().Done()
		_ = writer.CloseWithError(req.Context().Err())
	}()
	resp := answer(req, 200, "application/json", "")
	resp.Body, resp.ContentLength = reader, -1
	return resp, nil
}

func (s *listWatch) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// answer is a response, with a Retry-After if it is a failure.
func answer(req *http.Request, code int, contentType, body string) *http.Response {
	header := http.Header{"Content-Type": {contentType}}
	if code != http.StatusOK {
		header.Set("Retry-After", "1")
	}
	return &http.Response{
		StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

func version(name string, v int) *corev1.ConfigMap {
	m := configMap(name)
	m.APIVersion, m.Kind, m.ResourceVersion = "v1", "ConfigMap", strconv.Itoa(v)
	return m
}

func mustJSON(object any) string {
	text, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return string(text)
}
