// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/k8sretry/k8sretry"
)

// Calls are the calls of the service to the API server, each with its retry policy.
// They are safe for concurrent use. They return the errors of k8sretry, which the
// predicates of apierrors recognize.
type Calls struct {
	// CreateDatabase stores a database. It is also retried after an attempt of
	// unknown outcome, so AlreadyExists may be about the caller's own object.
	CreateDatabase func(ctx context.Context, database *unstructured.Unstructured) (*unstructured.Unstructured, error)
	// DeleteDatabase deletes the database with this name and UID.
	DeleteDatabase func(ctx context.Context, name string, uid types.UID) error
	// GetDatabaseStatus reads a database.
	GetDatabaseStatus func(ctx context.Context, name string) (*unstructured.Unstructured, error)
	// GetOpsRequestStatus reads an operation on a database.
	GetOpsRequestStatus func(ctx context.Context, name string) (*unstructured.Unstructured, error)
}

// NewCalls returns the calls. The options override the presets.
func NewCalls(client dynamic.Interface, namespace string, options ...k8sretry.Option) Calls {
	overrides := k8sretry.NewPolicy(options...)
	databases := client.Resource(DatabaseResource).Namespace(namespace)
	opsRequests := client.Resource(OpsRequestResource).Namespace(namespace)
	return Calls{
		// No verb: the package documentation explains why this create may be repeated.
		CreateDatabase: k8sretry.Wrap1(func(ctx context.Context, database *unstructured.Unstructured) (*unstructured.Unstructured, error) {
			return databases.Create(ctx, database, metav1.CreateOptions{})
		}, k8sretry.WithName("create_database"), k8sretry.ForWrite(), overrides),

		DeleteDatabase: k8sretry.WrapRun2(func(ctx context.Context, name string, uid types.UID) error {
			options := metav1.DeleteOptions{}
			if uid != "" { // fake clients set no UID
				options.Preconditions = &metav1.Preconditions{UID: &uid}
			}
			return databases.Delete(ctx, name, options)
		}, k8sretry.WithName("delete_database"), k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbDelete), overrides),

		GetDatabaseStatus: k8sretry.Wrap1(func(ctx context.Context, name string) (*unstructured.Unstructured, error) {
			return databases.Get(ctx, name, metav1.GetOptions{})
		}, k8sretry.WithName("get_database_status"), k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbGet), overrides),

		GetOpsRequestStatus: k8sretry.Wrap1(func(ctx context.Context, name string) (*unstructured.Unstructured, error) {
			return opsRequests.Get(ctx, name, metav1.GetOptions{})
		}, k8sretry.WithName("get_ops_request_status"), k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbGet), overrides),
	}
}
