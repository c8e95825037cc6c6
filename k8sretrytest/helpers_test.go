package k8sretrytest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty is a fake clientset with its faults.
func faulty(objects ...string) (*fake.Clientset, *k8sretrytest.Faults) {
	cs := fake.NewClientset()
	for _, name := range objects {
		if err := cs.Tracker().Add(configMap(name)); err != nil {
			panic(err)
		}
	}
	faults := new(k8sretrytest.Faults)
	faults.Install(&cs.Fake)
	return cs, faults
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}
}

func maps(cs *fake.Clientset) typedcorev1.ConfigMapInterface {
	return cs.CoreV1().ConfigMaps("default")
}

// get reads one object that is not there: what a fault lets through is a 404.
func get(cs *fake.Clientset) error {
	_, err := maps(cs).Get(context.Background(), "a", metav1.GetOptions{})
	return err
}

// types are the types of an error and of what it wraps, outermost first.
func types(err error) (names []string) {
	for ; err != nil; err = errors.Unwrap(err) {
		names = append(names, fmt.Sprintf("%T", err))
	}
	return names
}

func mustStatus(t *testing.T, err error) metav1.Status {
	t.Helper()
	s, ok := err.(interface{ Status() metav1.Status })
	require.True(t, ok, "%T %v", err, err)
	return s.Status()
}

// listening is a testing.TB that only listens.
type listening struct {
	testing.TB
	said []string
}

func (l *listening) Helper() {}
func (l *listening) Errorf(format string, a ...any) {
	l.said = append(l.said, fmt.Sprintf(format, a...))
}

var (
	quick = k8sretry.NewPolicy(k8sretry.WithInitialDelay(time.Millisecond), k8sretry.WithJitter(k8sretry.JitterNone))
	exact = k8sretry.WithJitter(k8sretry.JitterNone)
)

// document is a file without indentation.
func document(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	var b strings.Builder
	for line := range strings.Lines(string(content)) {
		b.WriteString(strings.TrimLeft(line, " \t"))
	}
	return b.String()
}
