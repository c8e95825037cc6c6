// SPDX-License-Identifier: Apache-2.0

package k8sretry

import "context"

// ForgetTransports makes the package behave as in a process without a Transport, for the
// tests that count allocations.
func ForgetTransports() { transportBuilt.Store(false) }

// NumericOptions returns the names of the options that set a number.
func NumericOptions() []string {
	var names []string
	for _, n := range numbers {
		names = append(names, n.option)
	}
	return names
}

// FailAfter returns what a call returns that fails with err after so many attempts.
func FailAfter(ctx context.Context, attempts int, err error, opts ...Option) error {
	var p progress
	p.count(attempts)
	c := resolve(opts)
	c.setDefaults()
	return p.failed(&c, ctx, err, p.classify(&c, err))
}

// ErrRedirected is what a Transport returns for a write that was redirected.
var ErrRedirected = errRedirected
