// SPDX-License-Identifier: Apache-2.0

// Package worlds simulates programs that use k8sretry: deterministic simulation testing. A world
// is a model of kube-apiserver, callers, other clients and faults, in one process, on virtual
// time and on connections in memory. One seed decides all of it.
//
//	go run ./cmd/worlds -seeds 10000
//
// docs/worlds.md says what is modelled and what is not.
package worlds
