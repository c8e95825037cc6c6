// SPDX-License-Identifier: Apache-2.0

// Package k8sretrytest helps to test how a program retries Kubernetes API calls. It
// works with fake clientsets, with real clients, and under virtual time.
//
//	clientset := fake.NewClientset()
//	var faults k8sretrytest.Faults
//	faults.Install(&clientset.Fake)
//	faults.FailNext(2, "update", "deployments", k8sretrytest.Status(503))
//
// The package contains:
//
//   - [Faults], rules that make calls fail before or after the server has processed
//     them, or let other clients write in between. [Faults.Install] adds them to a fake
//     clientset, [Faults.Transport] puts them in front of a real server.
//   - Errors ([Status], [ConnectionReset], [EtcdTimeout], ...) with the types and texts
//     that client-go returns.
//   - [Response], an answer that does not come from the API server: [LoginPage],
//     [Redirect], [RetryNow].
//   - [EmulateServer], which makes a fake clientset maintain UIDs, resource versions
//     and preconditions, and options for what few servers do.
//   - [Server], which serves the objects of a fake clientset to real clients, over
//     connections in memory that can be broken.
//   - [Recorder], a [k8sretry.Observer] that stores events and has assertions.
//
// Tests need not sleep: docs/testing.md in the repository shows how to use
// testing/synctest.
package k8sretrytest
