// Package tinykube is a Kubernetes API server small enough to embed in an
// example: real HTTP on a loopback port, objects in memory, failures on order.
//
// A real clientset, the dynamic client, discovery and informers talk to it:
//
//	server, err := tinykube.Start()
//	if err != nil { ... }
//	defer server.Stop()
//	server.FailNext(2, tinykube.Match{Verb: "get", Resource: "configmaps"}, tinykube.Fail(503))
//	clients, err := kubernetes.NewForConfig(server.Config())
//
// What it does as kube-apiserver does: paths, verbs, UIDs, resource versions and
// the conflicts they give, generateName, status subresources, delete
// preconditions, finalizers, selectors, watches, dry runs, and errors as
// metav1.Status objects of the same shape.
//
// What it leaves out: everything else. It answers in JSON only (and reads the
// protobuf that typed clients send), over plain HTTP, to anybody; it knows no
// schema, admits every object whose name is good, treats a strategic merge patch
// as a merge patch, and forgets everything when it stops. It is made for examples
// and tests, never for data.
//
// Failures come in three ways: scripted for requests that match
// ([Server.FailNext], [Server.Script]), by load ([Server.Limit]), and as a
// server that is away ([Server.Down], [Server.Up]).
//
// One warning about Retry-After: client-go itself repeats a request up to 10
// times when a 429 or 5xx answer carries that header (see
// k8s.io/client-go/rest/with_retry.go), so such a failure may never reach the
// code that is being shown. Failures have no Retry-After unless
// [Answer.WithRetryAfter] gives them one.
package tinykube
