// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	appsclient "k8s.io/client-go/kubernetes/typed/apps/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// Clients are the clients of one program.
type Clients struct {
	ConfigMaps  coreclient.ConfigMapInterface
	Pods        coreclient.PodInterface
	Deployments deployments
	Dynamic     dynamic.Interface
	Controller  client.WithWatch // of controller-runtime, with k8sretryctrl around it
	HTTP        *http.Client
}

// NewClients returns the clients for a configuration. The controller-runtime client retries with
// options.
func NewClients(cfg *rest.Config, options ...k8sretry.Option) (*Clients, error) {
	httpClient, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	core, err := coreclient.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, err
	}
	apps, err := appsclient.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, err
	}
	inner, err := client.NewWithWatch(cfg, client.Options{HTTPClient: httpClient, Scheme: scheme.Scheme, Mapper: mapper})
	if err != nil {
		return nil, err
	}
	return &Clients{
		ConfigMaps: core.ConfigMaps(Namespace), Pods: core.Pods(Namespace), Deployments: apps.Deployments(Namespace), Dynamic: dyn,
		Controller: k8sretryctrl.NewClient(inner, options...), HTTP: httpClient,
	}, nil
}

type deployments = appsclient.DeploymentInterface

// mapper knows the resources of a world, so that no client has to discover them.
var mapper = func() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{corev1.SchemeGroupVersion})
	for kind := range scheme.Scheme.AllKnownTypes() {
		m.Add(kind, meta.RESTScopeNamespace)
	}
	return m
}()
