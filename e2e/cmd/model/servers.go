// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry/worlds/model"
)

// request is one request, the same for both servers but for the versions and UIDs in it.
type request struct {
	method, path string
	query        url.Values
	contentType  string
	body         string
}

func (r request) String() string {
	return fmt.Sprintf("%s %s?%s %s", r.method, r.path, r.query.Encode(), r.body)
}

// server answers requests.
type server interface {
	send(ctx context.Context, r request) (code int, body []byte, err error)
}

// realServer is kube-apiserver.
type realServer struct {
	client *http.Client
	host   string
}

func newReal(_ context.Context, cfg *rest.Config) (*realServer, error) {
	client, err := rest.HTTPClientFor(cfg)
	return &realServer{client, cfg.Host}, err
}

const userAgent = "model/1.0"

func (s *realServer) send(ctx context.Context, r request) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, s.host+r.path+"?"+r.query.Encode(), bytes.NewReader([]byte(r.body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "application/json")
	if r.body != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// watched returns the events of a watch from a version, until there are as many as are wanted.
func (s *realServer) watched(ctx context.Context, path, from string, want int) ([]event, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.host+path+"?watch=true&timeoutSeconds=5&resourceVersion="+from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var events []event
	for in := json.NewDecoder(resp.Body); len(events) < want; {
		var e event
		if err := in.Decode(&e); err != nil {
			return events, nil // fewer events than wanted are a difference, which is reported
		}
		events = append(events, e)
	}
	return events, nil
}

// event is what is compared of a watch event.
type event struct {
	Type   string `json:"type"`
	Object struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Data map[string]string `json:"data"`
	} `json:"object"`
}

func (e event) String() string {
	return fmt.Sprintf("%s %s %v", e.Type, e.Object.Metadata.Name, e.Object.Data)
}

// modelServer is the model.
type modelServer struct{ *model.Server }

func newModel() modelServer {
	return modelServer{model.New(model.Config{
		Now:    time.Now,
		UID:    func(n int) types.UID { return types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)) },
		Suffix: func(n int) string { return fmt.Sprintf("%05d", n) },
	})}
}

func (s modelServer) send(_ context.Context, r request) (int, []byte, error) {
	answer := s.Handle(&model.Request{
		Method: r.method, Path: r.path, Query: r.query, ContentType: r.contentType, UserAgent: userAgent, Body: []byte(r.body),
	})
	return answer.Code, answer.Body, nil
}

// watched returns all events of a watch from a version.
func (s modelServer) watched(ctx context.Context, path, from string) ([]event, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	answer := s.Handle(&model.Request{Method: http.MethodGet, Path: path, Query: url.Values{"watch": {"true"}, "resourceVersion": {from}}})
	if answer.Watch == nil {
		return nil, fmt.Errorf("no watch: %s", answer.Body)
	}
	lines, err := answer.Watch.Next(ctx)
	if err != nil {
		return nil, nil // there are no events
	}
	var events []event
	for _, line := range lines {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}
