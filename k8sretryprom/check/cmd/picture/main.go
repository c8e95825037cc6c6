// Picture draws what the dashboard of k8sretryprom shows, from the answers of a real
// Prometheus to the dashboard's own queries.
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

// shown are the panels that answer the questions of the README, in rows of two.
var shown = []string{
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
	whole := flag.Duration("for", 150*time.Second, "how long the trouble lasts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *monitoring, *to, *whole)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, monitoring, to string, whole time.Duration) error {
	panels, err := check.ReadDashboard(filepath.Join(monitoring, "dashboard.json"))
	if err != nil {
		return err
	}
	rules, err := filepath.Abs(filepath.Join(monitoring, "rules.yaml"))
	if err != nil {
		return err
	}
	return check.Run(ctx, rules, whole, func(server, _ *check.Server) error {
		var graphs []graph
		for _, title := range shown {
			g, err := answer(ctx, server, panels, title)
			if err != nil {
				return err
			}
			graphs = append(graphs, g)
		}
		return write(to, graphs, whole)
	})
}
