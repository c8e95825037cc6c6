// Package loopback finds ports on 127.0.0.1 that keep.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are drawn below the range that systems use for outgoing connections
// (32768 and up on Linux). A port from that range can be taken by any client
// while its server is away, and a client that dials it then can even connect to
// itself.
const first, last = 12000, 30000

// Listen listens on a free port of 127.0.0.1 that nobody is given by chance
// once the listener is closed: the same port can be listened on again. It is
// safe for concurrent use.
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

// FreePort returns a port that [Listen] would use. It is free when FreePort
// returns; two callers may in rare cases be given the same one.
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
