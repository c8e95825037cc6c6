// SPDX-License-Identifier: Apache-2.0

// Databases is a small service that stores databases as custom resources and makes
// all calls to the API server with k8sretry. See package service for its HTTP API.
//
//	go run ./examples/databases
//	curl -X POST localhost:8080/api/v1/databases \
//	  -d '{"name":"orders","engine":"postgres","version":"16","storage":"10Gi"}' -H 'Content-Type: application/json'
//	curl localhost:8080/api/v1/databases/orders
//	curl localhost:8080/api/v1/opsrequests/orders-provision
//
// Without -kubeconfig it starts an API server in memory and a fake operator that
// provisions the databases. With -kubeconfig, the cluster needs the custom resource
// definitions of service/crds.yaml, which -crds prints.
//
// After SIGTERM or SIGINT it finishes the requests in flight. Those that take longer
// than -shutdown-timeout are answered 503. A second signal ends the process at once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/examples/databases/service"
	"github.com/k8sretry/k8sretry/examples/internal/tinykube"
)

type options struct {
	listen, kubeconfig, namespace   string
	requestTimeout, shutdownTimeout time.Duration
	attemptTimeout, initialDelay    time.Duration
	crds                            bool
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8080", "`address` of the service")
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "use the cluster of this kubeconfig `file` instead of the server in memory")
	flag.StringVar(&o.namespace, "namespace", "default", "`namespace` of the databases")
	flag.DurationVar(&o.requestTimeout, "request-timeout", 90*time.Second, "maximum duration of a request, including all retries")
	flag.DurationVar(&o.shutdownTimeout, "shutdown-timeout", 30*time.Second, "maximum time to finish requests after SIGTERM")
	flag.DurationVar(&o.attemptTimeout, "attempt-timeout", 15*time.Second, "maximum duration of one attempt; without it a server that never answers is not detected")
	flag.DurationVar(&o.initialDelay, "initial-delay", 0, "delay before the first retry, to shorten a trial; 0 means that of the presets")
	flag.BoolVar(&o.crds, "crds", false, "print the custom resource definitions and exit")
	flag.Parse()
	if o.crds {
		fmt.Print(service.CRDManifests)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that the second signal ends the process
	logger := newLogger(os.Stdout)
	err := run(ctx, logger, o, nil)
	stop()
	if err != nil {
		logger.Error("service_failed", zap.Error(err))
		os.Exit(1)
	}
}

// retry returns the options that override the presets.
func (o options) retry() []k8sretry.Option {
	options := []k8sretry.Option{k8sretry.WithAttemptTimeout(o.attemptTimeout)}
	if o.initialDelay > 0 {
		options = append(options, k8sretry.WithInitialDelay(o.initialDelay))
	}
	return options
}

// newLogger returns a logger that writes one JSON object per line, with the message
// under the key "event".
func newLogger(out io.Writer) *zap.Logger {
	encoding := zap.NewProductionEncoderConfig()
	encoding.MessageKey = "event"
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoding), zapcore.Lock(zapcore.AddSync(out)), zap.InfoLevel))
}

// errStopping is the cause with which requests are canceled at the end of the
// shutdown timeout. It distinguishes them from requests whose caller disconnected.
var errStopping = errors.New("the service is stopping")

// run serves until the context ends. It sends the address to started, if not nil.
func run(ctx context.Context, logger *zap.Logger, o options, started chan<- net.Addr) error {
	config, stopCluster, err := connect(logger, o)
	if err != nil {
		return err
	}
	defer stopCluster()
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	requests, endRequests := context.WithCancelCause(context.Background())
	defer endRequests(nil)
	server := &http.Server{
		Handler: service.New(client, logger, service.Config{
			Namespace: o.namespace, RequestTimeout: o.requestTimeout, Retry: o.retry(),
		}),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          zap.NewStdLog(logger),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	logger.Info("service_started", zap.Stringer("address", listener.Addr()), zap.String("cluster", config.Host))
	if started != nil {
		started <- listener.Addr()
	}

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	logger.Info("service_stopping", zap.Duration("timeout", o.shutdownTimeout))
	shutdownCtx, cancel := context.WithTimeout(context.Background(), o.shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(shutdownCtx); err != nil {
		// The requests that are still waiting for a retry are answered now.
		endRequests(errStopping)
		closeCtx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(closeCtx) != nil {
			_ = server.Close()
		}
		logger.Warn("service_stopped_early")
	}
	<-served
	logger.Info("service_stopped")
	return nil
}

// connect returns the configuration of the cluster: the given one, or one in memory.
func connect(logger *zap.Logger, o options) (config *rest.Config, stop func(), err error) {
	if o.kubeconfig != "" {
		if config, err = clientcmd.BuildConfigFromFlags("", o.kubeconfig); err != nil {
			return nil, nil, err
		}
		// client-go's default limit of 5 requests a second delays callers even if the
		// server is idle. An overloaded server answers 429, which is retried.
		config.QPS = -1
		return config, func() {}, nil
	}
	server, err := tinykube.Start(resources()...)
	if err != nil {
		return nil, nil, err
	}
	client, err := dynamic.NewForConfig(server.Config())
	if err != nil {
		server.Stop()
		return nil, nil, err
	}
	if err := createNamespace(client, o.namespace); err != nil {
		server.Stop()
		return nil, nil, err
	}
	stopOperator := startOperator(client, logger, o.namespace)
	return server.Config(), func() { stopOperator(); server.Stop() }, nil
}

// resources returns the custom resources for the server in memory.
func resources() []tinykube.Resource {
	return []tinykube.Resource{
		{
			Group: service.DatabaseResource.Group, Version: service.DatabaseResource.Version, Plural: service.DatabaseResource.Resource,
			Kind: "Database", Namespaced: true, Status: true,
		},
		{
			Group: service.OpsRequestResource.Group, Version: service.OpsRequestResource.Version, Plural: service.OpsRequestResource.Resource,
			Kind: "OpsRequest", Namespaced: true, Status: true,
		},
	}
}

func createNamespace(client dynamic.Interface, name string) error {
	namespace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
	_, err := client.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Create(context.Background(), namespace, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
