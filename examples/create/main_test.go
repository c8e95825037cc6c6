// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/examples/internal/tinykube"
)

// The program of README.md is this one, and it creates and deletes the object once if the first
// answers are lost.
func TestTheProgramOfTheREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	_, shown, found := strings.Cut(string(program), "package main")
	require.True(t, found)
	assert.True(t, strings.Contains(string(readme), "```go\npackage main"+shown+"```\n"), "README.md shows another program")

	server, err := tinykube.Start()
	require.NoError(t, err)
	defer server.Stop()
	creates := tinykube.Match{Verb: "create", Resource: "configmaps"}
	deletes := tinykube.Match{Verb: "delete", Resource: "configmaps"}
	server.FailNext(1, creates, tinykube.Fail(504).AfterCommit())
	server.FailNext(1, deletes, tinykube.Fail(504).AfterCommit())
	kubeconfig := filepath.Join(t.TempDir(), "config")
	require.NoError(t, server.WriteKubeconfig(kubeconfig))
	t.Setenv("KUBECONFIG", kubeconfig)
	main()
	assert.Equal(t, 2, server.Count(creates), "the second answer is that the name exists")
	assert.Equal(t, 2, server.Count(deletes), "the second answer is that the object is gone")
}
