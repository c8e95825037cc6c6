// SPDX-License-Identifier: Apache-2.0

// Package health defines what the end of an attempt says about the server. It connects
// the classification of errors with the breaker and the limiter.
package health

// Health is what the end of one attempt says about the server.
type Health uint8

const (
	// Unknown says nothing: the caller canceled, no request was sent, or a component
	// beside the API server failed, such as a webhook.
	Unknown Health = iota
	// Healthy is an answer that only a working server gives: a success, but also a 404.
	Healthy
	// Failing is a 408, 500, 502 or 503: a random failure, or a server that is down.
	Failing
	// Unreachable is a timeout or a lost connection.
	Unreachable
	// Throttled is a 429.
	Throttled
	// Down is a refused connection, which cannot be about one kind of requests.
	Down
	// Exhausted is a 429 of API Priority and Fairness, which is about a priority level.
	Exhausted
)
