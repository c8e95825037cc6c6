// SPDX-License-Identifier: Apache-2.0

// Package loopback finds stable ports on 127.0.0.1.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports are below the range for outgoing connections (32768 and up on Linux). While a
// server is down, a client can get a port of that range, and a client that dials it can
// even connect to itself.
const first, last = 12000, 30000

// Listen listens on a free port of 127.0.0.1 that is not used for outgoing connections, so
// that the port can be used again after the listener is closed. It is safe for concurrent
// use.
func Listen() (net.Listener, error) {
	var err error
	for range 100 {
		var l net.Listener
		if l, err = ListenPort(first + rand.IntN(last-first)); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no free port: %w", err)
}

// ListenPort listens on the given port of 127.0.0.1.
func ListenPort(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// FreePort returns a free port. In rare cases two callers get the same port.
func FreePort() (int, error) {
	l, err := Listen()
	if err != nil {
		return 0, err
	}
	port := Port(l)
	return port, l.Close()
}

// Port returns the port of a listener.
func Port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
