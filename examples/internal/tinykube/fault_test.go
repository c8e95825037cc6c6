package tinykube_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/k8sretry/k8sretry/examples/internal/tinykube"
)

func TestScriptedFailuresLookAsTheyDoInTheWild(t *testing.T) {
	cases := map[string]struct {
		answer tinykube.Answer
		is     func(error) bool
		text   string
	}{
		"403 status":     {tinykube.Fail(403), apierrors.IsForbidden, "forbidden"},
		"404 status":     {tinykube.Fail(404), apierrors.IsNotFound, `configmaps "a" not found`},
		"409 status":     {tinykube.Fail(409), apierrors.IsConflict, "the object has been modified"},
		"429 plain text": {tinykube.Fail(429), apierrors.IsTooManyRequests, ""},
		"500 status":     {tinykube.Fail(500).WithMessage("etcd is away"), apierrors.IsInternalError, "etcd is away"},
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
			require.NoError(t, err, "the script is for updates")
			_, err = maps.Update(ctx, configMap("a"), metav1.UpdateOptions{})
			require.Error(t, err)
			assert.True(t, c.is(err), "%T %v", err, err)
			assert.ErrorContains(t, err, c.text)
			_, err = maps.Update(ctx, configMap("a"), metav1.UpdateOptions{})
			require.NoError(t, err, "the script is used up")
		})
	}
}

func TestScriptsAreUsedUpInOrder(t *testing.T) {
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
	assert.NoError(t, err, "healed")
}

func TestAFailureAfterTheCommitKeepsTheObject(t *testing.T) {
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

func TestRetryAfterIsInTheErrorAndInTheHeader(t *testing.T) {
	ctx, server := context.Background(), start(t)
	maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
	// client-go repeats such an answer by itself; 0 makes it do so at once.
	server.FailNext(2, tinykube.Match{Verb: "get"}, tinykube.Fail(429).WithRetryAfter(-1))
	_, err := maps.Get(ctx, "a", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err), "the third request inside client-go is answered: %v", err)
	assert.Equal(t, 3, server.Count(tinykube.Match{Verb: "get"}))
}

func TestAHangingRequestEndsWithTheClientOrTheServer(t *testing.T) {
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
	server.Down() // before or after the request came: it must not succeed
	assert.Error(t, <-hung)
}

func TestALimitTurnsTheCrowdAway(t *testing.T) {
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
	assert.NoError(t, err, "the limit is for creates")
}

func TestDownMeansRefusedAndUpMeansTheSamePort(t *testing.T) {
	ctx, server := context.Background(), start(t)
	maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
	created, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
	require.NoError(t, err)
	url := server.URL()

	server.Down()
	server.Down()                                                  // twice is once
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() // a write on one of them would see EOF
	_, err = maps.Create(ctx, configMap("b"), metav1.CreateOptions{})
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)

	require.NoError(t, server.Up())
	require.NoError(t, server.Up())
	assert.Equal(t, url, server.URL())
	got, err := maps.Get(ctx, "a", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, created.UID, got.UID, "objects survive")

	server.Stop()
	assert.ErrorContains(t, server.Up(), "stopped")
}

func TestAKubeconfigLeadsToTheServer(t *testing.T) {
	server := start(t)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, server.WriteKubeconfig(path))
	config, err := clientcmd.BuildConfigFromFlags("", path)
	require.NoError(t, err)
	_, err = clientset(t, config).CoreV1().Namespaces().Get(context.Background(), "default", metav1.GetOptions{})
	assert.NoError(t, err)
}

func TestOnlyJSONIsSpoken(t *testing.T) {
	server := start(t)
	cases := map[string]struct {
		method, accept, content string
		code                    int
	}{
		"a protobuf body":            {http.MethodPost, "application/json", "application/vnd.kubernetes.protobuf", http.StatusUnsupportedMediaType},
		"only protobuf accepted":     {http.MethodGet, "application/vnd.kubernetes.protobuf", "", http.StatusNotAcceptable},
		"a table, JSON as a reserve": {http.MethodGet, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "", http.StatusOK},
		"a method that is not there": {http.MethodPut, "", "", http.StatusNotFound},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequest(c.method, server.URL()+"/api/v1/namespaces/default/configmaps", http.NoBody)
			require.NoError(t, err)
			if c.content != "" {
				request.Body = io.NopCloser(&oneByte{})
				request.Header.Set("Content-Type", c.content)
			}
			request.Header.Set("Accept", c.accept)
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			assert.Equal(t, c.code, response.StatusCode)
		})
	}
}

type oneByte struct{ done bool }

func (b *oneByte) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	b.done = true
	return copy(p, "x"), nil
}

func TestFailuresInFrontOfSomebodyElsesServer(t *testing.T) {
	ctx, server := context.Background(), start(t)
	var failures tinykube.Failures
	config := server.Config()
	config.Wrap(failures.Transport)
	maps := clientset(t, config).CoreV1().ConfigMaps("default")
	creates := tinykube.Match{Verb: "create", Resource: "configmaps"}

	failures.Script(creates, tinykube.Fail(429), tinykube.Drop, tinykube.Fail(504).AfterCommit())
	_, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
	assert.True(t, apierrors.IsTooManyRequests(err), "%v", err)
	_, err = maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
	assert.ErrorIs(t, err, io.EOF)
	assert.Zero(t, server.Count(creates), "neither reached the server")
	_, err = maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
	assert.True(t, apierrors.IsTimeout(err), "%v", err)
	assert.Equal(t, 1, server.Count(creates))
	_, err = maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
	assert.True(t, apierrors.IsAlreadyExists(err), "%v", err)

	failures.FailNext(1, tinykube.Match{Verb: "update"}, tinykube.Hang)
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	_, err = maps.Update(short, configMap("a"), metav1.UpdateOptions{})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	version, err := clientset(t, config).Discovery().ServerVersion()
	require.NoError(t, err)
	assert.NotEmpty(t, version.GitVersion, "paths of no resource pass")
}
