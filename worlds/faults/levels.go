// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/k8sretry/k8sretry/worlds/model"
)

// levels are the priority levels of API Priority and Fairness. Each server has its own seats.
type levels struct {
	until map[levelOf]full
}

type levelOf struct {
	replica int
	level   string
}

// full is how long a level takes no requests, and the Retry-After of its 429s.
type full struct {
	until      time.Time
	retryAfter int
}

// LeaderElection is the level of leases. It is never exhausted.
const LeaderElection = "leader-election"

// LevelOf returns the priority level of a resource.
func LevelOf(resource string) string {
	switch resource {
	case "leases":
		return LeaderElection
	case "pods", "deployments":
		return "workload-high"
	}
	return "workload-low"
}

// levelOfPath returns the priority level of a request.
func levelOfPath(path string) string {
	parts := strings.Split(path, "/")
	if i := slices.Index(parts, "namespaces"); i > 0 && i+2 < len(parts) {
		return LevelOf(parts[i+2])
	}
	return LevelOf("")
}

// uids are those of the levels, as the headers name them.
var uids = map[string]string{
	LeaderElection: "00000000-0000-4000-9000-000000000001", "workload-high": "00000000-0000-4000-9000-000000000002", "workload-low": "00000000-0000-4000-9000-000000000003",
}

// exhaust lets a level of a server take no requests for a time.
func (x *exchange) exhaust() {
	if x.level == LeaderElection {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	key := levelOf{x.to, x.level}
	if until := time.Now().Add(x.fault.Delay); until.After(x.levels.until[key].until) {
		x.levels.until[key] = full{until, x.fault.RetryAfter}
	}
}

// refused returns the answer of a level that takes no requests.
func (x *exchange) refused() (r model.Response, refused bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	full := x.levels.until[levelOf{x.to, x.level}]
	if !time.Now().Before(full.until) {
		return r, false
	}
	return model.Response{
		Code: http.StatusTooManyRequests, Body: []byte("Too many requests, please try again later.\n"), ContentType: "text/plain; charset=utf-8",
		RetryAfter: full.retryAfter, Version: x.Server.Version(),
	}, true
}

// classify adds the headers of Priority and Fairness, which each of its answers has.
func (x *exchange) classify() {
	h := x.w.Header()
	h.Set("X-Kubernetes-Pf-Prioritylevel-Uid", uids[x.level])
	h.Set("X-Kubernetes-Pf-Flowschema-Uid", strings.Replace(uids[x.level], "-9000-", "-8000-", 1))
}
