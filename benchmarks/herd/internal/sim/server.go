// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Window is a time interval.
type Window struct{ From, To time.Duration }

// Has reports whether t is in the window.
func (w Window) Has(t time.Duration) bool { return w.From <= t && t < w.To }

// Server describes the behaviour of the simulated API server. It serves one request after
// the other, including requests whose clients have left.
type Server struct {
	Capacity Curve // requests per second
	Queue    int   // maximum length of the queue; further requests are answered 503

	// Down contains the windows in which connections are refused. The queued requests
	// are lost at the start of a window.
	Down []Window
	// ErrorRatio is the share of requests that are answered 503 at random.
	ErrorRatio float64
	// Limit, if not nil, is the rate above which requests are answered 429 with a
	// Retry-After of 1 s to 5 s.
	Limit Curve
	// Slow, if not nil, returns the additional duration of a request by verb.
	Slow func(verb Verb, at time.Duration) time.Duration
	// Drops is set if the server drops requests whose clients have left.
	Drops bool
}

// Verb is a kind of request.
type Verb uint8

// The kinds of requests.
const (
	Get Verb = iota
	List
	Renew // of a lease: it passes the Limiter of k8sretry
)

// The error answers. They are not modified.
var (
	errRefused = &url.Error{Op: "Get", URL: "https://10.96.0.1:443/api", Err: &net.OpError{
		Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 96, 0, 1), Port: 443},
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
	}}
	errReset = &url.Error{Op: "Get", URL: "https://10.96.0.1:443/api", Err: &net.OpError{
		Op: "read", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 96, 0, 1), Port: 443},
		Err: os.NewSyscallError("read", syscall.ECONNRESET),
	}}
	errUnavailable = apierrors.NewServiceUnavailable("the server is currently unable to handle the request")
	errThrottled   = [...]error{
		apierrors.NewTooManyRequests("too many requests", 1),
		apierrors.NewTooManyRequests("too many requests", 2),
		apierrors.NewTooManyRequests("too many requests", 3),
		apierrors.NewTooManyRequests("too many requests", 4),
		apierrors.NewTooManyRequests("too many requests", 5),
	}
)

// answerTime is the duration of a rejected request.
const answerTime = 2 * time.Millisecond

// running is a running Server.
type running struct {
	Server
	begin  time.Time
	record *Record

	mu     sync.Mutex
	rng    *rand.Rand
	queue  []*job // in order of arrival
	wake   chan struct{}
	stop   chan struct{}
	tokens float64 // tokens of Limit, at most those of a tenth of a second
	total  float64 // Limit.Total at the last update of tokens
}

// job is a request in the queue.
type job struct {
	end  chan struct{}
	err  error
	verb Verb
	left bool // the client has left
	done bool
}

func start(s Server, begin time.Time, seed uint64, record *Record) *running {
	r := &running{
		Server: s, begin: begin, record: record, rng: newRand(seed, 2),
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	go r.serve()
	for _, down := range s.Down {
		time.AfterFunc(down.From, r.crash)
	}
	return r
}

func (r *running) now() time.Duration { return time.Since(r.begin) }

// request sends one request and waits for its answer.
func (r *running) request(ctx context.Context, verb Verb) error {
	now := r.now()
	r.mu.Lock()
	if err := r.admit(now); err != nil {
		r.mu.Unlock()
		time.Sleep(answerTime)
		return err
	}
	j := &job{end: make(chan struct{}), verb: verb}
	r.queue = append(r.queue, j)
	r.record.depth(now, len(r.queue))
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	select {
	case <-j.end:
		return j.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if j.done {
		return j.err
	}
	j.left = true
	return &url.Error{Op: "Get", URL: "https://10.96.0.1:443/api", Err: ctx.Err()}
}

// admit returns the error of a request that is not queued, and nil otherwise.
func (r *running) admit(now time.Duration) error {
	if r.up(now) > now {
		r.record.arrival(now, refused)
		return errRefused
	}
	switch {
	case r.Limit != nil && !r.withinLimit(now):
		r.record.arrival(now, rejected)
		return errThrottled[r.rng.IntN(len(errThrottled))]
	case len(r.queue) >= r.Queue, r.ErrorRatio > 0 && r.rng.Float64() < r.ErrorRatio:
		r.record.arrival(now, rejected)
		return errUnavailable
	}
	r.record.arrival(now, accepted)
	return nil
}

// withinLimit takes a token from a bucket with the capacity of a tenth of a second.
func (r *running) withinLimit(now time.Duration) bool {
	total := r.Limit.Total(now)
	r.tokens = min(r.tokens+total-r.total, max(1, r.Limit.At(now)/10))
	r.total = total
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}

// serve is the only worker of the server.
func (r *running) serve() {
	for {
		j := r.take()
		if j == nil {
			select {
			case <-r.wake:
				continue
			case <-r.stop:
				return
			}
		}
		time.Sleep(r.Capacity.Reach(r.Capacity.Total(r.now())+1) - r.now())
		if j.verb != Get && r.Slow != nil {
			if d := r.Slow(j.verb, r.now()); d > 0 {
				time.AfterFunc(d, func() { r.finish(j, nil) })
				continue
			}
		}
		r.finish(j, nil)
	}
}

// take returns the next request to serve, or nil if there is none.
func (r *running) take() *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 {
		j := r.queue[0]
		r.queue[0] = nil
		r.queue = r.queue[1:]
		if r.Drops && j.left {
			r.record.dropped()
			continue
		}
		r.record.depth(r.now(), len(r.queue))
		return j
	}
	return nil
}

// finish answers a request.
func (r *running) finish(j *job, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if j.done {
		return
	}
	j.done, j.err = true, err
	if err == nil {
		r.record.served(r.now(), j.left)
	} else {
		r.record.lost()
	}
	close(j.end)
}

// crash resets the connections of the queued requests.
func (r *running) crash() {
	r.mu.Lock()
	lost := r.queue
	r.queue = nil
	r.record.depth(r.now(), 0)
	r.mu.Unlock()
	for _, j := range lost {
		r.finish(j, errReset)
	}
}
