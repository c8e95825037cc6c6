package k8sretry

// ForgetTransports lets the tests that count allocations see a process without a
// Transport, whatever ran before them.
func ForgetTransports() { transportBuilt.Store(false) }

// Lanes is for how many objects calls take turns.
func Lanes() int {
	lanes.mu.Lock()
	defer lanes.mu.Unlock()
	return len(lanes.at)
}
