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

// Window is a stretch of time.
type Window struct{ From, To time.Duration }

// Has reports whether t lies in the window.
func (w Window) Has(t time.Duration) bool { return w.From <= t && t < w.To }

// Server is how the simulated API server behaves. It serves one request after the
// other, and goes on with one whose client has left.
type Server struct {
	Capacity Curve // requests per second
	Queue    int   // longest queue; a request more is answered by 503

	// Down is when connections are refused. What is queued when it begins is lost.
	Down []Window
	// Faults is the share of requests answered by 503 at random.
	Faults float64
	// Limit, if there is one, is a rate above which requests are answered by 429 with
	// a Retry-After of 1 s to 5 s.
	Limit Curve
	// Slow is what a request takes beyond its turn, by verb.
	Slow func(verb Verb, at time.Duration) time.Duration
	// Drops is a server that notices when a client has left.
	Drops bool
}

// Verb is a kind of request.
type Verb uint8

// The kinds of requests.
const (
	Get Verb = iota
	List
)

// Answers that do not depend on the request. They are only read.
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

// answerTime is what it takes to be turned away.
const answerTime = 2 * time.Millisecond

// running is a Server at work in a bubble.
type running struct {
	Server
	begin  time.Time
	record *Record

	mu     sync.Mutex
	rng    *rand.Rand
	queue  []*job // first come, first served
	wake   chan struct{}
	stop   chan struct{}
	stored float64 // what Limit has left, at most a tenth of a second
	spent  float64 // where on the curve of Limit that was
}

// job is a request in the queue.
type job struct {
	done chan struct{}
	err  error
	verb Verb
	left bool // the client is gone
	over bool
}

func start(s Server, begin time.Time, seed uint64, record *Record) *running {
	r := &running{
		Server: s, begin: begin, record: record, rng: newRand(seed, 2),
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	go r.serve()
	for _, down := range s.Down {
		time.AfterFunc(down.From, r.lose)
	}
	return r
}

func (r *running) now() time.Duration { return time.Since(r.begin) }

// request sends one request and waits for its answer.
func (r *running) request(ctx context.Context, verb Verb) error {
	now := r.now()
	r.mu.Lock()
	if err := r.turnAway(now); err != nil {
		r.mu.Unlock()
		time.Sleep(answerTime)
		return err
	}
	j := &job{done: make(chan struct{}), verb: verb}
	r.queue = append(r.queue, j)
	r.record.depth(now, len(r.queue))
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if j.over {
		return j.err
	}
	j.left = true
	return &url.Error{Op: "Get", URL: "https://10.96.0.1:443/api", Err: ctx.Err()}
}

// turnAway is the answer to a request that is not even queued.
func (r *running) turnAway(now time.Duration) error {
	if r.up(now) > now {
		r.record.arrival(now, refused)
		return errRefused
	}
	switch {
	case r.Limit != nil && !r.withinLimit(now):
		r.record.arrival(now, rejected)
		return errThrottled[r.rng.IntN(len(errThrottled))]
	case len(r.queue) >= r.Queue, r.Faults > 0 && r.rng.Float64() < r.Faults:
		r.record.arrival(now, rejected)
		return errUnavailable
	}
	r.record.arrival(now, accepted)
	return nil
}

// withinLimit takes a token of a bucket that holds a tenth of a second's worth.
func (r *running) withinLimit(now time.Duration) bool {
	total := r.Limit.Total(now)
	r.stored = min(r.stored+total-r.spent, max(1, r.Limit.At(now)/10))
	r.spent = total
	if r.stored < 1 {
		return false
	}
	r.stored--
	return true
}

// serve is the server's one worker.
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

// take is the next request to serve, nil if there is none.
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
	if j.over {
		return
	}
	j.over, j.err = true, err
	if err == nil {
		r.record.served(r.now(), j.left)
	} else {
		r.record.lost()
	}
	close(j.done)
}

// lose is what a crash does to the requests in the queue.
func (r *running) lose() {
	r.mu.Lock()
	lost := r.queue
	r.queue = nil
	r.record.depth(r.now(), 0)
	r.mu.Unlock()
	for _, j := range lost {
		r.finish(j, errReset)
	}
}
