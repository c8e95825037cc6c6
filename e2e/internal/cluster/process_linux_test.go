// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// parentEnv is the environment variable that makes the test binary the parent process.
const parentEnv = "K8SRETRY_E2E_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentEnv); dir != "" {
		p, err := startProcess(filepath.Join(dir, "log"), "sleep", "60")
		if err != nil {
			panic(err)
		}
		p.signal(syscall.SIGSTOP)
		_, _ = os.Stdout.WriteString(strconv.Itoa(p.cmd.Process.Pid) + "\n")
		select {}
	}
	os.Exit(m.Run())
}

// A process is killed when its parent is killed, even if the process is stopped.
func TestProcessDiesWithParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"="+t.TempDir())
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	require.True(t, running(pid))

	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	assert.Eventually(t, func() bool { return !running(pid) }, 5*time.Second, 10*time.Millisecond)
}

// running reports whether the process exists and is not a zombie. An orphan is a zombie
// until process 1 waits for it.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestProcessIsStoppedAndKilled(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	p, err := startProcess(log, "sh", "-c", "echo one; echo two; read line")
	require.NoError(t, err)
	assert.Eventually(t, func() bool { return strings.Contains(tail(log, 1000), "two\n") }, 5*time.Second, 10*time.Millisecond)
	assert.False(t, p.ended())
	p.signal(syscall.SIGSTOP)
	p.kill()
	assert.True(t, p.ended())
	p.kill() // no effect
	assert.Contains(t, tail(log, 1000), "one\ntwo\n=== pid")
	assert.NotContains(t, tail(log, 40), "one")

	p, err = startProcess(log, "sh", "-c", "sleep 60")
	require.NoError(t, err)
	p.stop(5 * time.Second)
	assert.True(t, p.ended())

	_, err = startProcess(log, filepath.Join(t.TempDir(), "absent"))
	assert.Error(t, err)
}

func TestDirectoriesOfDeadProcessesAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dead := exec.Command("true")
	require.NoError(t, dead.Run())
	left := filepath.Join(os.TempDir(), dirPrefix+strconv.Itoa(dead.Process.Pid)+"-1")
	require.NoError(t, os.Mkdir(left, 0o700))
	first, err := newDir()
	require.NoError(t, err)
	second, err := newDir()
	require.NoError(t, err)
	assert.NoDirExists(t, left)
	assert.DirExists(t, first)
	assert.DirExists(t, second)
}
