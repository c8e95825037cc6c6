// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty returns a fake clientset and its faults.
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

// get reads the object "a". Without a fault it returns a 404 if there is no such object.
func get(cs *fake.Clientset) error {
	_, err := maps(cs).Get(context.Background(), "a", metav1.GetOptions{})
	return err
}

// types returns the types of an error and of the errors that it wraps, outermost first.
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

// fakeT is a testing.TB that stores the messages of Errorf.
type fakeT struct {
	testing.TB
	errors []string
}

func (f *fakeT) Helper() {}

func (f *fakeT) Errorf(format string, a ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, a...))
}

var (
	quick = k8sretry.NewPolicy(k8sretry.WithInitialDelay(time.Millisecond), k8sretry.WithJitter(k8sretry.JitterNone))
	exact = k8sretry.WithJitter(k8sretry.JitterNone)
)

// document returns the content of a file without indentation.
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

var errFault = errors.New("fault")

// inMemory returns a real clientset with faults in front of a handler.
func inMemory(t *testing.T, handler http.HandlerFunc) (*kubernetes.Clientset, *k8sretrytest.Faults) {
	t.Helper()
	faults := new(k8sretrytest.Faults)
	cfg := &rest.Config{Host: "http://in.memory", Transport: memory{handler}, QPS: -1}
	cfg.Wrap(faults.Transport)
	cs, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	return cs, faults
}

func serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web","namespace":"default"}}`)
}

// memory serves requests without a network, so that client-go runs on virtual time.
type memory struct{ http.Handler }

func (m memory) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, req)
	return w.Result(), nil
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// emulated returns a fake clientset with EmulateServer, and its faults.
func emulated(objects ...string) (*fake.Clientset, *k8sretrytest.Faults) {
	cs, faults := faulty(objects...)
	k8sretrytest.EmulateServer(&cs.Fake)
	return cs, faults
}

func create(t *testing.T, cs *fake.Clientset, m *corev1.ConfigMap) *corev1.ConfigMap {
	t.Helper()
	created, err := maps(cs).Create(context.Background(), m, metav1.CreateOptions{})
	require.NoError(t, err)
	return created
}

func read(t *testing.T, cs *fake.Clientset, name string) *corev1.ConfigMap {
	t.Helper()
	m, err := maps(cs).Get(context.Background(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return m
}

func version(t *testing.T, m metav1.Object) int {
	t.Helper()
	v, err := strconv.Atoi(m.GetResourceVersion())
	require.NoError(t, err)
	return v
}
