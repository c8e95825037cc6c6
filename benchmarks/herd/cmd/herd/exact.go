// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/exact"
)

// runExactly runs this command with the same arguments except -exact in a deterministic
// environment.
func runExactly(args []string, out, errOut io.Writer) (code int, err error) {
	ctx := context.Background()
	command, err := exact.Build(ctx, "github.com/k8sretry/k8sretry/benchmarks/herd/cmd/herd")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, command.Close(ctx)) }()
	return command.Run(ctx, out, errOut, append(args, "-exact=false")...)
}
