package electorlimiter

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/k8sretry/k8sretry"
)

func shared(config *rest.Config) {
	clientset := kubernetes.NewForConfigOrDie(config)
	_ = informers.NewSharedInformerFactory(clientset, 0)
	_ = &resourcelock.LeaseLock{Client: clientset.CoordinationV1()} // want `also used for other work \(line 17\): both share its rate limiter`
}

func sharedByNew(ctx context.Context, config *rest.Config) {
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return
	}
	_, _ = resourcelock.New("leases", "a", "b", clientset.CoreV1(), clientset.CoordinationV1(), nil) // want `also used for other work \(line 27\)`
	_, _ = clientset.CoreV1().Pods("a").List(ctx, metav1.ListOptions{})
}

func leases(config *rest.Config) {
	config.Wrap(k8sretry.Transport(k8sretry.IncludeLeases()))
	clientset := kubernetes.NewForConfigOrDie(config)
	_ = &resourcelock.LeaseLock{Client: clientset.CoordinationV1()} // want `has a Transport with IncludeLeases`
}

func own(config *rest.Config) {
	clientset := kubernetes.NewForConfigOrDie(config)
	_ = informers.NewSharedInformerFactory(clientset, 0)
	election := kubernetes.NewForConfigOrDie(rest.CopyConfig(config))
	_ = election.CoreV1().Events("a")
	_ = &resourcelock.LeaseLock{Client: election.CoordinationV1()}
}

func unlimited(config *rest.Config) {
	config.QPS = -1
	clientset := kubernetes.NewForConfigOrDie(config)
	_ = informers.NewSharedInformerFactory(clientset, 0)
	_ = &resourcelock.LeaseLock{Client: clientset.CoordinationV1()}
}

func once(config *rest.Config) {
	config.Wrap(k8sretry.Transport())
	clientset := kubernetes.NewForConfigOrDie(config)
	_ = &resourcelock.LeaseLock{Client: clientset.CoordinationV1()}
}
