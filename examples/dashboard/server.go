// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

const (
	namespace = "default"
	counters  = 4 // ConfigMaps that the updates count in

	lostShare    = 0.25                   // of the answers
	listInterval = 400 * time.Millisecond // between two lists of pods while they are throttled
	slowSeats    = 2                      // requests at a time while the server is slow
	slowTime     = 250 * time.Millisecond // for each of them
)

// operationHeader is the header with the number of the operation that a request is for. It
// lets the server count what was done for each.
const operationHeader = "Demo-Operation"

// server is the copy of the API server of one client.
type server struct {
	*k8sretrytest.Server
	stored *fake.Clientset // its objects
	faults *faults
	seed   uint64
	book   *book

	seats   chan struct{}
	stopped chan struct{}

	mu       sync.Mutex
	lastList time.Time
}

func newServer(ctx context.Context, f *faults, seed uint64, b *book) (*server, error) {
	s := &server{stored: fake.NewClientset(), faults: f, seed: seed, book: b, seats: make(chan struct{}, slowSeats), stopped: make(chan struct{})}
	k8sretrytest.EmulateServer(&s.stored.Fake)
	for i := range counters {
		if _, err := s.put(ctx, fmt.Sprintf("counter-%d", i)); err != nil {
			return nil, err
		}
	}
	s.Server = k8sretrytest.NewServer(&s.stored.Fake, scheme.Scheme)
	s.Wrap(s.trouble)
	return s, nil
}

// stop closes the connections and ends the requests that are being served.
func (s *server) stop() {
	close(s.stopped)
	s.Close()
}

func (s *server) objects() typedcorev1.ConfigMapInterface {
	return s.stored.CoreV1().ConfigMaps(namespace)
}

// put stores an object without a request.
func (s *server) put(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	return s.objects().Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"n": "0"},
	}, metav1.CreateOptions{})
}

// tidy removes the objects of operations that the book has forgotten.
func (s *server) tidy(ctx context.Context) {
	list, err := s.objects().List(ctx, metav1.ListOptions{})
	if err != nil {
		return // the next tidy will do it
	}
	for _, object := range list.Items {
		if id, err := strconv.Atoi(object.Labels["operation"]); err == nil && !s.book.knows(id) {
			_ = s.objects().Delete(ctx, object.Name, metav1.DeleteOptions{})
		}
	}
	s.stored.ClearActions()
}

// trouble wraps the server in its faults, and writes into the book what it does.
func (s *server) trouble(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := strconv.Atoi(r.Header.Get(operationHeader))
		number := s.book.arrive(id)
		defer s.book.leave()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))

		switch {
		case s.faults.has(unavailable):
			s.book.refused()
			writeStatus(w, apierrors.NewServiceUnavailable("apiserver is shutting down"))
			return
		case s.faults.has(throttled) && isPodList(r) && !s.admitList():
			s.book.refused()
			w.Header().Set("Retry-After", "1")
			http.Error(w, "Too many requests, please try again later.", http.StatusTooManyRequests)
			return
		}
		if s.faults.has(slow) {
			if !s.wait(r.Context()) {
				return
			}
		}
		if r.URL.Query().Has("watch") {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		// A request that is being served is served to its end, whether the client waits or not.
		next.ServeHTTP(answer, r.WithContext(context.WithoutCancel(r.Context())))
		if r.Method != http.MethodGet && answer.Code < 300 {
			s.book.done(id)
		}
		if s.faults.has(lostAnswers) && s.loses(id, number) {
			panic(http.ErrAbortHandler) // net/http breaks the stream or the connection
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

func isPodList(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == "/api/v1/namespaces/"+namespace+"/pods"
}

// admitList reports whether a list of pods is served while lists are throttled.
func (s *server) admitList() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.lastList) < listInterval {
		return false
	}
	s.lastList = time.Now()
	return true
}

// wait waits for a seat of the slow server, and for the time that a request takes. It
// returns false if the client has gone before there was a seat, or the server has stopped.
func (s *server) wait(ctx context.Context) bool {
	select {
	case s.seats <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-s.seats }()
	timer := time.NewTimer(slowTime)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stopped:
		return false
	}
}

// loses tells whether the answer to a request of an operation is lost. It is the same for
// all servers of one seed.
func (s *server) loses(id, number int) bool {
	return rand.New(rand.NewPCG(s.seed, uint64(id)<<16|uint64(number))).Float64() < lostShare
}

func writeStatus(w http.ResponseWriter, e *apierrors.StatusError) {
	status := e.ErrStatus
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	_ = json.NewEncoder(w).Encode(status)
}
