// SPDX-License-Identifier: Apache-2.0

// Package everyday contains scenarios of everyday trouble: of one resource, by chance, or
// short. Here a limiter must not do more harm than the trouble. All but one are run for one
// process.
package everyday

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// Scenario is one kind of trouble.
type Scenario struct {
	Name, Title string
	Rows        []Row
	// Cell formats the result of a row.
	Cell func(*Record) string
	// Met reports whether a record meets the target, given that of the same calls without a limiter.
	Met    func(r, without *Record) bool
	Target string
}

// Row is a situation of a Scenario.
type Row struct {
	Name string
	run  func(*world)
}

// Call is one call.
type Call struct {
	Verb     sim.Verb
	At, Took time.Duration
	OK       bool
}

// Record is the record of a run.
type Record struct {
	mu       sync.Mutex
	Calls    []Call
	Attempts []time.Duration // of the requests that are in trouble
	Length   time.Duration
}

// Run runs a row in a synctest bubble.
func (row Row) Run(newProcess func() sim.Process, seed uint64) *Record {
	w := &world{newProcess: newProcess, process: newProcess(), begin: time.Now(), random: rand.New(rand.NewPCG(seed, 1)), record: new(Record)}
	row.run(w)
	w.all.Wait()
	w.record.Length = w.now()
	return w.record
}

// world is a run.
type world struct {
	newProcess func() sim.Process
	process    sim.Process
	begin      time.Time
	random     *rand.Rand
	record     *Record
	all        sync.WaitGroup
}

func (w *world) now() time.Duration { return time.Since(w.begin) }

// call makes a call and records it.
func (w *world) call(ctx context.Context, verb sim.Verb, attempt sim.Attempt) error {
	at := w.now()
	err := w.process(ctx, verb, attempt)
	w.record.mu.Lock()
	defer w.record.mu.Unlock()
	w.record.Calls = append(w.record.Calls, Call{verb, at, w.now() - at, err == nil})
	return err
}

// steadily makes calls at a constant rate for a time, whether or not those before have ended.
func (w *world) steadily(length, every time.Duration, verb sim.Verb, timeout time.Duration, attempt sim.Attempt) {
	w.all.Go(func() {
		for w.now() < length {
			w.all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), timeout)
				defer cancel()
				_ = w.call(ctx, verb, attempt)
			})
			time.Sleep(every)
		}
	})
}

// answer is an attempt that takes some time.
func answer(took time.Duration, err error) sim.Attempt {
	return func(ctx context.Context) error {
		select {
		case <-time.After(took):
			return err
		case <-ctx.Done():
			return &url.Error{Op: "Get", URL: "https://10.96.0.1:443/api", Err: ctx.Err()}
		}
	}
}

// troubled counts the attempts of the requests that are in trouble.
func (w *world) troubled(attempt sim.Attempt) sim.Attempt {
	return func(ctx context.Context) error {
		w.record.mu.Lock()
		w.record.Attempts = append(w.record.Attempts, w.now())
		w.record.mu.Unlock()
		return attempt(ctx)
	}
}

// P99 is the time that 99 of 100 calls of a verb took at most.
func (r *Record) P99(verb sim.Verb) time.Duration {
	var took []time.Duration
	for _, c := range r.Calls {
		if c.Verb == verb {
			took = append(took, c.Took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// Failed is the number of calls of a verb that failed, of all of them.
func (r *Record) Failed(verb sim.Verb) (failed, all int) {
	for _, c := range r.Calls {
		if c.Verb != verb {
			continue
		}
		if all++; !c.OK {
			failed++
		}
	}
	return failed, all
}

// Success is the share of calls of a verb that succeeded.
func (r *Record) Success(verb sim.Verb) float64 {
	failed, all := r.Failed(verb)
	return 1 - float64(failed)/float64(all)
}

// Longest returns for each second the longest time that a call of a verb took that began then.
func (r *Record) Longest(verb sim.Verb, seconds int) []float64 {
	longest := make([]float64, seconds)
	for _, c := range r.Calls {
		if i := int(c.At / time.Second); c.Verb == verb && i < seconds {
			longest[i] = max(longest[i], c.Took.Seconds())
		}
	}
	return longest
}

// Sent returns the number of attempts in each second of the requests that are in trouble.
func (r *Record) Sent(seconds int) []float64 {
	sent := make([]float64, seconds)
	for _, at := range r.Attempts {
		if i := int(at / time.Second); i < seconds {
			sent[i]++
		}
	}
	return sent
}

var (
	errRefused = &url.Error{Op: "Get", URL: "https://10.96.0.1:443/api", Err: &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
	errReset   = &url.Error{Op: "Get", URL: "https://10.96.0.1:443/api", Err: &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}}
	errWebhook = apierrors.NewInternalError(errors.New(`conversion webhook for example.com/v1, Kind=Widget failed: Post "https://x": context deadline exceeded`))
	err500     = apierrors.NewInternalError(errors.New("etcdserver: no leader"))
	err503     = apierrors.NewServiceUnavailable("down")
	err504     = apierrors.NewTimeoutError("Timeout: request did not complete within the allotted time", 0)
)

// initializing is the answer to a LIST whose watch cache cannot start.
func initializing(seconds int) error {
	return apierrors.NewTooManyRequests("storage is (re)initializing", seconds)
}

// milliseconds formats a time.
func milliseconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.0f s", math.Round(d.Seconds()))
}
