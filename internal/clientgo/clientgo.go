// SPDX-License-Identifier: Apache-2.0

// Package clientgo deals with what client-go does to the responses and errors of a
// RoundTripper.
//
// client-go has retry loops of its own (k8s.io/client-go/rest/request.go and
// with_retry.go): it repeats a GET up to ten times, a second apart, after connection
// errors that it recognizes, and every request after a 429 or 5xx with a Retry-After.
// Below a Transport these loops would multiply with its own. [HideError] and
// [HideRetryAfter] prevent them: they hide from client-go what it looks for when it decides
// whether to repeat a request, and show it to all later readers.
//
// [ResponseError] returns the error that client-go will make of a response, so that a
// Transport can judge it before client-go has read it.
//
// The package does not import client-go.
package clientgo
