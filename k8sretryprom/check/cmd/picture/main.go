// SPDX-License-Identifier: Apache-2.0

// Picture draws panels of the dashboard of k8sretryprom from the results of their queries
// to a real Prometheus.
//
//	go run ./cmd/picture -o ../monitoring/dashboard.svg
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/k8sretry/k8sretry/k8sretryprom/check"
)

// titles are the titles of the panels to draw, in rows of two.
var titles = []string{
	"Calls that need a retry (goal: below 10 %)",
	"Calls given up (goal: below 0.1 %)",
	"Calls with more than 1, 2, 3 and 4 attempts",
	"Retries by status code and class",
	"Throttling (429)",
	"Time spent waiting",
	"Breakers",
	"Limiters: in flight and queued",
}

func main() {
	to := flag.String("o", "../monitoring/dashboard.svg", "`file` of the picture")
	monitoring := flag.String("monitoring", "../monitoring", "`directory` of rules and dashboard")
	duration := flag.Duration("for", 150*time.Second, "`duration` of the scenario")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *monitoring, *to, *duration)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, monitoring, to string, duration time.Duration) error {
	panels, err := check.ReadDashboard(filepath.Join(monitoring, "dashboard.json"))
	if err != nil {
		return err
	}
	rules, err := filepath.Abs(filepath.Join(monitoring, "rules.yaml"))
	if err != nil {
		return err
	}
	return check.Run(ctx, rules, duration, func(server, _ *check.Server) error {
		var graphs []graph
		for _, title := range titles {
			g, err := queryPanel(ctx, server, panels, title)
			if err != nil {
				return err
			}
			graphs = append(graphs, g)
		}
		return write(to, graphs, duration)
	})
}
