// SPDX-License-Identifier: Apache-2.0

// Command model runs the same random requests on the model of kube-apiserver that worlds/ uses
// and on a real kube-apiserver, and compares the answers:
//
//	go run ./cmd/model -sequences 200            # in e2e/
//
// Compared are the code, the reason, the message and the details of an answer, and of an object
// all that a client can decide by: names, whether UID and resourceVersion have changed, labels,
// annotations, finalizers, deletion, generation, replicas, data, and who manages the fields.
// Defaults of specs are not, nor the fields that a manager owns: the model has no schemas. The
// events of a watch are compared at the end of each sequence.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "model:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("model", flag.ContinueOnError)
	flags.SetOutput(stderr)
	sequences := flags.Int("sequences", 100, "run so many sequences")
	length := flags.Int("length", 40, "requests of a sequence")
	seed := flags.Uint64("seed", 1, "the seed of the first sequence")
	show := flags.Int("show", 10, "print so many differences")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := cluster.New(cluster.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	real, err := newReal(ctx, c.Config(cluster.Admin))
	if err != nil {
		return err
	}
	requests, differences := 0, 0
	for i := range *sequences {
		s, err := newSequence(ctx, *seed+uint64(i), real)
		if err != nil {
			return err
		}
		found, err := s.run(ctx, *length)
		if err != nil {
			return err
		}
		requests += *length
		for _, d := range found {
			if differences++; differences <= *show {
				fmt.Fprintln(stdout, d)
			}
		}
	}
	fmt.Fprintf(stdout, "%d sequences, %d requests on each server, %d answers differ\n", *sequences, requests, differences)
	if differences > 0 {
		return fmt.Errorf("the model is wrong in %d answers", differences)
	}
	return nil
}
