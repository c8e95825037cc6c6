package service

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/k8sretry/k8sretry"
)

// Calls are the calls of the service to the API server, each decorated with its
// preset. They are safe for concurrent use. Their errors are those of k8sretry:
// every apierrors.IsX answers for them.
type Calls struct {
	// CreateDatabase stores a database. It is repeated whatever became of the
	// attempt before, so AlreadyExists may be about the caller's own object.
	CreateDatabase func(ctx context.Context, database *unstructured.Unstructured) (*unstructured.Unstructured, error)
	// DeleteDatabase removes the database with this name and UID.
	DeleteDatabase func(ctx context.Context, name string, uid types.UID) error
	// GetDatabaseStatus reads a database.
	GetDatabaseStatus func(ctx context.Context, name string) (*unstructured.Unstructured, error)
	// GetOpsRequestStatus reads an operation on a database.
	GetOpsRequestStatus func(ctx context.Context, name string) (*unstructured.Unstructured, error)
}

// NewCalls decorates the calls. The options come after the presets and win.
func NewCalls(client dynamic.Interface, namespace string, options ...k8sretry.Option) Calls {
	own := k8sretry.NewPolicy(options...)
	databases := client.Resource(DatabaseResource).Namespace(namespace)
	opsRequests := client.Resource(OpsRequestResource).Namespace(namespace)
	return Calls{
		// No verb: the package documentation tells why this create may be repeated.
		CreateDatabase: k8sretry.Wrap1(func(ctx context.Context, database *unstructured.Unstructured) (*unstructured.Unstructured, error) {
			return databases.Create(ctx, database, metav1.CreateOptions{})
		}, k8sretry.WithName("create_database"), k8sretry.ForWrite(), own),

		DeleteDatabase: k8sretry.WrapRun2(func(ctx context.Context, name string, uid types.UID) error {
			options := metav1.DeleteOptions{}
			if uid != "" { // fake clients give none
				options.Preconditions = &metav1.Preconditions{UID: &uid}
			}
			return databases.Delete(ctx, name, options)
		}, k8sretry.WithName("delete_database"), k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbDelete), own),

		GetDatabaseStatus: k8sretry.Wrap1(func(ctx context.Context, name string) (*unstructured.Unstructured, error) {
			return databases.Get(ctx, name, metav1.GetOptions{})
		}, k8sretry.WithName("get_database_status"), k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbGet), own),

		GetOpsRequestStatus: k8sretry.Wrap1(func(ctx context.Context, name string) (*unstructured.Unstructured, error) {
			return opsRequests.Get(ctx, name, metav1.GetOptions{})
		}, k8sretry.WithName("get_ops_request_status"), k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbGet), own),
	}
}
