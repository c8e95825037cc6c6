// SPDX-License-Identifier: Apache-2.0

// Package e2e contains tests of k8sretry with a real kube-apiserver and etcd, which run
// on this machine without a cluster. See README.md.
package e2e
