// Package cluster starts a real kube-apiserver and its etcd for tests, as two
// processes on 127.0.0.1 that end with the test, and breaks them on demand.
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

// Admin is the user who is always there: in the group system:masters, and so
// exempt from Priority and Fairness.
const Admin = "admin"

// Options say what is special about a cluster. The zero value is a good one.
type Options struct {
	// Users have a token of their own besides [Admin]. They are in no group but
	// system:authenticated. Everything is allowed to everybody unless
	// APIServerArgs change that.
	Users []string
	// APIServerArgs are added to the command line of kube-apiserver and win
	// over what is there.
	APIServerArgs []string
	// SlowEtcd is by how much each answer of etcd comes later, once the cluster is
	// ready. What the apiserver takes from its watch cache takes no longer.
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
	slow     *delayLine // nil if etcd is as fast as it is

	mu   sync.Mutex
	etcd *process
	api  *process
}

// Start returns a cluster that is ready and ends with the test. If the test
// fails, the logs of both processes are shown.
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

// New returns a cluster that is ready, for use by many tests. The caller ends it
// with [Cluster.Close]. It builds the server if need be, which takes minutes the
// first time; a start takes a few seconds.
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
	// The apiserver waits for etcd by itself.
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

// Close kills both processes and removes everything they stored. Only the
// first call has an effect.
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

// URL is the address of the apiserver, the same after each restart.
func (c *Cluster) URL() string { return "https://127.0.0.1:" + strconv.Itoa(c.port) }

// CA is the certificate authority of the apiserver, in PEM, the same after each
// restart.
func (c *Cluster) CA() []byte { return c.ca }

// Config is for clients of the given user, [Admin] or one of Options.Users; it
// panics for others. Clients wait for nothing by themselves (no limiter) and
// share their connections with all other clients made from a Config of this
// cluster.
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

// ShowLogs logs the end of both processes' logs when the test has failed. Tests
// that share a cluster call it themselves.
func (c *Cluster) ShowLogs(tb testing.TB) {
	tb.Helper()
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(c.Logs())
		}
	})
}

// Logs returns the last lines that etcd and the apiserver have written.
func (c *Cluster) Logs() string {
	var b strings.Builder
	for _, name := range []string{"etcd", "apiserver"} {
		fmt.Fprintf(&b, "--- %s ---\n%s", name, tail(c.log(name), 8<<10))
	}
	return b.String()
}

// KillAPIServer kills the apiserver as a crash would, and returns when its port
// is closed. It does nothing while there is none.
func (c *Cluster) KillAPIServer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.api != nil {
		c.api.kill()
	}
}

// StopAPIServer asks the apiserver to end in good order, as a rolling update
// does, and returns when it has, after 30 seconds at the latest.
func (c *Cluster) StopAPIServer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.api != nil {
		c.api.stop(30 * time.Second)
	}
}

// StartAPIServer starts the apiserver on its port with its data and does not
// wait for it: see [Cluster.WaitReady]. It does nothing while one is running.
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

// RestartAPIServer kills the apiserver, starts it again and waits until it is
// ready.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	c.KillAPIServer()
	if err := c.StartAPIServer(); err != nil {
		return err
	}
	return c.WaitReady(ctx)
}

// StopEtcd stops etcd where it stands (SIGSTOP): its connections stay open and
// nobody answers on them. It undoes itself only by [Cluster.ContinueEtcd].
func (c *Cluster) StopEtcd() { c.etcd.signal(syscall.SIGSTOP) }

// ContinueEtcd lets a stopped etcd go on where it was.
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
