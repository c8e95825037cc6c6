// SPDX-License-Identifier: Apache-2.0

// Package cluster runs a real kube-apiserver and etcd for tests, as two processes on
// 127.0.0.1 that end with the test and can be killed, stopped and slowed down.
package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry/e2e/internal/loopback"
)

// Admin is a user that always exists. It is in the group system:masters and so exempt from
// Priority and Fairness.
const Admin = "admin"

// Options configure a cluster. The zero value is valid.
type Options struct {
	// Users are the users besides [Admin]. Each has its own token and is only in the
	// group system:authenticated. All users are authorized for everything unless
	// APIServerArgs change that.
	Users []string
	// APIServerArgs are added to the command line of kube-apiserver and override the
	// defaults.
	APIServerArgs []string
	// SlowEtcd delays each answer of etcd once the cluster is ready. Answers from the
	// watch cache of the apiserver are not delayed.
	SlowEtcd time.Duration
}

// Cluster is a kube-apiserver with its etcd. Its methods are safe for
// concurrent use.
type Cluster struct {
	dir      string
	binary   string
	port     int
	etcdPort int
	args     []string
	tokens   map[string]string
	ca       []byte     // set before New returns
	slow     *delayLine // nil if etcd is not delayed

	mu   sync.Mutex
	etcd *process
	api  *process
}

// Start returns a ready cluster that is closed at the end of the test. If the test fails,
// it logs the ends of both logs.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	c.ShowLogs(tb)
	return c
}

// New returns a ready cluster for use by many tests. The caller must call [Cluster.Close].
// New builds the server if necessary, which takes minutes the first time. The start takes a
// few seconds.
func New(o Options) (_ *Cluster, err error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	dir, err := newDir()
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, binary: binary, args: o.APIServerArgs, tokens: map[string]string{}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, c.Logs())
			c.Close()
		}
	}()
	if err := c.writeTokens(o.Users); err != nil {
		return nil, err
	}
	if c.port, err = loopback.FreePort(); err != nil {
		return nil, err
	}
	if c.etcdPort, err = loopback.FreePort(); err != nil {
		return nil, err
	}
	if c.etcd, err = startProcess(c.log("etcd"), binary,
		"-exit-with-stdin", "-only", "etcd", "-dir", dir, "-etcd-port", strconv.Itoa(c.etcdPort)); err != nil {
		return nil, err
	}
	if o.SlowEtcd > 0 {
		if c.slow, err = newDelayLine(c.etcdPort); err != nil {
			return nil, err
		}
	}
	// The apiserver waits for etcd.
	if err := c.StartAPIServer(); err != nil {
		return nil, err
	}
	if err := c.WaitReady(context.Background()); err != nil {
		return nil, err
	}
	if c.slow != nil {
		c.slow.delay.Store(int64(o.SlowEtcd))
	}
	c.ca, err = os.ReadFile(c.certificate())
	return c, err
}

// Close kills both processes and removes their data. Only the first call has an effect.
func (c *Cluster) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range []*process{c.api, c.etcd} {
		if p != nil {
			p.kill()
		}
	}
	if c.slow != nil {
		c.slow.close()
	}
	_ = os.RemoveAll(c.dir)
}

// URL returns the address of the apiserver. A restart does not change it.
func (c *Cluster) URL() string { return "https://127.0.0.1:" + strconv.Itoa(c.port) }

// CA returns the certificate authority of the apiserver in PEM. A restart does not change
// it.
func (c *Cluster) CA() []byte { return c.ca }

// Config returns a client configuration for [Admin] or one of Options.Users. It panics for
// other users. The clients have no rate limit and share their connections with all other
// clients of this cluster.
func (c *Cluster) Config(user string) *rest.Config {
	token, ok := c.tokens[user]
	if !ok {
		panic("cluster: unknown user " + user)
	}
	return &rest.Config{
		Host:            c.URL(),
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.ca},
		QPS:             -1,
	}
}

// ShowLogs logs the ends of both logs if the test fails. Tests that share a cluster must
// call it.
func (c *Cluster) ShowLogs(tb testing.TB) {
	tb.Helper()
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(c.Logs())
		}
	})
}

// Logs returns the last log lines of etcd and the apiserver.
func (c *Cluster) Logs() string {
	var b strings.Builder
	for _, name := range []string{"etcd", "apiserver"} {
		fmt.Fprintf(&b, "--- %s ---\n%s", name, tail(c.log(name), 8<<10))
	}
	return b.String()
}

// KillAPIServer kills the apiserver like a crash, and returns when its port is closed. It
// does nothing if the apiserver is not running.
func (c *Cluster) KillAPIServer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.api != nil {
		c.api.kill()
	}
}

// StopAPIServer shuts the apiserver down gracefully, like a rolling update, and returns when
// it has ended. It kills the apiserver after 30 seconds.
func (c *Cluster) StopAPIServer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.api != nil {
		c.api.stop(30 * time.Second)
	}
}

// StartAPIServer starts the apiserver on its port with its data. It does not wait until the
// apiserver is ready: see [Cluster.WaitReady]. It does nothing if the apiserver is running.
func (c *Cluster) StartAPIServer() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.api != nil && !c.api.ended() {
		return nil
	}
	etcdPort := c.etcdPort
	if c.slow != nil {
		etcdPort = c.slow.port()
	}
	args := []string{
		"-exit-with-stdin", "-only", "apiserver", "-dir", c.dir, "-tokens", c.tokenFile(),
		"-port", strconv.Itoa(c.port), "-etcd-port", strconv.Itoa(etcdPort), "--",
	}
	c.api, err = startProcess(c.log("apiserver"), c.binary, append(args, c.args...)...)
	return err
}

// RestartAPIServer kills the apiserver, starts it and waits until it is ready.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	c.KillAPIServer()
	if err := c.StartAPIServer(); err != nil {
		return err
	}
	return c.WaitReady(ctx)
}

// StopEtcd suspends etcd (SIGSTOP): its connections stay open and are not served until
// [Cluster.ContinueEtcd].
func (c *Cluster) StopEtcd() { c.etcd.suspend() }

// ContinueEtcd resumes a stopped etcd.
func (c *Cluster) ContinueEtcd() { c.etcd.signal(syscall.SIGCONT) }

func (c *Cluster) log(name string) string { return filepath.Join(c.dir, name+".log") }
func (c *Cluster) tokenFile() string      { return filepath.Join(c.dir, "users.csv") }
func (c *Cluster) certificate() string    { return filepath.Join(c.dir, "certs", "apiserver.crt") }

func (c *Cluster) writeTokens(users []string) error {
	var b strings.Builder
	for _, user := range append([]string{Admin}, users...) {
		c.tokens[user] = rand.Text()
		fmt.Fprintf(&b, "%s,%s,%s", c.tokens[user], user, user)
		if user == Admin {
			b.WriteString(`,"system:masters"`)
		}
		b.WriteString("\n")
	}
	return os.WriteFile(c.tokenFile(), []byte(b.String()), 0o600)
}
