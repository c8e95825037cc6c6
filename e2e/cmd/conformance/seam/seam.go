// SPDX-License-Identifier: Apache-2.0

// Package seam is compiled into the test suites that the command conformance runs. It wraps
// the RoundTripper of each of their clients with faults and with k8sretry, as the environment
// says.
package seam

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/k8sretry/k8sretry"
)

// Environment variables of a suite.
const (
	EnvLibrary = "CONFORMANCE_LIBRARY" // not empty: with the Transport and the clients of k8sretry
	EnvFaults  = "CONFORMANCE_FAULTS"  // share of the requests that get a fault
	EnvSeed    = "CONFORMANCE_SEED"    // of the faults
	EnvCounts  = "CONFORMANCE_COUNTS"  // file that gets a line for each fault, and "r" for each request of a client
)

// Library reports whether the suite runs with k8sretry.
func Library() bool { return os.Getenv(EnvLibrary) != "" }

var begun atomic.Bool

// Begin starts the faults. Before it, suites set up their server.
func Begin() { begun.Store(true) }

// RoundTripper wraps the RoundTripper of a client: k8sretry outside of the faults.
func RoundTripper(next http.RoundTripper) http.RoundTripper {
	if share, _ := strconv.ParseFloat(os.Getenv(EnvFaults), 64); share > 0 {
		seed, _ := strconv.ParseUint(os.Getenv(EnvSeed), 10, 64)
		next = &faulty{next: next, share: share, seed: seed}
	}
	if Library() {
		next = k8sretry.Transport(k8sretry.WithAttemptTimeout(30 * time.Second))(next)
	}
	return counting{next}
}

// counting counts the requests of a client, which shows that the seam is in use.
type counting struct{ next http.RoundTripper }

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	count("r\n")
	return c.next.RoundTrip(r)
}

func (c counting) WrappedRoundTripper() http.RoundTripper { return c.next }

var counts = sync.OnceValue(func() *os.File {
	f, err := os.OpenFile(os.Getenv(EnvCounts), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, "seam:", err)
	}
	return f
})

func count(line string) {
	if f := counts(); f != nil {
		_, _ = f.WriteString(line)
	}
}
