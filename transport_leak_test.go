package k8sretry_test

import (
	"context"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// A controller's calls all run under one context, which ends with the process.
func TestTransportsAttemptTimeoutLeavesNothingBehind(t *testing.T) {
	for name, opts := range map[string][]k8sretry.Option{"without": nil, "with": {k8sretry.WithAttemptTimeout(time.Hour)}} {
		t.Run(name, func(t *testing.T) {
			body := string(mustJSON(settings("x")))
			c := over(t, func(req *http.Request) (*http.Response, error) {
				return answer(req, 200, "application/json", body), nil
			}, wrapper(t, opts...))
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			heap := func(calls int) uint64 {
				for range calls {
					_, err := c.CoreV1().ConfigMaps("default").Get(ctx, "x", metav1.GetOptions{})
					require.NoError(t, err)
				}
				collect()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap(100)
			after := heap(5000)
			t.Log(before, after, (int64(after)-int64(before))/5000, "bytes a call")
			assert.Less(t, after, before+5000*100)
			runtime.KeepAlive(ctx)
		})
	}
}
