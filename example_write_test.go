package k8sretry_test

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/k8sretry/k8sretry"
)

func ExampleCreate() {
	clientset := fake.NewClientset()
	job := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "job-"}}

	made, err := k8sretry.Create(context.Background(), clientset.CoreV1().ConfigMaps("default"), job,
		metav1.CreateOptions{}, k8sretry.ForWrite())

	fmt.Println(err, len(made.Name), job.Name == "")
	// Output: <nil> 9 true
}

func ExampleModify() {
	clientset := fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "totals", Namespace: "default"},
		Data:       map[string]string{"runs": "41"},
	})

	totals, err := k8sretry.Modify(context.Background(), clientset.CoreV1().ConfigMaps("default"), "totals",
		func(cm *corev1.ConfigMap) error {
			runs, err := strconv.Atoi(cm.Data["runs"])
			cm.Data["runs"] = strconv.Itoa(runs + 1)
			return err
		}, k8sretry.ForWrite())

	fmt.Println(totals.Data["runs"], err)
	// Output: 42 <nil>
}
