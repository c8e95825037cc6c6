// Package exact runs a Go command where nothing is left to chance: in WebAssembly, on one
// thread, with clocks and random numbers that are the same each time. Go's runtime seeds its
// generators, orders what wakes at the same moment, and iterates over maps by what the host
// gives it; the same input gives the same output, byte for byte. It takes ten to thirty
// times as long.
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

// Command is a command that has been built. Close it.
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
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go build %s: %w\n%s", pkg, err, &said)
	}
	return os.ReadFile(file)
}

// Run runs the command and returns its exit code. It has no files, no environment and no
// network.
func (c *Command) Run(ctx context.Context, out, errOut io.Writer, args ...string) (code int, err error) {
	// wazero's own clocks and random numbers are the same each time unless one asks for real ones.
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

// Close frees what the command holds.
func (c *Command) Close(ctx context.Context) error { return c.machine.Close(ctx) }
