// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/restclient" // rest_client_*, the metrics of client-go

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/examples/databases/service"
	"github.com/k8sretry/k8sretry/k8sretryprom"
)

// requestTimeout is the timeout of a request to the service and of a report.
const requestTimeout = 8 * time.Second

// observedService is two instances of the databases service, one with a breaker and a
// budget, one with a limiter, and a report that lists all databases. In one instance, the
// limiter would prevent the failures that open the breaker.
//
// The report has a limiter of its own and makes one long call after the other. Thus some
// conditions do not depend on chance: each scrape of a healthy phase finds an attempt in
// flight, and an attempt that is refused is the only one of its limiter, which makes it limit
// the rate.
type observedService struct {
	handlers []http.Handler
	report   func(context.Context) error
	metrics  http.Handler
}

func newService(config *rest.Config) (*observedService, error) {
	budget := k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 5, Ratio: 0.3, Window: 5 * time.Second})
	breaker := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 10, Window: 3 * time.Second, OpenDuration: time.Second, MaxOpenDuration: 3 * time.Second})
	limiter, reportLimiter := k8sretry.NewLimiter(), k8sretry.NewLimiter()
	retries := k8sretryprom.New(
		k8sretryprom.WithBudget("writers", budget), k8sretryprom.WithBreaker("writers", breaker), k8sretryprom.WithLimiter("readers", limiter),
		k8sretryprom.WithLimiter("report", reportLimiter),
	)

	config = rest.CopyConfig(config)
	config.Wrap(retries.CountSends)
	config.Wrap(k8sretry.Transport(k8sretry.WithObserver(retries)))
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(retries); err != nil {
		return nil, err
	}
	o := &observedService{metrics: promhttp.HandlerFor(
		prometheus.Gatherers{registry, legacyregistry.DefaultGatherer}, promhttp.HandlerOpts{EnableOpenMetrics: true},
	)}
	retry := []k8sretry.Option{
		k8sretry.WithObserver(retries), k8sretry.WithInitialDelay(100 * time.Millisecond), k8sretry.WithMaxDelay(time.Second),
	}
	databases := client.Resource(service.DatabaseResource).Namespace(metav1.NamespaceDefault)
	listing := k8sretry.NewPolicy(append(slices.Clip(retry), k8sretry.WithLimiter(reportLimiter))...)
	o.report = func(ctx context.Context) error {
		return k8sretry.Run(ctx, func(ctx context.Context) error {
			if _, err := databases.List(ctx, metav1.ListOptions{}); err != nil {
				return err
			}
			return wait(ctx, 100*time.Millisecond) // as long as the list of a large cluster
		}, listing)
	}
	for _, guards := range []*k8sretry.Policy{
		k8sretry.NewPolicy(k8sretry.WithBudget(budget), k8sretry.WithBreaker(breaker)),
		k8sretry.NewPolicy(k8sretry.WithLimiter(limiter)),
	} {
		o.handlers = append(o.handlers, service.New(client, zap.NewNop(), service.Config{
			RequestTimeout: requestTimeout,
			Retry:          append(slices.Clip(retry), guards),
		}))
	}
	return o, nil
}

// load creates, reads and deletes databases from 12 goroutines, and lists them from one more,
// until the context ends.
func (o *observedService) load(ctx context.Context) {
	var clients sync.WaitGroup
	for i := range 12 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for n := 0; ctx.Err() == nil; n++ {
				o.useDatabase(ctx, o.handlers[i%len(o.handlers)], fmt.Sprintf("db-%d-%d", i, n))
				_ = wait(ctx, time.Duration(random.IntN(int(200*time.Millisecond))))
			}
		})
	}
	clients.Go(func() {
		for ctx.Err() == nil {
			reportCtx, cancel := context.WithTimeout(ctx, requestTimeout)
			err := o.report(reportCtx)
			cancel()
			if err != nil {
				_ = wait(ctx, 100*time.Millisecond) // a limiter may refuse a call at once
			}
		}
	})
	clients.Wait()
}

// useDatabase creates one database, reads it and deletes it.
func (o *observedService) useDatabase(ctx context.Context, to http.Handler, name string) {
	const databases = "/api/v1/databases"
	database := fmt.Sprintf(`{"name":%q,"engine":"postgres","version":"16","storage":"10Gi"}`, name)
	for _, request := range []struct{ method, path, body string }{
		{http.MethodPost, databases, database},
		{http.MethodGet, databases + "/" + name, ""},
		{http.MethodGet, "/api/v1/opsrequests/" + name + "-provision", ""}, // there is no controller: 404
		{http.MethodGet, databases + "/" + name, ""},
		{http.MethodDelete, databases + "/" + name, ""},
	} {
		r := httptest.NewRequestWithContext(ctx, request.method, request.path, strings.NewReader(request.body))
		r.Header.Set("Content-Type", "application/json")
		to.ServeHTTP(httptest.NewRecorder(), r)
	}
}
