package k8sretry

// ForgetTransports makes the package behave as in a process without a Transport, for the
// tests that count allocations.
func ForgetTransports() { transportBuilt.Store(false) }
