// SPDX-License-Identifier: Apache-2.0

// Command fairness runs all contenders of package fairness, one after the other, and writes
// the counts of the server and the latencies beside an exhausted priority level as tables
// into a document, between its markers:
//
//	go run ./cmd/fairness            # in e2e/, about 6 minutes
//	go run ./cmd/fairness -only k8sretry
//
// Without markers, and with -only, the tables are printed. The command fails if k8sretry with
// a Limiter did not serve all calls, had as many requests rejected as another library, or
// delayed the requests of a priority level that has room.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"k8s.io/klog/v2"

	"github.com/k8sretry/k8sretry/e2e/internal/fairness"
	"github.com/k8sretry/k8sretry/e2e/internal/marked"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "fairness:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("fairness", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "", "run only the contenders whose name contains this")
	doc := flags.String("doc", "../docs/overload.md", "document in which the text between the markers is replaced")
	if err := flags.Parse(args); err != nil {
		return err
	}
	klog.SetLogger(klog.Logger{}) // client-go logs each wait
	contenders, ofLevels := fairness.Contenders(), fairness.LevelContenders()
	s, err := fairness.NewServer(ctx, len(contenders)+len(ofLevels))
	if err != nil {
		return err
	}
	defer s.Close()
	var rows []row
	for _, by := range contenders {
		if !strings.Contains(by.Name, *only) {
			continue
		}
		result, err := s.Run(ctx, by)
		if err != nil {
			return fmt.Errorf("%s: %w", by.Name, err)
		}
		fmt.Fprintf(stderr, "%s (bare %v): %v %v\n", by.Name, by.Bare, result, result.Errors)
		rows = append(rows, row{by, result})
	}
	var levels []levelRow
	for _, by := range ofLevels {
		if !strings.Contains(by.Name, *only) {
			continue
		}
		result, err := s.RunLevels(ctx, by)
		if err != nil {
			return fmt.Errorf("two levels, %s: %w", by.Name, err)
		}
		fmt.Fprintf(stderr, "two levels, %s: %+v\n", by.Name, result)
		levels = append(levels, levelRow{by, result})
	}
	if *only != "" {
		*doc = os.DevNull
	}
	return errors.Join(marked.Write(*doc, "apf", markdown(rows), stdout), marked.Write(*doc, "levels", levelsMarkdown(levels), stdout),
		check(rows), checkLevels(levels))
}
