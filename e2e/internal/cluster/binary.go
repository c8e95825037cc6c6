package cluster

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// EnvBinary names the environment variable with the path of an apiserver
// program that was built before. Without it, [Binary] builds one.
const EnvBinary = "K8SRETRY_E2E_APISERVER"

const program = "github.com/k8sretry/k8sretry/e2e/cmd/apiserver"

// Binary returns the path of the apiserver program and builds it where that is
// needed: once in a process, and only if its sources have changed since any
// earlier process did. The first build on a machine takes minutes. It is safe
// for concurrent use, by processes too.
var Binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(EnvBinary); path != "" {
		return path, nil
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("k8sretry-e2e-bin-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := ours(dir); err != nil {
		return "", err
	}
	// Test packages run as processes of their own, side by side.
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}

	// The source directory is in the path, so that two checkouts on one machine
	// do not rebuild each other's program in turns.
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "apiserver-"+strings.ReplaceAll(strings.Trim(root, "/"), "/", "_"))
	// Without symbols it links in half the time. A race detector asked for by
	// GOFLAGS is for the tests: it would cost a build of its own here.
	build := exec.Command("go", "build", "-race=false", "-cover=false", "-ldflags=-s -w", "-o", path, program)
	build.Dir = root
	var out bytes.Buffer
	build.Stdout, build.Stderr = &out, &out
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", program, err, out.Bytes())
	}
	return path, nil
})

// moduleRoot is the directory of this module: tests run in their package's.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// ours refuses a directory that somebody else prepared: its programs would run
// with our rights.
func ours(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is not a directory of this user alone", dir)
	}
	return nil
}
