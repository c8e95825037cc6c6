// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/k8sretry/k8sretry/worlds/model"
	"github.com/k8sretry/k8sretry/worlds/trace"
)

// OpHeader carries the number of the call that sends a request.
const OpHeader = "X-World-Call"

// replayHeader marks the answer that an inner layer loses.
const replayHeader = "X-World-Replay"

type opKey struct{}

// WithOp returns a context whose requests are those of a call.
func WithOp(ctx context.Context, op int) context.Context { return context.WithValue(ctx, opKey{}, op) }

// OpOf returns the call of a context, 0 for none.
func OpOf(ctx context.Context) int {
	op, _ := ctx.Value(opKey{}).(int)
	return op
}

// Front answers requests with what the server says, or with a fault.
type Front struct {
	Plan    Plan
	Server  *model.Server
	Network *Network
	Trace   *trace.Recorder
	TLS     bool

	mu       sync.Mutex
	requests map[int]int       // by call
	dials    map[int]int       // by call
	lost     map[int]time.Time // by call: when it was noted that a connection has lost something
	resend   map[int]bool      // by call: an inner layer sends the request that failed last once more
	replicas []replica
	levels   levels
	down     bool
	late     sync.WaitGroup // what is carried out later
}

// replica is a server behind the balancer.
type replica struct {
	epoch chan struct{} // closed when it stops
	down  bool
}

// NewFront returns a front of a server.
func NewFront(p Plan, s *model.Server, n *Network, t *trace.Recorder) *Front {
	f := &Front{
		Plan: p, Server: s, Network: n, Trace: t,
		requests: make(map[int]int), dials: make(map[int]int), lost: make(map[int]time.Time), resend: make(map[int]bool),
	}
	for range max(p.Replicas, 1) {
		f.replicas = append(f.replicas, replica{epoch: make(chan struct{})})
	}
	f.levels.until = make(map[levelOf]full)
	return f
}

// Wait waits until all that was to be carried out later has been.
func (f *Front) Wait() { f.late.Wait() }

// Dialer connects the clients of a program, for rest.Config. active returns the calls that the
// program makes at the moment: what a connection swallows may be theirs.
func (f *Front) Dialer(active func() []int) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		op := OpOf(ctx)
		f.mu.Lock()
		f.dials[op]++
		n := f.dials[op]
		f.mu.Unlock()
		kind := f.Plan.Dial(op, n)
		if kind != None {
			f.Trace.Add(trace.Entry{Kind: trace.DialFailed, Op: op, N: n, Fault: string(kind)})
		}
		if kind == DialRefused {
			return nil, refused()
		}
		conn, err := f.Network.dial(ctx, f.running(f.Plan.Replica(op, n)), kind == DialHangs, func() {
			if kind == DialHangs && f.TLS {
				return // there was no handshake yet
			}
			for _, op := range active() {
				f.lose(op)
			}
		})
		if err != nil && kind == None {
			f.Trace.Add(trace.Entry{Kind: trace.DialFailed, Op: op, N: n, Fault: string(DialRefused)})
		}
		return conn, err
	}
}

// lose notes that a connection may have lost something of a call.
func (f *Front) lose(op int) {
	f.mu.Lock()
	last, noted := f.lost[op]
	if noted = noted && time.Since(last) < time.Second; !noted {
		f.lost[op] = time.Now()
	}
	f.mu.Unlock()
	if !noted {
		f.Trace.Add(trace.Entry{Kind: trace.ConnectionLost, Op: op})
	}
}

// running returns the replica that the balancer takes for the one that was drawn: that one, or the
// next one that is not down.
func (f *Front) running(drawn int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.replicas {
		if n := (drawn + i) % len(f.replicas); !f.replicas[n].down {
			return n
		}
	}
	return drawn
}

// number returns the number of a request within its call.
func (f *Front) number(op int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests[op]++
	delete(f.resend, op) // net/http has sent the read once more by itself
	return f.requests[op]
}

type connKey struct{}

// ConnContext is for http.Server.
func (f *Front) ConnContext(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// exchange is one request.
type exchange struct {
	*Front
	w     http.ResponseWriter
	req   *http.Request
	op, n int
	to    int    // the replica
	level string // the priority level
	body  []byte
	fault Fault
	write bool
	watch bool
	conn  *conn
	epoch chan struct{}
}

func (f *Front) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	op, _ := strconv.Atoi(req.Header.Get(OpHeader))
	x := &exchange{Front: f, w: w, req: req, op: op, write: req.Method != http.MethodGet, level: levelOfPath(req.URL.Path)}
	x.conn, _ = req.Context().Value(connKey{}).(*conn)
	watching := req.URL.Query().Get("watch")
	x.watch = watching == "true" || watching == "1"
	var err error
	if x.body, err = io.ReadAll(req.Body); err != nil {
		panic(http.ErrAbortHandler) // the request did not arrive
	}
	x.n = f.number(op)
	x.fault = f.Plan.Request(op, x.n, x.write, x.watch)
	if x.conn != nil {
		x.to = x.conn.replica
	}
	if f.Plan.EachRequest {
		x.to = f.running(f.Plan.Replica(op, x.n))
	}
	f.mu.Lock()
	x.epoch = f.replicas[x.to].epoch
	f.mu.Unlock()
	f.Trace.Add(trace.Entry{
		Kind: trace.RequestCame, Op: op, N: x.n, Method: req.Method, Path: req.URL.Path, Fault: string(x.fault.Kind),
		Write: x.write, Watch: x.watch, Sends: x.noted(),
	})
	x.serve()
}

// noted is what the trace keeps of the body.
func (x *exchange) noted() string {
	if x.op == 0 || len(x.body) > 400 {
		return ""
	}
	return string(x.body)
}

// execute lets the server carry the request out.
func (x *exchange) execute() model.Response {
	if r, refused := x.refused(); refused {
		x.Trace.Add(trace.Entry{Kind: trace.RequestDone, Op: x.op, N: x.n, Code: r.Code, Version: r.Version, Level: x.level, Write: x.write})
		return r
	}
	by := "others"
	if x.op > 0 {
		by = "op:" + strconv.Itoa(x.op)
	} else if name := x.req.Header.Get(ActorHeader); name != "" {
		by = name
	}
	r := x.Server.HandleOn(x.to, &model.Request{
		Method: x.req.Method, Path: x.req.URL.Path, Query: x.req.URL.Query(), ContentType: x.req.Header.Get("Content-Type"),
		Accept: x.req.Header.Get("Accept"), UserAgent: x.req.UserAgent(), Body: x.body, By: by,
	})
	x.Trace.Add(trace.Entry{Kind: trace.RequestDone, Op: x.op, N: x.n, Code: r.Code, Version: r.Version, Behind: r.Behind, Level: x.level, Write: x.write})
	return r
}

// ActorHeader names another client of the world.
const ActorHeader = "X-World-Actor"

// pause waits. It reports false if the server has stopped meanwhile.
func (x *exchange) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-x.epoch:
		return false
	}
}

// later carries the request out after a time, also if the client is gone by then.
func (x *exchange) later(d time.Duration) {
	x.late.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		<-timer.C
		x.execute()
	})
}

func (x *exchange) abort() {
	x.answered(0, 0, false)
	panic(http.ErrAbortHandler)
}

// answered records what the client could see.
func (x *exchange) answered(code, retryAfter int, clean bool) {
	if x.conn == nil || x.conn.dead.Load() || x.conn.broken.Load() || x.req.Context().Err() != nil {
		clean, retryAfter = false, 0 // it does not arrive
	}
	x.Trace.Add(trace.Entry{
		Kind: trace.Answered, Op: x.op, N: x.n, Code: code, RetryAfter: time.Duration(retryAfter) * time.Second, Clean: clean, Write: x.write,
		Fault: string(x.fault.Kind),
	})
}

func (x *exchange) serve() {
	if !x.pause(x.fault.Latency) {
		if x.fault.Executed {
			x.execute()
		}
		x.abort()
	}
	f := x.fault
	switch f.Kind {
	case LostAnswer:
		x.execute()
		x.abort()
	case InnerResend:
		x.execute()
		x.mu.Lock()
		x.resend[x.op] = true
		x.mu.Unlock()
		x.abort()
	case LostRequest:
		x.abort()
	case Reset, Dead:
		if f.Executed {
			x.execute()
		}
		x.answered(0, 0, false)
		if f.Kind == Dead {
			x.conn.die()
			<-x.req.Context().Done() // the client gives up
		} else {
			x.conn.reset()
		}
		panic(http.ErrAbortHandler)
	case Restart:
		x.restart(f)
	case ReplicaDown:
		x.restartReplica(f)
	case LateRequest:
		if !x.pause(f.Delay) && !f.Executed {
			x.abort()
		}
		x.reply(x.execute())
	case LateAnswer:
		r := x.execute()
		if !x.pause(f.Delay) {
			x.abort()
		}
		x.reply(r)
	case Truncated:
		x.truncated(x.execute())
	case GoAway:
		x.w.Header().Set("Connection", "close")
		x.reply(x.execute())
	case Redirected:
		x.answered(f.Code, 0, false)
		x.w.Header().Set("Location", x.req.URL.RequestURI())
		x.w.WriteHeader(f.Code)
	case LoginPage:
		x.text(http.StatusOK, 0, "text/html; charset=utf-8", "<!DOCTYPE html><html><title>Sign in</title></html>")
	case TooMany, TooManyAfter:
		x.text(http.StatusTooManyRequests, f.RetryAfter, "text/plain; charset=utf-8", "Too many requests, please try again later.\n")
	case Gateway, GatewayAfter:
		if f.Executed {
			x.execute()
		}
		if f.Kind == GatewayAfter {
			x.w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfter))
		}
		x.text(f.Code, f.RetryAfter, "text/html", fmt.Sprintf("<html><h1>%d %s</h1></html>", f.Code, http.StatusText(f.Code)))
	case InnerReplay:
		x.execute()
		x.w.Header().Set(replayHeader, "true")
		x.text(http.StatusBadGateway, 0, "text/html", "<html><h1>502 Bad Gateway</h1></html>")
	case EtcdTimeout:
		if f.Executed && x.n%2 == 0 {
			x.later(f.Delay)
		} else if f.Executed {
			x.execute()
		}
		x.failure(http.StatusInternalServerError, `"message":"etcdserver: request timed out"`)
	case LevelFull:
		x.exhaust()
		x.reply(x.execute())
	case AppliedLater:
		x.later(f.Delay)
		x.failure(http.StatusGatewayTimeout, `"reason":"Timeout","message":"request did not complete within the allotted timeout"`)
	case NoHistory, HistoryGone:
		if f.Kind == HistoryGone {
			x.Trace.Add(trace.Entry{Kind: trace.HistoryGone, Version: x.Server.Compact(x.to, 1)})
		} else {
			x.req.URL.RawQuery = strings.ReplaceAll(x.req.URL.RawQuery, "resourceVersion=", "ignored=")
		}
		x.reply(x.execute())
	default:
		x.reply(x.execute())
	}
}

// text answers with something else than the API.
func (x *exchange) text(code, retryAfter int, media, body string) {
	x.answered(code, retryAfter, false)
	h := x.w.Header()
	h.Set("Content-Type", media)
	if retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	x.w.WriteHeader(code)
	_, _ = io.WriteString(x.w, body)
}

// failure answers with a Status.
func (x *exchange) failure(code int, fields string) {
	x.answered(code, 0, false)
	x.w.Header().Set("Content-Type", "application/json")
	x.w.WriteHeader(code)
	_, _ = fmt.Fprintf(x.w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,%s}`, code, fields)
}

func (x *exchange) header(r model.Response) {
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	if r.ContentType != "" {
		h.Set("Content-Type", r.ContentType)
	}
	x.classify()
	h.Set("Date", x.Server.Now(x.to).UTC().Format(http.TimeFormat))
	if r.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(r.RetryAfter))
	}
}

// reply sends the server's own answer.
func (x *exchange) reply(r model.Response) {
	if r.Watch != nil {
		x.stream(r.Watch)
		return
	}
	x.answered(r.Code, r.RetryAfter, true)
	x.header(r)
	x.w.WriteHeader(r.Code)
	_, _ = x.w.Write(r.Body)
}

// truncated sends half of the answer.
func (x *exchange) truncated(r model.Response) {
	if r.Watch != nil {
		x.abort()
	}
	x.answered(0, 0, false)
	x.header(r)
	x.w.Header().Set("Content-Length", strconv.Itoa(len(r.Body)))
	x.w.WriteHeader(r.Code)
	_, _ = x.w.Write(r.Body[:len(r.Body)/2])
	_ = http.NewResponseController(x.w).Flush()
	panic(http.ErrAbortHandler)
}

// restart stops the server and starts it some time later. Requests in flight are cut.
func (x *exchange) restart(f Fault) {
	if f.Executed {
		x.execute()
	}
	x.answered(0, 0, false)
	x.Stop()
	x.late.Go(func() {
		timer := time.NewTimer(f.Delay / 3)
		defer timer.Stop()
		<-timer.C
		x.Start()
	})
	panic(http.ErrAbortHandler)
}

// fillsCache is how long the watch caches need after a restart of all servers.
const fillsCache = 300 * time.Millisecond

// restartReplica stops one of the servers and starts it some time later, with an empty cache.
func (x *exchange) restartReplica(f Fault) {
	if f.Executed {
		x.execute()
	}
	x.answered(0, 0, false)
	if x.stopReplica(x.to) {
		x.late.Go(func() {
			timer := time.NewTimer(f.Delay / 3)
			defer timer.Stop()
			<-timer.C
			x.Server.Restart(x.to, f.Delay/6)
			x.startReplica(x.to)
		})
	}
	panic(http.ErrAbortHandler)
}

func (f *Front) stopReplica(n int) bool {
	f.mu.Lock()
	if f.replicas[n].down {
		f.mu.Unlock()
		return false
	}
	f.replicas[n].down = true
	close(f.replicas[n].epoch)
	f.mu.Unlock()
	f.Trace.Add(trace.Entry{Kind: trace.ReplicaDown, N: n})
	if !f.Plan.EachRequest {
		f.Network.resetAll(n)
	}
	return true
}

func (f *Front) startReplica(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down || !f.replicas[n].down {
		return // it starts with the others, or has
	}
	f.replicas[n] = replica{epoch: make(chan struct{})}
	f.Trace.Add(trace.Entry{Kind: trace.ReplicaUp, N: n})
}

// Stop cuts all connections and refuses new ones.
func (f *Front) Stop() {
	f.mu.Lock()
	if f.down {
		f.mu.Unlock()
		return
	}
	f.down = true
	for i := range f.replicas {
		if !f.replicas[i].down {
			f.replicas[i].down = true
			close(f.replicas[i].epoch)
		}
	}
	f.mu.Unlock()
	f.Trace.Add(trace.Entry{Kind: trace.ServerDown})
	f.Network.setDown(true)
	f.Network.resetAll(-1)
}

// Start accepts connections again.
func (f *Front) Start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.down {
		return
	}
	f.down = false
	for i := range f.replicas {
		f.Server.Restart(i, fillsCache)
		f.replicas[i] = replica{epoch: make(chan struct{})}
	}
	f.Network.setDown(false)
	f.Trace.Add(trace.Entry{Kind: trace.ServerUp})
}
