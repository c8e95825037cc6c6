// SPDX-License-Identifier: Apache-2.0

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
// [Modify] reads an object, changes it and updates it, until no other writer is in between.
//
// # Retries
//
// Every method retries a failure of a request that was not executed. A call ends after 10 s
// at most, see [NewClient]. After a failure with an unknown outcome:
//
//	Get, List, Watch              retried; for Watch, the start of the watch
//	Create with GenerateName      retried with the same name, which proves the outcome
//	Create with Name              retried; see below
//	Update, Status().Update       retried by k8sretry.Update, verified by the content of the object
//	Delete                        retried by k8sretry.Delete, with the object's UID as a precondition
//	Patch                         retried as by k8sretry.Patch: a JSON patch, which may append to a list,
//	                                only if it tests what it changes or the resource version. With a
//	                                resource version, verified by the first change after it
//	Apply                         retried: a second apply has no further effect
//	Apply with a resource version retried; a Conflict is verified by the content of the object and by
//	                                the fields that its manager owns: an apply also removes fields
//	DeleteAllOf                   not retried: it would delete objects created in the meantime
//	SubResource("scale").Update   retried, verified by the replicas
//	SubResource("approval").Update  retried, verified by the conditions
//	SubResource(...).Update       retried for finalize, ephemeralcontainers and resize: the resource version,
//	                                if there is one, prevents a second update. Not retried for others,
//	                                which may be actions, such as the restart of a virtual machine
//	SubResource(...).Patch, Apply like those of objects for the subresources above; not retried for others
//	SubResource("eviction")       retried with the UID of the pod or of the eviction; succeeds if that
//	                                pod is terminating or no longer exists
//	SubResource("binding")        retried with the UID of the pod; succeeds if the pod has the node and
//	                                the annotations of the binding. Without a UID not retried; succeeds
//	                                if any pod of that name has them
//	SubResource("token")          retried: a token is issued and not stored
//	SubResource(...).Create       not retried for others
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
// The client stores no token in an annotation. A token would change the object even if an
// update changes nothing else, and a controller that updates the objects it watches would
// never stop.
//
// Update reads the object and compares it, or its status, with the one that was sent. If
// another client has changed the object since, and the inner client is a client.WithWatch,
// Update looks for the first change after the resource version of obj. It was that of this
// call if it has the content that was sent, and not if the managed fields show that another
// writer has made it. A field owner, in the options of the call or of client.WithFieldOwner, makes
// both more precise. If a webhook or a default has changed the object, or there is no such watch, the outcome
// remains unknown: the error is the Conflict and wraps ErrOutcomeUnknown, and [Result]
// requeues the object. Two processes that send the same update with the same field manager and
// resource version may both succeed.
//
// Create of an object with a fixed name is verified if the object has a controller
// (controllerutil.SetControllerReference): an object with the same controller and all that was
// sent is taken for the one that was created. Without a controller, another process may have
// created the same object; then AlreadyExists after an unknown outcome wraps
// ErrOutcomeUnknown, unless the object is more than 15 minutes older than the call.
// k8sretry.WithTokenAnnotation with a key, given to [NewClient], stores a token in that annotation
// of created objects, which proves the outcome without a controller. An object that others have
// removed before the retry is created again.
//
// Verification reads from the server, not from the cache of a manager. It needs the
// permission to get the object, and to watch it for the first change. The client of a
// manager has no Watch, unless the NewClient of its manager.Options calls
// client.NewWithWatch.
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
// attempt then sends one request, and client-go makes no retries itself. Informers retry
// themselves and are not affected.
//
// The first call for a kind makes the RESTMapper read the discovery of the server, with a context
// of its own: neither the context nor the limits of the call end it, and NewClient cannot retry its
// requests. The Transport does, and bounds each of them by 75 s, or by its WithAttemptTimeout.
// Without it, or a rest.Config.Timeout, such a call waits for as long as the server does not
// answer. If the discovery fails, the request of the call was not sent.
//
// A call that waits for its next attempt blocks a worker of the controller. Leave long waits to
// [Result], which requeues the object.
package k8sretryctrl
