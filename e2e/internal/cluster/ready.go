// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// startLimit is the maximum duration of a start, on a busy machine with one core.
const startLimit = 2 * time.Minute

// WaitReady waits until the apiserver is ready and the namespace default exists. It returns
// an error if ctx ends, after two minutes, or if the process has ended.
func (c *Cluster) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	c.mu.Lock()
	api := c.api
	c.mu.Unlock()

	var client *http.Client
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	last := errors.New("not checked yet")
	for {
		// The server writes its certificate at the first start.
		if client == nil {
			client, last = c.httpClient()
		}
		if client != nil {
			if last = c.ready(ctx, client); last == nil {
				return nil
			}
		}
		select {
		case <-poll.C:
		case <-api.done:
			return errors.New("the apiserver has ended")
		case <-ctx.Done():
			return fmt.Errorf("the apiserver is not ready: %w (%w)", last, context.Cause(ctx))
		}
	}
}

func (c *Cluster) ready(ctx context.Context, client *http.Client) error {
	for _, path := range []string{"/readyz", "/api/v1/namespaces/default"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL()+path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+c.tokens[Admin])
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", path, resp.Status)
		}
	}
	return nil
}

func (c *Cluster) httpClient() (*http.Client, error) {
	ca, err := os.ReadFile(c.certificate())
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("the certificate of the apiserver is incomplete")
	}
	return &http.Client{
		Timeout: 2 * time.Second,
		// No connections are kept.
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}},
	}, nil
}
