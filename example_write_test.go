package k8sretry_test

import (
	"context"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	applyv1 "k8s.io/client-go/applyconfigurations/core/v1"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// exampleCluster returns a fake clientset that behaves like a server, and its faults.
func exampleCluster(objects ...runtime.Object) (kubernetes.Interface, *k8sretrytest.Faults) {
	clientset := fake.NewClientset(objects...)
	k8sretrytest.EmulateServer(&clientset.Fake)
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	return clientset, &faults
}

// The answer to the first request is lost. The second request is answered AlreadyExists,
// and Create finds that the object is its own.
func ExampleCreate() {
	ctx := context.Background()
	clientset, faults := exampleCluster()
	faults.LoseResponses(1, "create", "configmaps", k8sretrytest.ConnectionClosed())
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}}

	created, err := k8sretry.Create(ctx, clientset.CoreV1().ConfigMaps("default"), settings,
		metav1.CreateOptions{}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(created.Name, "after", faults.Calls("create", "configmaps"), "requests")
	// Output: settings after 2 requests
}

// A generated name is drawn once per call, so that a repetition does not create a second
// object.
func ExampleCreate_generateName() {
	ctx := context.Background()
	clientset, faults := exampleCluster()
	faults.LoseResponses(1, "create", "configmaps", k8sretrytest.ConnectionClosed())
	job := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "job-"}}

	_, err := k8sretry.Create(ctx, clientset.CoreV1().ConfigMaps("default"), job,
		metav1.CreateOptions{}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	list, err := clientset.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(list.Items), "object")
	// Output: 1 object
}

// The answer to the first request is lost. The second request is answered Conflict, and
// Update finds its own change.
func ExampleUpdate() {
	ctx := context.Background()
	clientset, faults := exampleCluster(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings", Namespace: "default"},
		Data:       map[string]string{"colour": "blue"},
	})
	faults.LoseResponses(1, "update", "configmaps", k8sretrytest.ConnectionClosed())
	configMaps := clientset.CoreV1().ConfigMaps("default")

	settings, err := k8sretry.Wrap2(configMaps.Get, k8sretry.ForRead())(ctx, "settings", metav1.GetOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	settings.Data["colour"] = "green"
	settings, err = k8sretry.Update(ctx, configMaps, settings, metav1.UpdateOptions{}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(settings.Data["colour"], "after", faults.Calls("update", "configmaps"), "requests")
	// Output: green after 2 requests
}

// The answer to the first update is lost. The run is counted once.
func ExampleModify() {
	ctx := context.Background()
	clientset, faults := exampleCluster(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "totals", Namespace: "default"},
		Data:       map[string]string{"runs": "41"},
	})
	faults.LoseResponses(1, "update", "configmaps", k8sretrytest.ConnectionClosed())

	totals, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "totals",
		func(cm *corev1.ConfigMap) error {
			runs, err := strconv.Atoi(cm.Data["runs"])
			if err != nil {
				return err
			}
			cm.Data["runs"] = strconv.Itoa(runs + 1)
			return nil
		}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(totals.Data["runs"])
	// Output: 42
}

// A controller writes the status of a Deployment.
func ExampleStatusSubresource() {
	ctx := context.Background()
	clientset, faults := exampleCluster(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}})
	faults.FailNext(1, "update", "deployments/status", k8sretrytest.Status(503))
	statuses := k8sretry.StatusSubresource(clientset.AppsV1().Deployments("default"))

	web, err := k8sretry.Modify(ctx, statuses, "web", func(d *appsv1.Deployment) error {
		d.Status.ReadyReplicas = 3
		return nil
	}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(web.Status.ReadyReplicas, "ready")
	// Output: 3 ready
}

// The answer to the first request is lost. The second request is answered NotFound, which
// means that the pod has been deleted.
func ExampleDelete() {
	ctx := context.Background()
	clientset, faults := exampleCluster(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}})
	faults.LoseResponses(1, "delete", "pods", k8sretrytest.ConnectionClosed())
	pods := clientset.CoreV1().Pods("default")

	pod, err := k8sretry.Wrap2(pods.Get, k8sretry.ForRead())(ctx, "web-0", metav1.GetOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = k8sretry.Delete(ctx, pods, pod, metav1.DeleteOptions{}, k8sretry.ForWrite(), noDelay)
	fmt.Println(err, faults.Calls("delete", "pods"))
	// Output: <nil> 2
}

// The PodDisruptionBudget does not allow the eviction twice. Without the last option, Evict
// would wait 5 s before the first retry. The deadline limits how long it waits in all.
func ExampleEvict() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	clientset, faults := exampleCluster(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}})
	faults.FailNext(2, "create", "pods/eviction", k8sretrytest.DisruptionBudget())
	pods := clientset.CoreV1().Pods("default")

	pod, err := k8sretry.Wrap2(pods.Get, k8sretry.ForRead())(ctx, "web-0", metav1.GetOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = k8sretry.Evict(ctx, pods, pod, metav1.DeleteOptions{},
		k8sretry.WithBackoffFor(k8sretry.ClassDisruptionBudget, k8sretry.Exponential{Initial: time.Millisecond}))
	fmt.Println(err, faults.Calls("create", "pods/eviction"))
	// Output: <nil> 3
}

func ExampleApply() {
	ctx := context.Background()
	clientset, faults := exampleCluster()
	faults.FailNext(1, "apply", "configmaps", k8sretrytest.Status(503))
	settings := applyv1.ConfigMap("settings", "default").WithData(map[string]string{"colour": "green"})

	applied, err := k8sretry.Apply(ctx, clientset.CoreV1().ConfigMaps("default"), settings,
		metav1.ApplyOptions{FieldManager: "example"}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(applied.Data["colour"])
	// Output: green
}

func ExampleDynamic() {
	ctx := context.Background()
	resource := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{resource: "WidgetList"})
	var faults k8sretrytest.Faults
	faults.Install(&client.Fake)
	faults.LoseResponses(1, "create", "widgets", k8sretrytest.ConnectionClosed())
	widget := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1",
		"kind":       "Widget",
		"metadata":   map[string]any{"name": "first", "namespace": "default"},
	}}

	widgets := k8sretry.Dynamic(client.Resource(resource).Namespace("default"))
	created, err := k8sretry.Create(ctx, widgets, widget, metav1.CreateOptions{}, k8sretry.ForWrite(), noDelay)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(created.GetName(), "after", faults.Calls("create", "widgets"), "requests")
	// Output: first after 2 requests
}
