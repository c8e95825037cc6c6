package e2e_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
)

// A user who has one seat on the server, no queue before it, and more calls than
// that: the server refuses most of them at first (429), and all are served.
func TestPriorityAndFairness(t *testing.T) {
	// With few seats in all, the smallest share of them is one.
	c := cluster.Start(t, cluster.Options{
		Users:         []string{greedy},
		APIServerArgs: []string{"--max-requests-inflight=40", "--max-mutating-requests-inflight=20"},
	})
	oneSeat(t, c, greedy)
	ns := namespace(t, c)
	admin := client(t, c.Config(cluster.Admin)).CoreV1().ConfigMaps(ns)
	// An object that keeps its seat for a while.
	_, err := admin.Create(t.Context(), configMap("big", strings.Repeat("0123456789", 50_000)), metav1.CreateOptions{})
	require.NoError(t, err)

	events := &recorder{}
	policy := k8sretry.New(k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.WithMaxRetries(20),
		k8sretry.WithInitialDelay(100*time.Millisecond), k8sretry.WithMaxDelay(time.Second), k8sretry.WithObserver(events))
	rest := client(t, c.Config(greedy)).CoreV1().RESTClient()
	get := func(ctx context.Context) (int, error) {
		// client-go would wait and repeat by itself and keep the 429 a secret.
		body, err := rest.Get().Namespace(ns).Resource("configmaps").Name("big").MaxRetries(0).DoRaw(ctx)
		return len(body), err
	}

	const calls = 32
	errs := make([]error, calls)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = k8sretry.Do(within(t, time.Minute), get, policy) })
	}
	wg.Wait()
	for _, err := range errs {
		assert.NoError(t, err)
	}
	retries := events.all(k8sretry.EventRetry)
	t.Logf("%d calls served after %d refusals in %v", calls, len(retries), time.Since(begin).Round(time.Millisecond))
	require.NotEmpty(t, retries, "nobody was refused")
	for _, e := range retries {
		assert.Equal(t, 429, e.StatusCode)
		assert.Equal(t, k8sretry.ClassThrottled, e.Class)
		assert.True(t, apierrors.IsTooManyRequests(e.Err), "%v", e.Err)
		assert.GreaterOrEqual(t, e.RetryAfter, time.Second)
		assert.GreaterOrEqual(t, e.Delay, e.RetryAfter, "the server's wait is the least")
	}
}

// oneSeat gives the user a priority level with one seat and no queue, and returns
// when the server goes by it.
func oneSeat(t *testing.T, c *cluster.Cluster, user string) {
	t.Helper()
	api := client(t, c.Config(cluster.Admin)).FlowcontrolV1()
	_, err := api.PriorityLevelConfigurations().Create(t.Context(), &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "one-seat"},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: ptr.To[int32](1),
				LendablePercent:          ptr.To[int32](0),
				BorrowingLimitPercent:    ptr.To[int32](0),
				LimitResponse:            flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
			},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	schema, err := api.FlowSchemas().Create(t.Context(), &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: "one-seat"},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "one-seat"},
			MatchingPrecedence:         100,
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{Kind: rbacv1.UserKind, User: &flowcontrolv1.UserSubject{Name: user}}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, Namespaces: []string{"*"}, ClusterScope: true,
				}},
			}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)

	// The header of each answer says which flow schema it went by.
	var uid string
	probe := c.Config(user)
	probe.Wrap(func(next roundTripper) roundTripper {
		return roundTripperFunc(func(r *request) (*response, error) {
			resp, err := next.RoundTrip(r)
			if err == nil {
				uid = resp.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID)
			}
			return resp, err
		})
	})
	prober := client(t, probe).CoreV1().Namespaces()
	require.Eventually(t, func() bool {
		_, _ = prober.Get(t.Context(), "default", metav1.GetOptions{})
		return uid == string(schema.UID)
	}, 10*time.Second, 20*time.Millisecond)
}
