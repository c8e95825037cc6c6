// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// apiServer is a process of examples/apiserver, which is controlled through its HTTP
// control address.
type apiServer struct {
	config  *rest.Config
	control string
}

func startAPIServer(ctx context.Context, dir string) (*apiServer, func(), error) {
	program := filepath.Join(dir, "apiserver")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/k8sretry/k8sretry/examples/apiserver")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("go build examples/apiserver: %w: %s", err, out)
	}
	stop, err := start(exec.Command(program, "-dir", dir,
		"-resource", "databases.example.dev/v1/databases/Database", "-resource", "databases.example.dev/v1/opsrequests/OpsRequest"), nil)
	if err != nil {
		return nil, nil, err
	}
	s := new(apiServer)
	err = until(ctx, func() (err error) {
		address, err := os.ReadFile(filepath.Join(dir, "control"))
		s.control = strings.TrimSpace(string(address))
		return err
	})
	if err == nil {
		s.config, err = clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "kubeconfig"))
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	s.config.QPS = -1 // no client-side rate limit
	return s, stop, nil
}

// command sends a command to the control address.
func (s *apiServer) command(ctx context.Context, command string, query url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.control+"/"+command+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s: %s", command, resp.Status, text)
	}
	return nil
}

// start runs a program until stop is called.
func start(program *exec.Cmd, output io.Writer) (stop func(), err error) {
	program.Stdout, program.Stderr = output, output
	if err := program.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { _ = program.Wait(); close(ended) }()
	return func() {
		_ = program.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = program.Process.Kill()
			<-ended
		}
	}, nil
}

// until calls ready until it returns nil, for up to 30 seconds.
func until(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if wait(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("the program has not started within 30 s: %w", err)
		}
	}
}

// wait sleeps for d, or returns the error of the context when it ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
