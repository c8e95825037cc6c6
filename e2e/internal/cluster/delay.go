// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/k8sretry/k8sretry/e2e/internal/loopback"
)

// delayLine is a proxy between the apiserver and etcd that delays the answers of etcd. It
// does not reduce the throughput: delays overlap.
type delayLine struct {
	listener net.Listener
	target   string
	delay    atomic.Int64
	wait     sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	closed bool
}

func newDelayLine(etcdPort int) (*delayLine, error) {
	listener, err := loopback.Listen()
	if err != nil {
		return nil, err
	}
	d := &delayLine{listener: listener, target: net.JoinHostPort("127.0.0.1", strconv.Itoa(etcdPort))}
	d.wait.Go(d.accept)
	return d, nil
}

func (d *delayLine) port() int { return loopback.Port(d.listener) }

func (d *delayLine) accept() {
	for {
		in, err := d.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", d.target)
		if err != nil {
			in.Close()
			continue
		}
		if !d.track(in, out) {
			return
		}
		d.wait.Go(func() {
			_, _ = io.Copy(out, in)
			out.Close()
		})
		d.wait.Go(func() {
			d.copyDelayed(in, out)
			in.Close()
		})
	}
}

// track records connections to be closed by close. If the proxy is closed, it closes them
// and returns false.
func (d *delayLine) track(conns ...net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		for _, c := range conns {
			c.Close()
		}
		return false
	}
	d.conns = append(d.conns, conns...)
	return true
}

type parcel struct {
	data []byte
	due  time.Time
}

// copyDelayed copies data, each piece after the delay.
func (d *delayLine) copyDelayed(to, from net.Conn) {
	parcels := make(chan parcel, 4096)
	d.wait.Go(func() {
		for p := range parcels {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.data) // an error also ends the other direction
		}
	})
	defer close(parcels)
	for {
		buffer := make([]byte, 32<<10)
		n, err := from.Read(buffer)
		if n > 0 {
			parcels <- parcel{buffer[:n], time.Now().Add(time.Duration(d.delay.Load()))}
		}
		if err != nil {
			return
		}
	}
}

func (d *delayLine) close() {
	d.listener.Close()
	d.mu.Lock()
	d.closed = true
	for _, c := range d.conns {
		c.Close()
	}
	d.mu.Unlock()
	d.wait.Wait()
}
