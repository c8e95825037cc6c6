// SPDX-License-Identifier: Apache-2.0

package tinykube_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry/examples/internal/tinykube"
)

func TestScriptedFailuresHaveTheirUsualForm(t *testing.T) {
	cases := map[string]struct {
		answer tinykube.Answer
		is     func(error) bool
		text   string
	}{
		"403 status":     {tinykube.Fail(403), apierrors.IsForbidden, "forbidden"},
		"404 status":     {tinykube.Fail(404), apierrors.IsNotFound, `configmaps "a" not found`},
		"409 status":     {tinykube.Fail(409), apierrors.IsConflict, "the object has been modified"},
		"429 plain text": {tinykube.Fail(429), apierrors.IsTooManyRequests, ""},
		"500 status":     {tinykube.Fail(500).WithMessage("etcd is unavailable"), apierrors.IsInternalError, "etcd is unavailable"},
		"502 HTML":       {tinykube.Fail(502), apierrors.IsUnexpectedServerError, "502 Bad Gateway"},
		"503 status":     {tinykube.Fail(503), apierrors.IsServiceUnavailable, "unable to handle the request"},
		"504 status":     {tinykube.Fail(504), apierrors.IsTimeout, "did not complete"},
		"418":            {tinykube.Fail(418), func(err error) bool { return apierrors.ReasonForError(err) == metav1.StatusReasonUnknown }, ""},
		"no answer":      {tinykube.Drop, func(err error) bool { return errors.Is(err, io.EOF) }, "EOF"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, server := context.Background(), start(t)
			maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
			server.FailNext(1, tinykube.Match{Verb: "update"}, c.answer)
			_, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
			require.NoError(t, err, "a create does not match the script")
			_, err = maps.Update(ctx, configMap("a"), metav1.UpdateOptions{})
			require.Error(t, err)
			assert.True(t, c.is(err), "%T %v", err, err)
			assert.ErrorContains(t, err, c.text)
			_, err = maps.Update(ctx, configMap("a"), metav1.UpdateOptions{})
			require.NoError(t, err, "the script is used up")
		})
	}
}

func TestScriptedAnswersAreUsedInOrder(t *testing.T) {
	ctx, server := context.Background(), start(t)
	maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
	server.Script(tinykube.Match{Name: "a"}, tinykube.Fail(503), tinykube.Pass, tinykube.Fail(500))
	server.FailNext(1, tinykube.Match{Verb: "get"}, tinykube.Fail(504))
	var codes []int
	for range 5 {
		_, _ = maps.Get(ctx, "a", metav1.GetOptions{})
	}
	for _, r := range server.Requests() {
		codes = append(codes, r.Code)
	}
	assert.Equal(t, []int{503, 404, 500, 504, 404}, codes)
	assert.Equal(t, 5, server.Count(tinykube.Match{Verb: "get", Resource: "configmaps", Namespace: "default"}))

	server.FailNext(9, tinykube.Match{}, tinykube.Fail(500))
	server.Heal()
	_, err := maps.List(ctx, metav1.ListOptions{})
	assert.NoError(t, err, "Heal removes the scripts")
}

func TestFailureAfterCommitStoresTheObject(t *testing.T) {
	for name, answer := range map[string]tinykube.Answer{"a cut connection": tinykube.Drop.AfterCommit(), "a 504": tinykube.Fail(504).AfterCommit()} {
		t.Run(name, func(t *testing.T) {
			ctx, server := context.Background(), start(t)
			maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
			server.FailNext(1, tinykube.Match{Verb: "create", Name: "a"}, answer)
			_, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
			require.Error(t, err)
			_, err = maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
			assert.True(t, apierrors.IsAlreadyExists(err), "%v", err)
		})
	}
}

func TestRetryAfterHeaderIsObeyedByClientGo(t *testing.T) {
	ctx, server := context.Background(), start(t)
	maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
	// client-go repeats a request after such an answer, here without a wait.
	server.FailNext(2, tinykube.Match{Verb: "get"}, tinykube.Fail(429).WithRetryAfter(-1))
	_, err := maps.Get(ctx, "a", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err), "the third request of client-go is answered: %v", err)
	assert.Equal(t, 3, server.Count(tinykube.Match{Verb: "get"}))
}

func TestHangingRequestEndsWithClientOrServer(t *testing.T) {
	server := start(t)
	maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
	server.FailNext(2, tinykube.Match{}, tinykube.Hang)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	hung := make(chan error, 1)
	go func() {
		_, err := maps.Create(context.Background(), configMap("a"), metav1.CreateOptions{})
		hung <- err
	}()
	server.Down() // the request fails whether or not it has arrived yet
	assert.Error(t, <-hung)
}

func TestRequestsOverTheLimitAreThrottled(t *testing.T) {
	ctx, server := context.Background(), start(t)
	maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
	server.Limit(tinykube.Match{Verb: "create"}, 2, 100*time.Millisecond)
	var wg sync.WaitGroup
	refused := make(chan error, 10)
	for i := range 10 {
		wg.Go(func() {
			_, err := maps.Create(ctx, configMap(string(rune('a'+i))), metav1.CreateOptions{})
			if err != nil {
				refused <- err
			}
		})
	}
	wg.Wait()
	close(refused)
	assert.NotEmpty(t, refused)
	for err := range refused {
		assert.True(t, apierrors.IsTooManyRequests(err), "%v", err)
	}
	_, err := maps.List(ctx, metav1.ListOptions{})
	assert.NoError(t, err, "the limit does not apply to lists")
}
