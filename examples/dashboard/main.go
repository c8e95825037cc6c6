// SPDX-License-Identifier: Apache-2.0

// Dashboard is a page that shows k8sretry at work, live and without a cluster:
//
//	go run ./examples/dashboard
//
// Three clients make the same calls, each to its own copy of a Kubernetes API server in
// memory: k8sretry, plain client-go, and client-go in a retry loop. The page, on a loopback
// port, switches faults of the servers on and off, and compares what the callers were
// answered with what the servers did. It also shows the limits and the latest decisions of
// k8sretry.
//
// Interrupt the program to end it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	listen string
	seed   uint64
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8099", "serve the page at this loopback `address`; port 0 is a free one")
	flag.Uint64Var(&o.seed, "seed", 1, "`seed` of the choice of the answers that are lost")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

// run serves the page until the context ends.
func run(ctx context.Context, out io.Writer, o options) error {
	listener, err := listen(o.listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d, err := newDemo(o.seed)
	if err != nil {
		_ = listener.Close()
		return err
	}
	server := &http.Server{Handler: newPage(d), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(listener)
		cancel()
	}()
	fmt.Fprintf(out, "Open http://%s in a browser. Ctrl-C ends the program.\n", listener.Addr())
	d.run(ctx)
	_ = server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// listen listens at a loopback address, and refuses any other.
func listen(address string) (net.Listener, error) {
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	if !resolved.IP.IsLoopback() {
		return nil, fmt.Errorf("%s is not a loopback address", address)
	}
	return net.ListenTCP("tcp", resolved)
}
