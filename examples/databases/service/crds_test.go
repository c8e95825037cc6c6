// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/examples/databases/service"
)

func TestCRDs(t *testing.T) {
	crds, err := service.CRDs()
	require.NoError(t, err)
	var names []string
	for _, crd := range crds {
		assert.Equal(t, "CustomResourceDefinition", crd.GetKind())
		names = append(names, crd.GetName())
	}
	assert.Equal(t, []string{"databases.databases.example.dev", "opsrequests.databases.example.dev"}, names)
}
