// Package k8sretryctrl adds the retries and safe writes of k8sretry to controller-runtime.
//
// [NewClient] returns a client.Client that retries transient failures:
//
//	c := k8sretryctrl.NewClient(mgr.GetClient())
//
// [Result] converts an error into the result of a Reconcile:
//
//	func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
//		return k8sretryctrl.Result(r.sync(ctx, req))
//	}
//
// # Retries
//
// Every method retries a failure of a request that was not executed. After a failure with
// an unknown outcome:
//
//	Get, List, Watch              retried; for Watch, the start of the watch
//	Create                        retried by k8sretry.Create, verified by a token in an annotation
//	Update, Status().Update       retried by k8sretry.Update, verified by the content of the object
//	Delete                        retried by k8sretry.Delete, with the object's UID as a precondition
//	Patch                         retried, except for a JSON patch, which may append to a list
//	Apply                         retried: a second apply has no further effect
//	DeleteAllOf                   not retried: it would delete objects created in the meantime
//	SubResource(...).Update       retried: the resource version, if there is one, prevents a second update
//	SubResource(...).Patch, Apply like those of objects
//	SubResource("eviction")       retried if it has the pod's UID; succeeds if that pod no longer exists
//	SubResource("token")          retried: a token is issued and not stored
//	SubResource(...).Create       not retried for others, such as a binding
//	Create of an object without   not retried, except for reviews (authentication.k8s.io,
//	  any name                      authorization.k8s.io), which store nothing
//	dry runs                      retried
//
// If a method does not retry, or cannot verify the outcome, its error wraps
// [k8sretry.ErrOutcomeUnknown].
//
// # Differences from k8sretry
//
// Methods change an object in place, as in controller-runtime, and only if they succeed.
// After a verification the object has the content that was read from the server.
//
// Update sends no token. A token would change the object even if the update changes
// nothing else, and a controller that updates the objects it watches would never stop.
// Instead, Update reads the object and compares it, or its status, with the one that was
// sent. If a webhook, a default or another client has changed the object, the outcome
// remains unknown: the error is the Conflict and wraps ErrOutcomeUnknown, and [Result]
// requeues the object.
//
// Verification reads from the server, not from the cache of a manager. It needs the
// permission to get the object.
//
// Delete does not delete another object with the same name: with an object from a stale
// cache it returns a Conflict.
//
// # Other clients and caches
//
// Get and List of a cached client are served by the cache. NotFound from the cache is
// returned without a retry. The wrappers of controller-runtime (client.WithFieldOwner,
// client.WithFieldValidation, client.NewNamespacedClient, client.NewDryRunClient,
// interceptors) may be applied before or after NewClient.
//
// Use NewClient together with a k8sretry.Transport in the rest.Config of the manager. Each
// attempt then sends one request, and client-go makes no retries itself. The Transport also
// retries the discovery of the RESTMapper, which NewClient cannot reach. Informers retry
// themselves and are not affected.
//
// A call that waits for its next attempt blocks a worker of the controller. To avoid long
// waits, use few retries and [Result], which requeues the object.
package k8sretryctrl
