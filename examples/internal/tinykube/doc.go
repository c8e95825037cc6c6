// SPDX-License-Identifier: Apache-2.0

// Package tinykube is a small Kubernetes API server for examples and tests. It
// serves HTTP on a loopback port, keeps its objects in memory, and fails on
// request.
//
// A clientset, the dynamic client, discovery and informers work with it:
//
//	server, err := tinykube.Start()
//	if err != nil { ... }
//	defer server.Stop()
//	server.FailNext(2, tinykube.Match{Verb: "get", Resource: "configmaps"}, tinykube.Fail(503))
//	clients, err := kubernetes.NewForConfig(server.Config())
//
// The following works as in kube-apiserver: paths, verbs, UIDs, resource versions
// and conflicts, generateName, status subresources, delete preconditions,
// finalizers, selectors, watches, dry runs, and errors as metav1.Status objects.
//
// Everything else is missing. The server answers in JSON only (but reads the
// protobuf that typed clients send) and over plain HTTP, without authentication.
// It has no schemas, accepts every object with a valid name, treats a strategic
// merge patch as a merge patch, and loses all objects when it stops. Do not store
// real data in it.
//
// There are three kinds of failures: scripted failures of selected requests
// ([Server.FailNext], [Server.Script]), overload ([Server.Limit]), and an
// unreachable server ([Server.Down], [Server.Up]).
//
// Note that client-go itself repeats a request up to 10 times if a 429 or 5xx
// answer has a Retry-After header (see k8s.io/client-go/rest/with_retry.go), so
// such a failure may not reach the caller. Failures have no Retry-After unless it
// is set with [Answer.WithRetryAfter].
package tinykube
