// SPDX-License-Identifier: Apache-2.0

package migration

import (
	"net/http"

	"github.com/hashicorp/go-retryablehttp"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

func retryablehttpBefore(config *rest.Config) (kubernetes.Interface, error) {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		client := retryablehttp.NewClient()
		client.HTTPClient = &http.Client{Transport: next}
		client.RetryMax = 3
		client.Logger = nil
		client.ErrorHandler = retryablehttp.PassthroughErrorHandler // otherwise the answer of the API is lost
		return &retryablehttp.RoundTripper{Client: client}
	})
	return kubernetes.NewForConfig(config)
}

func retryablehttpAfter(config *rest.Config) (kubernetes.Interface, error) {
	config.Wrap(k8sretry.Transport(k8sretry.ForRead()))
	return kubernetes.NewForConfig(config)
}
