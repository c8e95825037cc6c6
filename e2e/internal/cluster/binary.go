// SPDX-License-Identifier: Apache-2.0

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

// EnvBinary is the environment variable with the path of a prebuilt apiserver program.
// Without it, [Binary] builds the program.
const EnvBinary = "K8SRETRY_E2E_APISERVER"

const program = "github.com/k8sretry/k8sretry/e2e/cmd/apiserver"

// Binary returns the path of the apiserver program. It builds the program at most once per
// process, and only if the sources have changed since the last build. The first build on a
// machine takes minutes. Binary is safe for concurrent use by several processes.
var Binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(EnvBinary); path != "" {
		return path, nil
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("k8sretry-e2e-bin-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := checkOwner(dir); err != nil {
		return "", err
	}
	// Test packages run in concurrent processes.
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}

	// The path contains the source directory, so that two checkouts on one machine do
	// not overwrite each other's program.
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "apiserver-"+strings.ReplaceAll(strings.Trim(root, "/"), "/", "_"))
	// Linking takes half the time without symbols. A -race in GOFLAGS is for the tests and
	// would cause a second build.
	build := exec.Command("go", "build", "-race=false", "-cover=false", "-ldflags=-s -w", "-o", path, program)
	build.Dir = root
	var out bytes.Buffer
	build.Stdout, build.Stderr = &out, &out
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", program, err, out.Bytes())
	}
	return path, nil
})

// moduleRoot returns the root directory of this module.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// checkOwner returns an error unless the directory belongs to this user alone, because a
// program in it is executed.
func checkOwner(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is not a directory that only this user can write", dir)
	}
	return nil
}
