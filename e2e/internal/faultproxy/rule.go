// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Rule returns the fault of a request. It must not change the request and must be safe for
// concurrent use.
type Rule func(*http.Request) Fault

// Always returns f for each request.
func Always(f Fault) Rule { return func(*http.Request) Fault { return f } }

// Next returns the faults in turn for the next n requests, and no fault for later ones.
func Next(n int, faults ...Fault) Rule {
	var calls atomic.Int64
	return func(*http.Request) Fault {
		if i := calls.Add(1) - 1; i < int64(n) {
			return faults[i%int64(len(faults))]
		}
		return Fault{}
	}
}

// Share returns one of the faults for a share of all requests, from 0 to 1. The fault of a
// request depends on the seed, its method, its path, its call (see [WithCall]) and how often
// it was sent before, but not on the order of arrival: two runs with the same seed have the
// same faults, independent of scheduling.
func Share(share float64, seed uint64, faults ...Fault) Rule {
	return func(r *http.Request) Fault {
		h := fnv.New64a()
		for _, s := range []string{r.Method, r.URL.Path, r.Header.Get(callHeader), strconv.Itoa(Nth(r))} {
			_, _ = io.WriteString(h, s+"\n")
		}
		random := rand.New(rand.NewPCG(seed, h.Sum64()))
		if random.Float64() >= share {
			return Fault{}
		}
		return faults[random.IntN(len(faults))]
	}
}

// When applies the rule to matching requests. Other requests have no fault.
func When(match func(*http.Request) bool, rule Rule) Rule {
	return func(r *http.Request) Fault {
		if !match(r) {
			return Fault{}
		}
		return rule(r)
	}
}

// First returns the first fault that one of the rules returns for a request.
func First(rules ...Rule) Rule {
	return func(r *http.Request) Fault {
		for _, rule := range rules {
			if f := rule(r); f != (Fault{}) {
				return f
			}
		}
		return Fault{}
	}
}

// Verbs matches requests by their [Verb].
func Verbs(verbs ...string) func(*http.Request) bool {
	return func(r *http.Request) bool { return slices.Contains(verbs, Verb(r)) }
}

// Path matches requests whose path contains the text.
func Path(text string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.Contains(r.URL.Path, text) }
}

// Verb returns the verb of a request in the terms of RBAC: get, list, watch, create,
// update, patch, delete or deletecollection.
func Verb(r *http.Request) string {
	switch r.Method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if named(r.URL.Path) {
			return "delete"
		}
		return "deletecollection"
	}
	if watch := r.URL.Query().Get("watch"); watch == "true" || watch == "1" {
		return "watch"
	}
	if named(r.URL.Path) {
		return "get"
	}
	return "list"
}

// named reports whether the path of a request contains the name of an object. Paths that
// address no resource (/readyz, /openapi/v3) count as named.
func named(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		parts = parts[3:]
	default:
		return true
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	return len(parts) > 1
}
