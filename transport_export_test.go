package k8sretry

// ForgetTransports lets the tests that count allocations see a process without a
// Transport, whatever ran before them.
func ForgetTransports() { transportBuilt.Store(false) }
