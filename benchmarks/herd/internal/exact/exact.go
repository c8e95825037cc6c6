// SPDX-License-Identifier: Apache-2.0

// Package exact runs a Go command deterministically: in WebAssembly, on one thread, with
// fixed clocks and random numbers. The Go runtime seeds its generators, schedules goroutines
// and iterates over maps with the random numbers of the host, so that the same input gives
// exactly the same output. It takes ten to thirty times as long.
package exact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// Command is a built command. It must be closed.
type Command struct {
	machine wazero.Runtime
	code    wazero.CompiledModule
}

// Build builds a package with the go command, in the current directory.
func Build(ctx context.Context, pkg string) (*Command, error) {
	code, err := build(ctx, pkg)
	if err != nil {
		return nil, err
	}
	c := &Command{machine: wazero.NewRuntime(ctx)}
	if _, err = wasi_snapshot_preview1.Instantiate(ctx, c.machine); err == nil {
		c.code, err = c.machine.CompileModule(experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0)), code)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	return c, nil
}

func build(ctx context.Context, pkg string) (code []byte, err error) {
	dir, err := os.MkdirTemp("", "exact")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "command.wasm")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", file, pkg)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go build %s: %w\n%s", pkg, err, &output)
	}
	return os.ReadFile(file)
}

// Run runs the command and returns its exit code. The command has no files, environment
// and network.
func (c *Command) Run(ctx context.Context, out, errOut io.Writer, args ...string) (code int, err error) {
	// By default wazero's clocks and random numbers are deterministic.
	config := wazero.NewModuleConfig().WithName("").WithArgs(append([]string{"command"}, args...)...).WithStdout(out).WithStderr(errOut)
	module, err := c.machine.InstantiateModule(ctx, c.code, config)
	if exit, ok := errors.AsType[*sys.ExitError](err); ok {
		return int(exit.ExitCode()), nil
	}
	if err != nil {
		return 0, err
	}
	return 0, module.Close(ctx)
}

// Close releases the resources of the command.
func (c *Command) Close(ctx context.Context) error { return c.machine.Close(ctx) }
