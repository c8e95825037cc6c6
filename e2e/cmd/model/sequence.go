// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// sequence is a random sequence of requests in a namespace of its own.
type sequence struct {
	rand      *rand.Rand
	namespace string
	real      *realServer
	model     modelServer
	known     map[string]*[2]state // by resource and name: what the real server and the model have said last
	from      [2]string            // where the watches begin
}

// state is the last known version of an object on one server, and the one before.
type state struct{ uid, version, before string }

func newSequence(ctx context.Context, seed uint64, real *realServer) (*sequence, error) {
	s := &sequence{
		rand: rand.New(rand.NewPCG(seed, 1)), namespace: fmt.Sprintf("model-%d", seed), real: real, model: newModel(), known: map[string]*[2]state{},
	}
	code, body, err := real.send(ctx, request{
		method: http.MethodPost, path: "/api/v1/namespaces", contentType: "application/json",
		body: fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, s.namespace),
	})
	if err != nil || code != http.StatusCreated {
		return nil, fmt.Errorf("namespace: %d %s %w", code, body, err)
	}
	for i, srv := range s.servers() {
		_, body, err := srv.send(ctx, request{method: http.MethodGet, path: s.path("configmaps", "")})
		if err != nil {
			return nil, err
		}
		var list object
		if err := json.Unmarshal(body, &list); err != nil {
			return nil, err
		}
		s.from[i] = list.Metadata.ResourceVersion
	}
	// kube-controller-manager would make this one.
	_, _, err = real.send(ctx, request{
		method: http.MethodPost, path: "/api/v1/namespaces/" + s.namespace + "/serviceaccounts", contentType: "application/json",
		body: `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}`,
	})
	return s, err
}

func (s *sequence) servers() [2]server { return [2]server{s.real, s.model} }

func (s *sequence) path(resource, name string, sub ...string) string {
	prefix := "/api/v1"
	if resource == "deployments" {
		prefix = "/apis/apps/v1"
	}
	path := prefix + "/namespaces/" + s.namespace + "/" + resource
	for _, part := range append([]string{name}, sub...) {
		if part != "" {
			path += "/" + part
		}
	}
	return path
}

// run sends the requests and returns the differences.
func (s *sequence) run(ctx context.Context, length int) (differences []string, err error) {
	for range length {
		resource, name, make := s.next()
		var answers [2]answer
		var sent [2]request
		for i, srv := range s.servers() {
			sent[i] = make(s.state(resource, name)[i])
			code, body, err := srv.send(ctx, sent[i])
			if err != nil {
				return nil, err
			}
			answers[i] = s.read(i, resource, code, body)
		}
		if real, model := answers[0].String(), answers[1].String(); real != model {
			differences = append(differences, fmt.Sprintf("%v\n  real:  %s\n  model: %s", sent[0], real, model))
		}
	}
	path := s.path("configmaps", "")
	model, err := s.model.watched(ctx, path, s.from[1])
	if err != nil {
		return nil, err
	}
	real, err := s.real.watched(ctx, path, s.from[0], len(model))
	if err != nil {
		return nil, err
	}
	if fmt.Sprint(real) != fmt.Sprint(model) {
		differences = append(differences, fmt.Sprintf("watch %s\n  real:  %v\n  model: %v", path, real, model))
	}
	return differences, nil
}

func (s *sequence) state(resource, name string) *[2]state {
	key := resource + "/" + name
	if s.known[key] == nil {
		s.known[key] = &[2]state{}
	}
	return s.known[key]
}

// next decides about the next request. It returns what makes it from the state of the object on
// a server.
func (s *sequence) next() (resource, name string, make func(state) request) {
	r := s.rand
	resource = []string{"configmaps", "configmaps", "configmaps", "pods", "deployments"}[r.IntN(5)]
	name = fmt.Sprintf("o%d", r.IntN(3))
	value, manager := fmt.Sprint(r.IntN(3)), fmt.Sprintf("m%d", r.IntN(3))
	finalizers := [][]string{nil, nil, {"example.com/f"}}[r.IntN(3)]
	version, uid, number := r.IntN(4), r.IntN(6), r.IntN(3)
	query := url.Values{"fieldManager": {manager}}
	if r.IntN(12) == 0 {
		query.Set("dryRun", "All")
	}
	meta := func(st state) map[string]any {
		m := map[string]any{"name": name, "namespace": s.namespace, "labels": map[string]string{"v": value}, "finalizers": finalizers}
		switch version {
		case 0, 1:
			m["resourceVersion"] = st.version
		case 2:
			m["resourceVersion"] = st.before
		}
		switch uid {
		case 0, 1:
			m["uid"] = st.uid
		case 2:
			m["uid"] = "99999999-0000-4000-8000-000000000000"
		}
		for _, key := range []string{"resourceVersion", "uid"} {
			if m[key] == "" {
				delete(m, key)
			}
		}
		return m
	}
	send := func(method, contentType string, body func(state) any, sub ...string) func(state) request {
		return func(st state) request {
			req := request{method: method, path: s.path(resource, name, sub...), query: query, contentType: contentType}
			if body != nil {
				data, err := json.Marshal(body(st))
				if err != nil {
					panic(err)
				}
				req.body = string(data)
			}
			return req
		}
	}
	whole := func(st state) any { return s.object(resource, value, meta(st)) }
	choice := r.IntN(15)
	if resource == "pods" && (choice == 4 || choice == 5) {
		choice = 8 // most of a pod cannot be changed
	}
	switch choice {
	case 0, 1, 2:
		return resource, name, func(st state) request {
			if uid < 5 {
				st = state{}
			}
			req := send(http.MethodPost, "application/json", whole)(st)
			req.path = s.path(resource, "")
			return req
		}
	case 3:
		return resource, name, func(st state) request {
			req := send(http.MethodGet, "", nil)(st)
			switch {
			case st.version == "" || version == 2:
			case version == 3 && uid == 0: // one that does not exist yet
				req.query = url.Values{"resourceVersion": {st.version + "0000"}}
			default: // from a cache that has reached the version
				req.query = url.Values{"resourceVersion": {st.version}}
			}
			return req
		}
	case 4, 5:
		return resource, name, send(http.MethodPut, "application/json", whole)
	case 6:
		if resource == "deployments" {
			query.Set("dryRun", "All") // the model does not merge the managed fields of a scale with those of its object
			return resource, name, send(http.MethodPut, "application/json", func(st state) any {
				return map[string]any{"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta(st), "spec": map[string]any{"replicas": number}}
			}, "scale")
		}
		fallthrough
	case 7, 8:
		kind := []string{"merge-patch", "strategic-merge-patch"}[r.IntN(2)]
		return resource, name, send(http.MethodPatch, "application/"+kind+"+json", func(st state) any {
			m := meta(st)
			delete(m, "name")
			delete(m, "namespace")
			return map[string]any{"metadata": m}
		})
	case 9:
		return resource, name, send(http.MethodPatch, "application/json-patch+json", func(st state) any {
			return []any{
				map[string]any{"op": "test", "path": "/metadata/resourceVersion", "value": []string{st.version, st.before}[version%2]},
				map[string]any{"op": "add", "path": "/metadata/annotations", "value": map[string]string{"a": value}},
			}
		})
	case 10, 11:
		if resource != "configmaps" {
			return resource, name, send(http.MethodGet, "", nil)
		}
		if r.IntN(2) == 0 {
			query.Set("force", "true")
		}
		return resource, name, send(http.MethodPatch, "application/apply-patch+yaml", func(st state) any {
			m := meta(st)
			delete(m, "finalizers")
			delete(m, "labels")
			return map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": m, "data": map[string]string{"k" + fmt.Sprint(uid%2): value}}
		})
	default:
		return resource, name, send(http.MethodDelete, "application/json", func(st state) any {
			options := map[string]any{"apiVersion": "v1", "kind": "DeleteOptions"}
			preconditions := map[string]any{}
			for _, key := range []string{"resourceVersion", "uid"} {
				if v, has := meta(st)[key]; has {
					preconditions[key] = v
				}
			}
			if len(preconditions) > 0 && version != 1 {
				options["preconditions"] = preconditions
			}
			if resource == "pods" && uid > 3 {
				options["gracePeriodSeconds"] = number % 2 * 5
			}
			return options
		})
	}
}

// object is what a create or an update sends.
func (s *sequence) object(resource, value string, meta map[string]any) map[string]any {
	containers := []any{map[string]any{"name": "c", "image": "example.com/x"}}
	switch resource {
	case "pods":
		return map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": map[string]any{"nodeName": "n", "containers": containers}}
	case "deployments":
		labels := map[string]any{"app": "x"}
		return map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": map[string]any{
			"replicas": len(value), "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": containers}},
		}}
	}
	return map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": map[string]string{"k0": value}}
}

// object is what is read of an answer.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name                       string            `json:"name"`
		UID                        string            `json:"uid"`
		ResourceVersion            string            `json:"resourceVersion"`
		Generation                 int64             `json:"generation"`
		Labels                     map[string]string `json:"labels"`
		Annotations                map[string]string `json:"annotations"`
		Finalizers                 []string          `json:"finalizers"`
		DeletionTimestamp          string            `json:"deletionTimestamp"`
		DeletionGracePeriodSeconds *int64            `json:"deletionGracePeriodSeconds"`
		ManagedFields              []struct {
			Manager, Operation, Subresource string
		} `json:"managedFields"`
	} `json:"metadata"`
	Data map[string]string `json:"data"`
	Spec struct {
		Replicas *int64 `json:"replicas"`
	} `json:"spec"`
	Status  any    `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Details struct {
		Name              string `json:"name"`
		Kind              string `json:"kind"`
		Group             string `json:"group"`
		RetryAfterSeconds int    `json:"retryAfterSeconds"`
	} `json:"details"`
}

// answer is what is compared.
type answer struct {
	code               int
	object             object
	sameUID, sameState bool
}

// read reads an answer, and remembers what it says of the object.
func (s *sequence) read(i int, resource string, code int, body []byte) answer {
	a := answer{code: code}
	_ = json.Unmarshal(body, &a.object) // what cannot be read is empty
	o := &a.object
	if o.Kind == "Status" || o.Metadata.Name == "" {
		if before, _, found := strings.Cut(o.Message, "Too large resource version: "); found {
			o.Message = before + "Too large resource version"
		}
		for _, states := range s.known {
			st := states[i]
			for _, v := range []string{st.uid, st.version, st.before} {
				if len(v) > 10 {
					o.Message = strings.ReplaceAll(o.Message, v, "<uid>")
				} else if v != "" {
					o.Message = strings.ReplaceAll(o.Message, "("+v+")", "<version>")
				}
			}
		}
		return a
	}
	st := &s.state(resource, o.Metadata.Name)[i]
	a.sameUID, a.sameState = st.uid == o.Metadata.UID, st.version == o.Metadata.ResourceVersion
	if !a.sameState {
		st.before = st.version
	}
	st.uid, st.version = o.Metadata.UID, o.Metadata.ResourceVersion
	return a
}

func (a answer) String() string {
	o, m := a.object, a.object.Metadata
	if o.Kind == "Status" {
		return fmt.Sprintf("%d %s %q %+v", a.code, o.Reason, o.Message, o.Details)
	}
	var managers []string
	for _, f := range m.ManagedFields {
		managers = append(managers, f.Manager+"/"+f.Operation+"/"+f.Subresource)
	}
	slices.Sort(managers)
	grace, replicas := "", ""
	if m.DeletionGracePeriodSeconds != nil {
		grace = fmt.Sprint(*m.DeletionGracePeriodSeconds)
	}
	if o.Spec.Replicas != nil {
		replicas = fmt.Sprint(*o.Spec.Replicas)
	}
	return fmt.Sprintf("%d %s %s same uid %t version %t generation %d labels %v annotations %v finalizers %v deleting %t %s replicas %s data %v managers %v",
		a.code, o.Kind, m.Name, a.sameUID, a.sameState, m.Generation, m.Labels, m.Annotations, m.Finalizers, m.DeletionTimestamp != "", grace, replicas, o.Data, managers)
}
