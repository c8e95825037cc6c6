package k8sretry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

// A function of two clients, of which one has a Transport: it does not see what the other
// one sends.
func TestHalfOfTheClientsHaveATransport(t *testing.T) {
	for name, c := range map[string]struct {
		fail func(w http.ResponseWriter)
		gone bool // nobody listens
	}{
		"then 429":     {fail: func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) }},
		"then refused": {gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			first := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, _ int) { write(w, 201, settings("a")) })
			second := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, _ int) { c.fail(w) })
			if c.gone {
				second.Close()
			}
			without, with := clientset(t, first.config()), clientset(t, second.config(), wrapper(t, quickly))
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
				if _, err := without.CoreV1().ConfigMaps("default").Create(ctx, configMap("a"), metav1.CreateOptions{}); err != nil {
					return err
				}
				_, err := with.CoreV1().ConfigMaps("default").Create(ctx, configMap("b"), metav1.CreateOptions{})
				return err
			}, quickly, k8sretry.WithVerb(k8sretry.VerbCreate))
			require.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.EqualValues(t, 1, first.sends.Load())
		})
	}
	t.Run("one client, whatever net/http repeats", func(t *testing.T) {
		s := serve(t, protoHTTP1, func(w http.ResponseWriter, _ *http.Request, n int) {
			if n == 1 {
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			write(w, 201, settings("a"))
		})
		client := clientset(t, s.config(), wrapper(t, quickly))
		err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
			_, err := client.CoreV1().ConfigMaps("default").Create(ctx, configMap("a"), metav1.CreateOptions{})
			return err
		}, quickly, k8sretry.WithVerb(k8sretry.VerbCreate))
		require.NoError(t, err)
		assert.EqualValues(t, 2, s.sends.Load())
	})
}

// A wait that no integer holds is the longest of all.
func TestRetryAfterBeyondAllIntegers(t *testing.T) {
	for _, header := range []string{"2147483648", "9223372036854775807", "9223372036854775808", strings.Repeat("9", 400)} {
		t.Run(header[:min(len(header), 20)], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sends := 0
				client := over(t, func(req *http.Request) (*http.Response, error) {
					sends++
					return answer(req, 429, "text/plain", "too many", "Retry-After", header), nil
				}, wrapper(t, k8sretry.WithLogger(nil)))
				start := time.Now()
				_, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "a", metav1.GetOptions{})
				assert.True(t, apierrors.IsTooManyRequests(err), "%v", err)
				assert.Equal(t, 1, sends, "nobody waits for that long")
				assert.Zero(t, time.Since(start))
			})
		})
	}
}

// A deletion and an eviction say in their bodies that they are a dry run, and are then
// repeated, whatever became of them.
func TestDryRunInTheBody(t *testing.T) {
	dry := metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}
	for name, c := range map[string]struct {
		opts  metav1.DeleteOptions
		sends int
	}{
		"a dry run": {dry, 4}, "none": {metav1.DeleteOptions{}, 1},
	} {
		for _, contentType := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
			t.Run(name+" in "+contentType, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sends := 0
					config := &rest.Config{Host: "https://server", Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
						sends++
						return answer(req, 504, "text/plain", "timeout"), nil
					}), ContentConfig: rest.ContentConfig{ContentType: contentType}}
					client := clientset(t, config, wrapper(t, k8sretry.WithLogger(nil)))

					err := client.CoreV1().Pods("default").DeleteCollection(t.Context(), c.opts, metav1.ListOptions{})
					assert.True(t, apierrors.IsTimeout(err), "%v", err)
					assert.Equal(t, c.sends, sends)

					sends = 0
					err = client.CoreV1().Pods("default").EvictV1(t.Context(), &policyv1.Eviction{
						ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default"}, DeleteOptions: &c.opts,
					})
					assert.True(t, apierrors.IsTimeout(err), "%v", err)
					assert.Equal(t, c.sends, sends)
				})
			})
		}
	}
}

// The server deletes the objects of a collection one by one. What stops it at one says
// nothing of those before.
func TestDeleteCollectionMayStopInTheMiddle(t *testing.T) {
	const rbac = `pods is forbidden: User "bob" cannot deletecollection resource "pods" in API group "" in the namespace "default"`
	const webhook = `admission webhook "keep.example.com" denied the request: not this one`
	for name, c := range map[string]struct {
		code    int
		reason  metav1.StatusReason
		message string
		is      func(error) bool
		unknown bool
		sends   int
	}{
		"a webhook denies one":             {403, metav1.StatusReasonForbidden, webhook, apierrors.IsForbidden, true, 1},
		"a webhook denies one with 400":    {400, metav1.StatusReasonBadRequest, webhook, apierrors.IsBadRequest, true, 1},
		"a webhook cannot be called":       {500, metav1.StatusReasonInternalError, `Internal error occurred: failed calling webhook "keep.example.com": EOF`, apierrors.IsInternalError, true, 1},
		"an admission plugin forbids one":  {403, metav1.StatusReasonForbidden, `pods "a" is forbidden: node "n" can only delete pods with spec.nodeName set to itself`, apierrors.IsForbidden, true, 1},
		"a policy denies one":              {422, metav1.StatusReasonInvalid, `pods "a" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no`, apierrors.IsInvalid, true, 1},
		"one has another UID":              {409, metav1.StatusReasonConflict, "Precondition failed: UID in precondition: 1, UID in object meta: 2", apierrors.IsConflict, true, 1},
		"etcd is busy":                     {500, "", "etcdserver: too many requests", apierrors.IsInternalError, true, 1},
		"RBAC allows none":                 {403, metav1.StatusReasonForbidden, rbac, apierrors.IsForbidden, false, 1},
		"not authenticated":                {401, metav1.StatusReasonUnauthorized, "Unauthorized", apierrors.IsUnauthorized, false, 1},
		"a selector that cannot be parsed": {400, metav1.StatusReasonBadRequest, "unable to parse", apierrors.IsBadRequest, false, 1},
		"overload":                         {429, metav1.StatusReasonTooManyRequests, "too many requests", apierrors.IsTooManyRequests, false, 4},
		"the server shuts down":            {503, metav1.StatusReasonServiceUnavailable, "apiserver is shutting down", apierrors.IsServiceUnavailable, false, 4},
	} {
		for _, where := range []string{"Transport", "Do"} {
			t.Run(name+" "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sends := 0
					server := roundTripper(func(req *http.Request) (*http.Response, error) {
						sends++
						return answer(req, c.code, "application/json", statusJSON(c.code, c.reason, c.message)), nil
					})
					silent := k8sretry.WithLogger(nil)
					var err error
					if where == "Transport" {
						client := over(t, server, wrapper(t, silent))
						err = client.CoreV1().Pods("default").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
					} else {
						client := over(t, server)
						err = k8sretry.Run(t.Context(), func(ctx context.Context) error {
							return client.CoreV1().Pods("default").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
						}, silent, k8sretry.WithVerb(k8sretry.VerbDeleteCollection))
					}
					assert.True(t, c.is(err), "%v", err)
					assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
					assert.Equal(t, c.sends, sends)
				})
			})
		}
	}
}
