// SPDX-License-Identifier: Apache-2.0

// Package faultproxy is a proxy for an API server that drops, delays and forges answers,
// and records the requests of its clients.
//
// A [Rule] returns the [Fault] of each request. The zero Fault is no fault. A fault occurs
// before the request reaches the server or, with [Fault.AfterCommit], after the server has
// carried it out and answered:
//
//	proxy := faultproxy.Start(t, server, ca, faultproxy.Options{})
//	proxy.SetRule(faultproxy.When(faultproxy.Verbs("create"),
//		faultproxy.Share(0.2, 1, faultproxy.LostAnswers()...)))
//	client := kubernetes.NewForConfigOrDie(proxy.Config(config))
//
// Clients use TLS with HTTP/2 or HTTP/1.1. The proxy has its own certificate authority. It
// never repeats a request. If the server is unreachable, it closes the connection without
// an answer. Upgraded connections (exec, attach, port-forward) are not supported.
//
// All functions and methods are safe for concurrent use.
package faultproxy
