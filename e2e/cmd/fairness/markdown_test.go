// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/e2e/internal/fairness"
)

func example() []row {
	return []row{
		{fairness.Contender{Name: "peer", Bare: true}, fairness.Result{Calls: 200, Served: 50, Rejected: 900, Accepted: 50, Last: 4 * time.Second}},
		{fairness.Contender{Name: "k8sretry, no limiter", Ours: true}, fairness.Result{Calls: 200, Served: 100, Rejected: 800, Accepted: 100}},
		{fairness.Contender{Name: "k8sretry", Ours: true, WithLimiter: true}, fairness.Result{Calls: 200, Served: 200, Rejected: 250, Accepted: 200}},
	}
}

func TestMarkdown(t *testing.T) {
	text := markdown(example())
	assert.Contains(t, text, "| peer, client-go's own retries off | 25 % | 950 | 900 | 4.0 s |\n")
	assert.Contains(t, text, "| k8sretry | **100 %** | 450 | **250** | 0.0 s |\n")
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*fairness.Result)
		want   string
	}{
		{"all served, fewer rejected", func(*fairness.Result) {}, ""},
		{"one not served", func(r *fairness.Result) { r.Served-- }, "k8sretry: 199 of 200 served"},
		{"as many rejected as by a peer", func(r *fairness.Result) { r.Rejected = 900 }, "k8sretry: 900 rejected, peer: 900"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows := example()
			tt.change(&rows[2].Result)
			if err := check(rows); tt.want == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, tt.want)
			}
		})
	}
}
