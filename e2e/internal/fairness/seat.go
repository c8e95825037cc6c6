// SPDX-License-Identifier: Apache-2.0

package fairness

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
)

// FewSeats returns the arguments for a server with so few seats that the smallest share is
// one seat.
func FewSeats() []string {
	return []string{"--max-requests-inflight=40", "--max-mutating-requests-inflight=20"}
}

// OneSeat creates a priority level with one seat and no queue and a flow schema for what the
// user does with a resource, or with all for "*". Both have the name of the user. It waits
// until they are in effect.
func OneSeat(ctx context.Context, c *cluster.Cluster, user, resource string) error {
	admin, err := kubernetes.NewForConfig(c.Config(cluster.Admin))
	if err != nil {
		return err
	}
	api := admin.FlowcontrolV1()
	_, err = api.PriorityLevelConfigurations().Create(ctx, &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: user},
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
	if err != nil {
		return err
	}
	schema, err := api.FlowSchemas().Create(ctx, &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: user},
			MatchingPrecedence:         100,
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{Kind: rbacv1.UserKind, User: &flowcontrolv1.UserSubject{Name: user}}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{resource}, Namespaces: []string{"*"}, ClusterScope: true,
				}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}

	// A header of each answer contains the UID of the matching flow schema.
	var uid atomic.Value
	probe := c.Config(user)
	probe.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err == nil {
				uid.Store(resp.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID))
			}
			return resp, err
		})
	})
	prober, err := kubernetes.NewForConfig(probe)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := prober.CoreV1().ConfigMaps("default").Get(ctx, "none", metav1.GetOptions{})
		if uid.Load() == string(schema.UID) {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the flow schema of %s is not in effect: %w (%w)", user, ctx.Err(), err)
		}
	}
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
