// SPDX-License-Identifier: Apache-2.0

package tinykube_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestObjectWithFinalizerIsDeletedLater(t *testing.T) {
	ctx, server := context.Background(), start(t)
	dbs := dynamicDatabases(t, server)
	finalized := database("finalized", "postgres")
	finalized.SetFinalizers([]string{"example.dev/backup"})
	_, err := dbs.Create(ctx, finalized, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, dbs.Delete(ctx, "finalized", metav1.DeleteOptions{}))
	deleted, err := dbs.Get(ctx, "finalized", metav1.GetOptions{})
	require.NoError(t, err)
	require.NotNil(t, deleted.GetDeletionTimestamp())
	deleted.SetFinalizers(nil)
	_, err = dbs.Update(ctx, deleted, metav1.UpdateOptions{})
	require.NoError(t, err)
	_, err = dbs.Get(ctx, "finalized", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err))
}
