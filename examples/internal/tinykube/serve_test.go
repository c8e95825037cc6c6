// SPDX-License-Identifier: Apache-2.0

package tinykube_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestServerAcceptsAndAnswersOnlyJSON(t *testing.T) {
	server := start(t)
	cases := map[string]struct {
		method, accept, content string
		code                    int
	}{
		"a protobuf body":          {http.MethodPost, "application/json", "application/vnd.kubernetes.protobuf", http.StatusUnsupportedMediaType},
		"only protobuf accepted":   {http.MethodGet, "application/vnd.kubernetes.protobuf", "", http.StatusNotAcceptable},
		"a table or JSON accepted": {http.MethodGet, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "", http.StatusOK},
		"an unsupported method":    {http.MethodPut, "", "", http.StatusNotFound},
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
