// Package e2e holds the tests of k8sretry against a real kube-apiserver with its
// etcd, both on this machine and without a cluster. See README.md.
package e2e
