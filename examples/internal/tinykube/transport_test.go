// SPDX-License-Identifier: Apache-2.0

package tinykube_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry/examples/internal/tinykube"
)

func TestTransportInjectsFailures(t *testing.T) {
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
	assert.Zero(t, server.Count(creates), "no request was sent")
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
	assert.NotEmpty(t, version.GitVersion, "requests that address no resource are passed on")
}
