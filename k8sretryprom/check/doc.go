// Package check holds the rules and the dashboard of k8sretryprom against a real
// Prometheus.
//
// It serves the databases example (examples/databases/service) with a Collector, lets it
// talk to the API server in memory (examples/apiserver, a program of its own) while that
// is well, restless, overloaded, down and back again, and scrapes it all the time. Then it
// asks Prometheus what the dashboard would ask.
//
//	go test ./...            # needs prometheus and promtool: apt-get install prometheus
//	go run ./cmd/picture     # draws the picture of the README from the answers
//
// It is a module of its own, so that nobody else needs what it needs.
package check
