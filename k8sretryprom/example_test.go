// SPDX-License-Identifier: Apache-2.0

package k8sretryprom_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryprom"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// A call is retried once. A scrape reports two attempts and one retry.
func Example() {
	retries := k8sretryprom.New()
	prometheus.MustRegister(retries)

	faults := []error{k8sretrytest.Status(503), nil}
	_ = k8sretry.Run(context.Background(), func(context.Context) error {
		err := faults[0]
		faults = faults[1:]
		return err
	}, k8sretry.WithName("get_pod"), k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.WithObserver(retries), k8sretry.WithInitialDelay(time.Millisecond))

	err := testutil.GatherAndCompare(prometheus.DefaultGatherer, strings.NewReader(`
# HELP k8sretry_attempts_total Attempts of calls that have ended.
# TYPE k8sretry_attempts_total counter
k8sretry_attempts_total{function="get_pod",verb="get"} 2
# HELP k8sretry_retries_total Retries, by class and status code of the failed attempt.
# TYPE k8sretry_retries_total counter
k8sretry_retries_total{class="server",code="503",function="get_pod",verb="get"} 1
`), "k8sretry_attempts_total", "k8sretry_retries_total")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Println("one retry, after a 503")
	// Output: one retry, after a 503
}

// The Collector observes all requests of the clients that are created from a rest.Config,
// and exports the state of their budget and limiter.
func ExampleNew() {
	budget, limiter := k8sretry.NewBudget(k8sretry.BudgetConfig{}), k8sretry.NewLimiter()
	retries := k8sretryprom.New(k8sretryprom.WithBudget("cluster", budget), k8sretryprom.WithLimiter("cluster", limiter))
	prometheus.MustRegister(retries)

	config := &rest.Config{Host: "https://cluster.example"}
	config.Wrap(retries.CountSends)
	config.Wrap(k8sretry.Transport(
		k8sretry.ForRead(), k8sretry.WithBudget(budget), k8sretry.WithLimiter(limiter), k8sretry.WithObserver(retries),
	))
}
