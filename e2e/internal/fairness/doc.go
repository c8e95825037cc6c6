// Package fairness makes many calls at once for a user who has one seat of Priority and
// Fairness on a real kube-apiserver and no queue before it, with k8sretry and with other
// ways to retry, and counts at the server how many of them it refused.
package fairness
