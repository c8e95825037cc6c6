// Package storm makes many calls at once to a real API server while answers get lost
// on their way back, others write the same objects and the server is killed, and
// counts which callers were told something that is not true.
//
// The truth comes from two places that no caller has part in: the objects in the
// server, read and watched past all faults, and the fault proxy, which knows which
// requests were carried out.
//
// A [Caller] is a way to make calls: plain client-go, client-go's retry.OnError, and
// k8sretry. All of them meet the same faults, which hang on a seed.
package storm
