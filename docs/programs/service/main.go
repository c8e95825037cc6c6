// SPDX-License-Identifier: Apache-2.0

// Command service serves the phase of pods over HTTP, with logs of zap and metrics of Prometheus.
package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryprom"
)

func main() {
	logger := zap.Must(zap.NewProduction())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, logger); err != nil {
		logger.Fatal("the service has stopped", zap.Error(err))
	}
}

func run(ctx context.Context, logger *zap.Logger) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	clientset, err := connect(config, logger, registry)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: ":8080", Handler: handler(clientset, registry), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(stopping)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// connect returns a clientset whose requests are retried, logged, counted, and queued while the API server is
// overloaded.
func connect(config *rest.Config, logger *zap.Logger, registry *prometheus.Registry) (kubernetes.Interface, error) {
	limiter := k8sretry.NewLimiter()
	metrics := k8sretryprom.New(k8sretryprom.WithLimiter("cluster", limiter))
	if err := registry.Register(metrics); err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.Wrap(metrics.CountSends)
	config.Wrap(k8sretry.Transport(
		k8sretry.WithAttemptTimeout(5*time.Second),
		k8sretry.WithLimiter(limiter),
		k8sretry.WithLogger(logger),
		k8sretry.WithExpected(apierrors.IsNotFound), // callers may ask for any name: no line for each
		k8sretry.WithObserver(metrics),
	))
	return kubernetes.NewForConfig(config)
}

// handler ends a call with the request that asks for it, and after 10 seconds at the latest.
func handler(clientset kubernetes.Interface, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /phase/{namespace}/{name}", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
		defer cancel()
		pod, err := clientset.CoreV1().Pods(r.PathValue("namespace")).Get(ctx, r.PathValue("name"), metav1.GetOptions{})
		switch {
		case err == nil:
			_, _ = w.Write([]byte(pod.Status.Phase))
		case apierrors.IsNotFound(err):
			http.Error(w, "no such pod", http.StatusNotFound)
		default:
			http.Error(w, "the cluster does not answer", http.StatusServiceUnavailable)
		}
	})
	return mux
}
