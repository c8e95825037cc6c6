// Package k8sretrytest helps a service test how it retries calls of the Kubernetes
// API: against fake clientsets, against real clients, and on virtual time.
//
//	clientset := fake.NewClientset()
//	var faults k8sretrytest.Faults
//	faults.Install(&clientset.Fake)
//	faults.FailNext(2, "update", "deployments", k8sretrytest.Status(503))
//
// What is here:
//
//   - [Faults] is a script of failures, before or after the server has done the
//     work. [Faults.Install] puts it into a fake clientset, [Faults.Transport] in
//     front of a real server.
//   - The errors ([Status], [ConnectionReset], [EtcdTimeout], ...) have exactly the
//     shape in which client-go returns them.
//   - [EmulateServer] makes a fake clientset keep UIDs, resource versions and
//     preconditions, which a plain one does not.
//   - [Recorder] notes what a call decided, and asserts it.
//
// No test needs to wait: docs/testing.md of the repository shows testing under the
// virtual time of testing/synctest.
package k8sretrytest
