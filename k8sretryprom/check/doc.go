// SPDX-License-Identifier: Apache-2.0

// Package check tests the rules and the dashboard of k8sretryprom with a real Prometheus.
//
// It runs the databases example (examples/databases/service) with a Collector against the
// in-memory API server (examples/apiserver, a separate process), while that is healthy,
// unstable, overloaded, down and recovered, and a Prometheus scrapes the example. Then it
// runs the queries of the dashboard.
//
//	go test ./...            # needs prometheus and promtool: apt-get install prometheus
//	go run ./cmd/picture     # draws the picture of the README from the results
//
// It is a separate module because of its dependencies.
package check
