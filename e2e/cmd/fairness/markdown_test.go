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

func TestLevels(t *testing.T) {
	levels := func(beside time.Duration, failed int) []levelRow {
		return []levelRow{
			{fairness.Contender{Name: "none"}, fairness.Levels{Gets: 1, Alone: 1, Beside: 9, Failed: 1, Herd: fairness.Result{Calls: 200, Served: 50}}},
			{fairness.Contender{Name: "ours", WithLimiter: true}, fairness.Levels{Gets: 700, Failed: failed, Alone: 100 * time.Millisecond, Beside: beside, Herd: fairness.Result{Calls: 200, Served: 200}}},
		}
	}
	assert.Contains(t, levelsMarkdown(levels(110*time.Millisecond, 0)), "| ours | 700 | 0 | 100 ms | 110 ms | 100 % |\n")
	assert.NoError(t, checkLevels(levels(120*time.Millisecond, 0)))
	assert.EqualError(t, checkLevels(levels(121*time.Millisecond, 0)), "ours: reads beside an exhausted level: p99 121ms, alone 100ms, 0 failed")
	assert.EqualError(t, checkLevels(levels(110*time.Millisecond, 1)), "ours: reads beside an exhausted level: p99 110ms, alone 100ms, 1 failed")
}
