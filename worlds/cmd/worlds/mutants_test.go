// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A change of the library may have moved what a patch takes out.
func TestMutantsApply(t *testing.T) {
	patches, err := filepath.Glob("../../testdata/mutants/*.patch")
	require.NoError(t, err)
	require.NotEmpty(t, patches)
	for _, patch := range patches {
		path, err := filepath.Abs(patch)
		require.NoError(t, err)
		out, err := command("../../..", "git", "apply", "--check", path)
		assert.NoError(t, err, "%s: %s", filepath.Base(patch), out)
	}
}
