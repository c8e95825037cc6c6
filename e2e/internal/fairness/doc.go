// SPDX-License-Identifier: Apache-2.0

// Package fairness makes many concurrent calls on a real kube-apiserver for a user with one
// seat of Priority and Fairness and no queue, with k8sretry and with other retry libraries,
// and counts how many requests the server rejected.
package fairness
