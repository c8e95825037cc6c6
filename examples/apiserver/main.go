// SPDX-License-Identifier: Apache-2.0

// Apiserver runs the in-memory API server of the examples as a separate program:
//
//	go run ./examples/apiserver -dir /tmp/try -resource databases.example.dev/v1/databases/Database
//
// It writes two files into the directory: kubeconfig, for clients, and control, which
// contains the URL for commands:
//
//	curl -X POST "$(cat /tmp/try/control)/down"          close the port: connection refused
//	curl -X POST "$(cat /tmp/try/control)/up"            open the port again; the objects are kept
//	curl -X POST ".../fail?verb=create&code=503&times=2" fail the next 2 creates
//	curl -X POST ".../limit?verb=create&in-flight=5&each=50ms"
//	curl -X POST ".../heal"                              remove all failures and limits
//	curl ".../requests?verb=create"                      list requests: verb, resource, name, code
//
// The code of a failure is a status code, drop (close the connection) or hang (never
// answer). With after-commit=true the server carries out the request before it fails.
// The parameters verb, resource and name select requests. The server listens on
// loopback only, without TLS and authentication; use it for experiments only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/k8sretry/k8sretry/examples/internal/tinykube"
)

func main() {
	var resources resourceList
	dir := flag.String("dir", ".", "`directory` for the files kubeconfig and control")
	flag.Var(&resources, "resource", "`group/version/plural/Kind` of a namespaced custom resource; may be repeated")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *dir, resources)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "apiserver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, resources []tinykube.Resource) error {
	server, err := tinykube.Start(resources...)
	if err != nil {
		return err
	}
	defer server.Stop()
	if err := server.WriteKubeconfig(filepath.Join(dir, "kubeconfig")); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control := &http.Server{Handler: newControl(server), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- control.Serve(listener) }()
	defer func() { _ = control.Close(); <-served }()

	// The file is written last and atomically: once it exists, the server is ready.
	path := filepath.Join(dir, "control")
	if err := os.WriteFile(path+".new", []byte("http://"+listener.Addr().String()+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// newControl returns the handler for the commands.
func newControl(server *tinykube.Server) http.Handler {
	mux := http.NewServeMux()
	command := func(path string, do func(url.Values) error) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.URL.Query()); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		})
	}
	command("/down", func(url.Values) error { server.Down(); return nil })
	command("/up", func(url.Values) error { return server.Up() })
	command("/heal", func(url.Values) error { server.Heal(); return nil })
	command("/fail", func(q url.Values) error {
		answer, err := parseAnswer(q)
		if err != nil {
			return err
		}
		times, err := number(q, "times", 1)
		if err != nil {
			return err
		}
		server.FailNext(times, match(q), answer)
		return nil
	})
	command("/limit", func(q url.Values) error {
		inFlight, err := number(q, "in-flight", 1)
		if err != nil {
			return err
		}
		each, err := time.ParseDuration(q.Get("each"))
		if err != nil {
			return err
		}
		server.Limit(match(q), inFlight, each)
		return nil
	})
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, r *http.Request) {
		m := match(r.URL.Query())
		for _, record := range server.Requests() {
			if m.Covers(record.Request) {
				fmt.Fprintln(w, record.Verb, record.Resource, record.Name, record.Code)
			}
		}
	})
	return mux
}

func match(q url.Values) tinykube.Match {
	return tinykube.Match{Verb: q.Get("verb"), Resource: q.Get("resource"), Name: q.Get("name")}
}

func parseAnswer(q url.Values) (tinykube.Answer, error) {
	var answer tinykube.Answer
	switch code := q.Get("code"); code {
	case "drop":
		answer = tinykube.Drop
	case "hang":
		answer = tinykube.Hang
	default:
		n, err := strconv.Atoi(code)
		if err != nil || n < 400 || n > 599 {
			return answer, errors.New("code must be 400 to 599, drop or hang")
		}
		answer = tinykube.Fail(n)
	}
	if q.Get("retry-after") != "" {
		seconds, err := number(q, "retry-after", 0)
		if err != nil {
			return answer, err
		}
		answer = answer.WithRetryAfter(seconds)
	}
	if q.Get("after-commit") == "true" {
		answer = answer.AfterCommit()
	}
	return answer, nil
}

// number returns the value of a parameter, or fallback if the parameter is absent.
func number(q url.Values, name string, fallback int) (int, error) {
	if q.Get(name) == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < 1 || n > 10_000 {
		return 0, fmt.Errorf("%s must be 1 to 10000", name)
	}
	return n, nil
}

type resourceList []tinykube.Resource

func (l *resourceList) String() string { return "" }

func (l *resourceList) Set(text string) error {
	parts := strings.Split(text, "/")
	if len(parts) != 4 || strings.Contains(text, "//") {
		return errors.New("must be group/version/plural/Kind")
	}
	*l = append(*l, tinykube.Resource{Group: parts[0], Version: parts[1], Plural: parts[2], Kind: parts[3], Namespaced: true, Status: true})
	return nil
}
