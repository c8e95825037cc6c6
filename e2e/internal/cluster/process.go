// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a child process that is killed when this process ends. Its output is appended
// to a log file.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed after Wait
}

func startProcess(log, path string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = dieWithParent()

	// On every system the child exits when its standard input ends, unless it is stopped.
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		out.Close()
		return nil, err
	}
	started := make(chan error)
	go func() {
		// For Pdeathsig the parent is the thread that started the child, so this thread
		// must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer out.Close()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			fmt.Fprintf(out, "=== pid %d: %s ===\n", p.cmd.Process.Pid, p.cmd.ProcessState)
			stdin.Close()
		}
	}()
	return p, <-started
}

// signal sends a signal. It does nothing if the process has ended.
func (p *process) signal(s os.Signal) {
	_ = p.cmd.Process.Signal(s)
}

// suspend stops the process with SIGSTOP and waits until all of its threads have stopped: the
// signal returns before that, and a busy machine takes its time.
func (p *process) suspend() {
	p.signal(syscall.SIGSTOP)
	for range 1000 {
		if p.suspended() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// suspended reports whether the state of each thread is T in /proc (proc(5)).
func (p *process) suspended() bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		_, state, _ := strings.Cut(string(stat), ") ")
		if err == nil && !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return len(stats) > 0
}

// kill kills the process, even if it is stopped, and waits until it has ended.
func (p *process) kill() {
	p.signal(os.Kill)
	<-p.done
}

// stop interrupts the process, and kills it if it has not ended within the limit.
func (p *process) stop(limit time.Duration) {
	p.signal(os.Interrupt)
	select {
	case <-p.done:
	case <-time.After(limit):
		p.kill()
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// tail returns the end of a file, starting at the beginning of a line.
func tail(path string, limit int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	start := max(0, info.Size()-limit)
	b, err := io.ReadAll(io.NewSectionReader(f, start, limit))
	if err != nil {
		return err.Error()
	}
	if start > 0 {
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	return string(b)
}
