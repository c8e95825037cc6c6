// SPDX-License-Identifier: Apache-2.0

// Package model is a model of kube-apiserver and its etcd: what a client of the API can observe
// of how objects are stored, changed, deleted and watched. docs/worlds.md says what is modelled
// and what is not; "go run ./cmd/model" in e2e compares it with a real kube-apiserver.
//
// A Server is safe for concurrent use. All requests are carried out one after the other, as
// etcd does; the front of package faults decides when, and what becomes of the answers.
package model
