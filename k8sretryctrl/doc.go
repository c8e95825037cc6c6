// Package k8sretryctrl brings the retries and the safe writes of k8sretry to
// controller-runtime.
//
//	c := k8sretryctrl.NewClient(mgr.GetClient())
//
// is a client.Client whose calls survive what is transient, and
//
//	func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
//		return k8sretryctrl.Result(r.sync(ctx, req))
//	}
//
// makes of what could not be survived a reconcile after a while, or none.
//
// # What is repeated
//
// A failure after which nothing was done is repeated, whatever the method. After one
// that leaves open what the server did:
//
//	Get, List, Watch              repeated; of Watch the start
//	Create                        k8sretry.Create: repeated, and proven by a token in an annotation
//	Update, Status().Update       k8sretry.Update: repeated, and proven by what the server holds
//	Delete                        k8sretry.Delete: repeated, with the UID of the object as a precondition
//	Patch                         repeated, but for a JSON patch, which may append to a list
//	Apply                         repeated: applying twice is applying once
//	DeleteAllOf                   not repeated: objects created since would go, too
//	SubResource(...).Update       repeated: the resource version guards it, if there is one
//	SubResource(...).Patch, Apply as those of objects
//	SubResource("eviction")       repeated if it names the pod's UID; that the pod is gone is a success then
//	SubResource("token")          repeated: a token is issued and not stored
//	SubResource(...).Create       others, such as a binding, are not repeated
//	Create of an object without   not repeated, but for reviews (authentication.k8s.io,
//	  any name                      authorization.k8s.io), which are questions
//	dry runs                      repeated
//
// What is not repeated ends with an error that has [k8sretry.ErrOutcomeUnknown] in its
// chain, and so does what can be proven neither way.
//
// # What differs from k8sretry
//
// Objects are changed in place, as controller-runtime does, and only by a success; after a
// proof they hold what was found.
//
// An Update leaves no token. One that changes nothing stays one: a token of its own would
// make a change of it, and a controller that updates what it watches would never come to
// rest. Its proof is that the object, or for a status the status, holds what was sent.
// Where a webhook, a default or somebody else has changed it since, there is no proof: the
// Conflict comes with ErrOutcomeUnknown, and [Result] has the object reconciled again.
//
// Proofs read from the server, never from the cache of a manager. They need the right to
// get the object.
//
// Delete never deletes another object that has taken the name. An object from a cache that
// lags behind is a Conflict then.
//
// # Below and around
//
// An object read from a cache is read once: what a cache does not hold is NotFound at once.
// The wrappers of controller-runtime (client.WithFieldOwner, client.WithFieldValidation,
// client.NewNamespacedClient, client.NewDryRunClient, interceptors) go inside or outside. A
// k8sretry.Transport in the rest.Config of the manager sends once for each attempt, and
// takes away the repetitions that client-go makes unseen. Informers are not touched: they
// repeat by themselves.
//
// A call that waits for its next attempt keeps its worker busy. For short waits give a
// policy of few retries; Result brings the object back.
package k8sretryctrl
