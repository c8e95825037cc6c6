// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/k8sretry/k8sretry/examples/internal/tinykube"
)

// connect returns the configuration of the API server and the failures to script.
// Without a kubeconfig it starts a server in memory; with one, the failures are
// injected in the client's transport.
func connect(kubeconfig string) (config *rest.Config, failures *tinykube.Failures, stop func(), err error) {
	if kubeconfig == "" {
		server, err := tinykube.Start()
		if err != nil {
			return nil, nil, nil, err
		}
		return server.Config(), &server.Failures, server.Stop, nil
	}
	config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, nil, nil, err
	}
	failures = new(tinykube.Failures)
	config.Wrap(failures.Transport)
	return config, failures, func() {}, nil
}

// openLog returns a logger that writes one JSON object per line, with the message
// under the key "event". The lines go to the file and to out.
func openLog(path string, out io.Writer) (logger *zap.Logger, close func(), err error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.MessageKey = "event"
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	sink := zapcore.Lock(zap.CombineWriteSyncers(file, zapcore.AddSync(out)))
	logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoding), sink, zap.InfoLevel))
	return logger, func() { _ = file.Close() }, nil
}

// cleanUp deletes the ConfigMap if the run ended before deleting it, for example
// after Ctrl-C.
func cleanUp(remove func(context.Context, string, metav1.DeleteOptions) error, failures *tinykube.Failures, name string) {
	failures.Heal()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := remove(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		fmt.Fprintf(os.Stderr, "quickstart: the ConfigMap %s may still exist: %v\n", name, err)
	}
}
