// SPDX-License-Identifier: Apache-2.0

//go:build !race

// The program is never built with the race detector, which would take ten more minutes and
// make the server slow. "go test -race ./..." skips it, and the tests build it without.

// Command apiserver is a real kube-apiserver with its etcd in one program, for
// tests that need the server itself and no cluster around it.
//
//	apiserver -dir /tmp/kube
//
// starts both in one process and writes /tmp/kube/kubeconfig. With -only etcd and
// -only apiserver they run in two processes of the same program, so that one can be
// stopped or killed while the other is running. Arguments after "--" are passed to
// kube-apiserver and override those of this program:
//
//	apiserver -dir /tmp/kube -- --authorization-mode=RBAC --v=2
//
// Everything listens on 127.0.0.1 only and stores its data in -dir: a second start with
// the same directory has the same objects, certificates and tokens. The program is for
// tests only: etcd does not sync to disk.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// settings are the flags.
type settings struct {
	only     string
	dir      string
	port     int
	etcdPort int
	tokens   string
	stdin    bool
	extra    []string // for kube-apiserver
}

func parse(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("apiserver", flag.ContinueOnError)
	flags.StringVar(&s.only, "only", "", "run only etcd or apiserver (default: both in one process)")
	flags.StringVar(&s.dir, "dir", "", "directory for data, certificates, keys and tokens; it is kept when the program ends")
	flags.IntVar(&s.port, "port", 6443, "port of the apiserver on 127.0.0.1")
	flags.IntVar(&s.etcdPort, "etcd-port", 2379, "port of etcd on 127.0.0.1")
	flags.StringVar(&s.tokens, "tokens", "", "token file in the format of --token-auth-file (default: a file in -dir with a random token for the user admin)")
	flags.BoolVar(&s.stdin, "exit-with-stdin", false, "exit when standard input ends, so that the program does not outlive its parent")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	s.extra = flags.Args()
	switch {
	case s.dir == "":
		return s, errors.New("-dir is missing")
	case s.only != "" && s.only != "etcd" && s.only != "apiserver":
		return s, fmt.Errorf("-only %s: want etcd or apiserver", s.only)
	case s.only == "etcd" && len(s.extra) > 0:
		return s, errors.New("arguments for kube-apiserver given, but -only etcd")
	}
	return s, nil
}

func main() {
	s, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "apiserver:", err)
		os.Exit(1)
	}
}

func run(s settings) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if s.stdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
	}
	if s.only != "apiserver" {
		stop, err := startEtcd(s)
		if err != nil {
			return fmt.Errorf("etcd: %w", err)
		}
		defer stop()
	}
	if s.only == "etcd" {
		// The apiserver installs its own signal handler and can do so only once.
		ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer cancel()
		<-ctx.Done()
		return nil
	}
	return runAPIServer(s)
}
