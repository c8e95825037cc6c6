// SPDX-License-Identifier: Apache-2.0

package hedge

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry"
)

var update = flag.Bool("update", false, "write RESULTS.md")

// server answers most requests within 10 ms to 30 ms, and a share of them after 1 s to 2 s.
type server struct {
	mu       sync.Mutex
	random   *rand.Rand
	slow     float64
	requests int
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.requests++
	takes := 10*time.Millisecond + time.Duration(s.random.Int64N(int64(20*time.Millisecond)))
	if s.random.Float64() < s.slow {
		takes = time.Second + time.Duration(s.random.Int64N(int64(time.Second)))
	}
	s.mu.Unlock()
	timer := time.NewTimer(takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader("{}")), Request: req}, nil
}

// result is what the reads of one run took, in order, and how many requests they were.
type result struct {
	took     []time.Duration
	requests int
}

func (r result) quantile(q float64) time.Duration {
	return r.took[min(len(r.took)-1, int(q*float64(len(r.took))))].Round(time.Millisecond)
}

// perRead is how many requests the server saw for each read.
func (r result) perRead() float64 { return float64(r.requests) / float64(len(r.took)) }

// before is how many reads are made before those that count, with one slow answer in a hundred.
const before = 1000

// reads makes reads in an open loop, 50 each second.
func reads(t *testing.T, n int, slow float64, opts ...k8sretry.Option) (r result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &server{random: rand.New(rand.NewPCG(1, 2)), slow: 0.01} //nolint:gosec // a simulation
		opts = append(opts, k8sretry.ForRead(), k8sretry.WithLogger(nil))
		transport := k8sretry.Transport(opts...)(s)
		var all sync.WaitGroup
		var mu sync.Mutex
		var failed error
		for i := range before + n {
			if i == before {
				s.mu.Lock()
				s.slow, s.requests = slow, 0
				s.mu.Unlock()
			}
			all.Add(1)
			go func() {
				defer all.Done()
				began := time.Now()
				err := read(t, transport)
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, err)
				if i >= before {
					r.took = append(r.took, time.Since(began))
				}
			}()
			time.Sleep(20 * time.Millisecond)
		}
		all.Wait()
		require.NoError(t, failed)
		r.requests = s.requests
	})
	slices.Sort(r.took)
	return r
}

func read(t *testing.T, transport http.RoundTripper) error {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://server/api/v1/namespaces/default/pods/web-0", nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

func TestHedge(t *testing.T) {
	var page strings.Builder
	row := func(cells ...any) {
		for _, cell := range cells {
			fmt.Fprintf(&page, "| %v ", cell)
		}
		page.WriteString("|\n")
	}
	page.WriteString(`# A second request for slow reads

What ` + "`WithHedge`" + ` does, in virtual time. A server answers within 10 ms to 30 ms, and a share of the requests, at random, after 1 s to 2 s.
50 reads a second are made through a Transport. ` + "`cd benchmarks && go test ./hedge -update`" + ` writes this page.

## One slow answer in a hundred

20000 reads. The 99th percentile is the border between the two kinds of answers.

| second request | p50 | p99 | p99.5 | p99.9 | longest | requests per read |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
`)
	tail := map[time.Duration]result{}
	for _, after := range []time.Duration{0, 100 * time.Millisecond, 50 * time.Millisecond, 30 * time.Millisecond} {
		r := reads(t, 20000, 0.01, k8sretry.WithHedge(after))
		name := "after " + after.String()
		if after == 0 {
			name = "none"
		}
		row(name, r.quantile(0.5), r.quantile(0.99), r.quantile(0.995), r.quantile(0.999), r.quantile(1), fmt.Sprintf("%.3f", r.perRead()))
		tail[after] = r
	}
	assert.Greater(t, tail[0].quantile(0.995), time.Second)
	assert.Less(t, tail[50*time.Millisecond].quantile(0.995), 100*time.Millisecond)
	assert.Less(t, tail[50*time.Millisecond].perRead(), 1.02)

	page.WriteString(`
## A server that is slow as a whole

After 20 s of this, all answers take 1 s to 2 s for a minute: 3000 reads. A Transport makes one second request for ten
answers, and one a second in addition; a Budget, here of one for fifty answers, bounds them further.
With a Limiter no read fails either. The p99 differs from run to run, between 2 s and 6.5 s: it may take the server for an
overloaded one for some ten seconds.

| second request | p50 | p99 | requests per read |
| --- | ---: | ---: | ---: |
`)
	hedge := k8sretry.WithHedge(100 * time.Millisecond)
	const withLimiter = "after 100ms, with a Limiter" // differs from run to run
	for _, c := range []struct {
		name string
		opts []k8sretry.Option
		most float64
	}{
		{"none", nil, 1},
		{"after 100ms", []k8sretry.Option{hedge}, 1.15},
		{"after 100ms, with a Budget", []k8sretry.Option{hedge, k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{Ratio: 0.02, MinRetries: -1}))}, 1.04},
		{withLimiter, []k8sretry.Option{hedge, k8sretry.WithLimiter(k8sretry.NewLimiter())}, 1.15},
	} {
		r := reads(t, 3000, 1, c.opts...)
		if c.name != withLimiter {
			row(c.name, r.quantile(0.5), r.quantile(0.99), fmt.Sprintf("%.2f", r.perRead()))
		}
		assert.LessOrEqual(t, r.perRead(), c.most, c.name)
	}
	t.Log(page.String())
	if *update {
		require.NoError(t, os.WriteFile("RESULTS.md", []byte(page.String()), 0o644))
	}
}
