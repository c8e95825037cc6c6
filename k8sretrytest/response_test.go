// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// objects returns the names of the objects that the server has stored.
func (s served) objects(t *testing.T) (names []string) {
	t.Helper()
	list, err := s.fake.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, m := range list.Items {
		names = append(names, m.Name)
	}
	return names
}

// A client that expects no object takes a login page for a success.
func TestALoginPageIsASuccessWithoutAnObject(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		_, err := s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		require.NoError(t, err)
		page := k8sretrytest.LoginPage()
		assert.Equal(t, 200, page.Code)
		assert.Equal(t, "text/html; charset=utf-8", page.Header.Get("Content-Type"))
		s.faults.RespondNext(3, "*", "*", page)
		require.NoError(t, s.maps().Delete(t.Context(), "a", metav1.DeleteOptions{}))
		require.NoError(t, s.client.CoreV1().Pods("default").EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "web-0"}}))
		_, err = s.maps().Create(t.Context(), configMap("b"), metav1.CreateOptions{})
		assert.Error(t, err, "a page is no object")
		assert.Equal(t, []string{"a"}, s.objects(t), "nothing has reached the server")
	})
}

// After some redirects net/http sends a GET in place of a write, and its success becomes that
// of the write.
func TestARedirectLosesAWrite(t *testing.T) {
	const elsewhere = "/api/v1/namespaces/default/configmaps/elsewhere"
	cases := map[int]struct {
		sent    string // to the new location
		deleted bool
	}{
		301: {"get", false}, 302: {"get", false}, 303: {"get", false},
		307: {"delete", true}, 308: {"delete", true},
	}
	for code, c := range cases {
		overWire(t, func(t *testing.T, s served) {
			for _, name := range []string{"a", "elsewhere"} {
				_, err := s.maps().Create(t.Context(), configMap(name), metav1.CreateOptions{})
				require.NoError(t, err)
			}
			s.faults.RespondNext(1, "delete", "configmaps", k8sretrytest.Redirect(code, elsewhere))
			before := s.faults.Calls(c.sent, "configmaps")
			require.NoError(t, s.maps().Delete(t.Context(), "a", metav1.DeleteOptions{}), "%d", code)
			assert.Greater(t, s.faults.Calls(c.sent, "configmaps"), before)
			want := []string{"a", "elsewhere"}
			if c.deleted {
				want = []string{"a"}
			}
			assert.Equal(t, want, s.objects(t), "%d", code)
		})
	}
	assert.Panics(t, func() { k8sretrytest.Redirect(304, elsewhere) })
}

// client-go repeats a create that the server has carried out, and the caller gets a success.
func TestClientGoRepeatsAStoredWriteUnseen(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		s.faults.ReplaceResponses(1, "create", "configmaps", k8sretrytest.RetryNow())
		_, err := s.maps().Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-"}}, metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Len(t, s.objects(t), 2)
		assert.Equal(t, 2, s.faults.Calls("create", "configmaps"))
	})
}

// After "Connection: close" the repetition needs a new connection, which may fail. HTTP/2 has
// no such header.
func TestTheRepetitionNeedsAnotherConnection(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		if s.protocol == "h2" {
			return
		}
		s.faults.ReplaceResponses(1, "create", "configmaps", k8sretrytest.RetryNow())
		s.faults.AfterNext(1, "create", "configmaps", func() { s.FailConnections(1, errFault) })
		_, err := s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		assert.ErrorIs(t, err, errFault)
		assert.Equal(t, []string{"a"}, s.objects(t), "the first request was carried out")
		assert.Equal(t, 2, s.Connections())
	})
}

// A RoundTripper above sees the response as net/http returns it.
func TestAResponseIsComplete(t *testing.T) {
	var faults k8sretrytest.Faults
	sent := k8sretrytest.Response{Code: 503, Header: http.Header{"Connection": {"close"}, "X-Proxy": {"a"}}, Body: "busy"}
	faults.RespondNext(1, "get", "pods", sent)
	faults.RespondNext(1, "get", "pods", k8sretrytest.Response{Code: 502})
	transport := faults.Transport(nil)
	get := func() *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://in.memory/api/v1/namespaces/default/pods/web-0", nil)
		require.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		require.NoError(t, err)
		return resp
	}
	resp := get()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "busy", string(body))
	assert.Equal(t, []any{503, "503 Service Unavailable", int64(4), true, sent.Header},
		[]any{resp.StatusCode, resp.Status, resp.ContentLength, resp.Close, resp.Header})
	resp.Header.Set("X-Proxy", "b")
	assert.Equal(t, "a", sent.Header.Get("X-Proxy"), "the header is a copy")
	resp = get()
	assert.NotNil(t, resp.Header)
	assert.False(t, resp.Close)
}

// A fake clientset has no responses.
func TestFakesPassOverResponses(t *testing.T) {
	cs := fake.NewClientset(configMap("a"))
	var faults k8sretrytest.Faults
	faults.Install(&cs.Fake)
	faults.RespondNext(1, "get", "configmaps", k8sretrytest.LoginPage())
	faults.FailNext(1, "get", "configmaps", errFault)
	assert.ErrorIs(t, get(cs), errFault, "the next rule decides")
	require.NoError(t, get(cs))
}
