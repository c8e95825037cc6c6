// Package faultproxy is a proxy in front of an API server that loses, delays and
// forges answers on purpose, and keeps count of what clients really sent.
//
// A [Rule] looks at each request and says what happens to it: a [Fault]. The zero
// Fault is no fault. A fault strikes before the server has seen the request, or,
// with [Fault.AfterCommit], when the server has carried it out and answered:
//
//	proxy := faultproxy.Start(t, server, ca, faultproxy.Options{})
//	proxy.SetRule(faultproxy.When(faultproxy.Verbs("create"),
//		faultproxy.Share(0.2, 1, faultproxy.LostAnswers()...)))
//	client := kubernetes.NewForConfigOrDie(proxy.Config(config))
//
// Clients speak TLS with the proxy, HTTP/2 or HTTP/1.1; it has a certificate
// authority of its own. The proxy never repeats a request and never answers for
// a server that it cannot reach: it drops the request then. Upgraded connections
// (exec, attach, port-forward) do not pass.
//
// Everything is safe for concurrent use.
package faultproxy
