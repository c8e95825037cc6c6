// Package storm makes many concurrent calls to a real API server while answers are lost,
// other clients write the same objects and the server is killed, and counts the callers
// that got a wrong result.
//
// The results are compared with the objects in the server, which are read and watched
// without faults, and with the fault proxy, which knows which requests were carried out.
//
// A [Caller] is one way to make calls: plain client-go, client-go's retry.OnError, and
// k8sretry. All callers have the same faults, which depend on a seed.
package storm
