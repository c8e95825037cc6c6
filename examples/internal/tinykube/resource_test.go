// SPDX-License-Identifier: Apache-2.0

package tinykube_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDiscoveryListsAllResources(t *testing.T) {
	server := start(t)
	client := clientset(t, server.Config()).Discovery()
	version, err := client.ServerVersion()
	require.NoError(t, err)
	assert.Equal(t, "1", version.Major)
	_, lists, err := client.ServerGroupsAndResources()
	require.NoError(t, err)
	var names []string
	for _, list := range lists {
		for _, r := range list.APIResources {
			names = append(names, list.GroupVersion+" "+r.Name)
		}
	}
	assert.ElementsMatch(t, []string{
		"v1 configmaps", "v1 namespaces", "v1 namespaces/status", "v1 pods", "v1 pods/status",
		"databases.example.dev/v1 databases", "databases.example.dev/v1 databases/status",
	}, names)
}
