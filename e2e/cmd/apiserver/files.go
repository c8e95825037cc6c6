// SPDX-License-Identifier: Apache-2.0

//go:build !race

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// serviceAccountKey returns the file with the key that signs service account tokens. It
// creates the file at the first start.
func serviceAccountKey(dir string) (string, error) {
	file := filepath.Join(dir, "service-account.key")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	return file, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

// tokenFile returns the token file. If it is created by this program, tokenFile also
// returns the administrator's token.
func tokenFile(s settings) (file, admin string, err error) {
	if s.tokens != "" {
		return s.tokens, "", nil
	}
	file = filepath.Join(s.dir, "tokens.csv")
	content, err := os.ReadFile(file)
	if err == nil {
		admin, _, _ = strings.Cut(string(content), ",")
		return file, admin, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	admin = rand.Text()
	return file, admin, os.WriteFile(file, []byte(admin+`,admin,admin,"system:masters"`+"\n"), 0o600)
}

// writeKubeconfig writes a kubeconfig for the server. The certificate file need not exist
// yet: the server writes it when it starts.
func writeKubeconfig(s settings, ca, token string) error {
	ca, err := filepath.Abs(ca)
	if err != nil {
		return err
	}
	const format = `apiVersion: v1
kind: Config
clusters:
- name: e2e
  cluster: {server: "https://127.0.0.1:%d", certificate-authority: %q}
users:
- name: admin
  user: {token: %q}
contexts:
- name: e2e
  context: {cluster: e2e, user: admin}
current-context: e2e
`
	return os.WriteFile(filepath.Join(s.dir, "kubeconfig"), fmt.Appendf(nil, format, s.port, ca, token), 0o600)
}
