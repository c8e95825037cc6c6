// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/e2e/internal/storm"
)

// soaked returns a report whose memory, in MiB after each minute, is given.
func soaked(memory ...float64) report {
	r := report{rounds: len(memory)}
	for i, m := range memory {
		s := sample{at: time.Duration(i) * time.Minute}
		s.values[0] = m
		r.samples = append(r.samples, s)
	}
	return r
}

func TestVerdictOfASoak(t *testing.T) {
	for _, test := range []struct {
		situation string
		change    func(*report)
		want      string
	}{
		{"all is well", func(*report) {}, ""},
		{"memory goes up and down", func(r *report) { *r = soaked(30, 60, 30, 60, 30, 60) }, ""},
		{"memory grows", func(r *report) { *r = soaked(30, 31, 33, 35, 36, 38) }, "memory: grown from 31 to 38 MiB"},
		{"one round only", func(r *report) { *r = soaked(30) }, ""},
		{"a write was lost", func(r *report) { r.byTrouble[killedServer] = storm.Result{Lost: 1} }, "1 wrong answers"},
		{"one was done twice", func(r *report) { r.byTrouble[noTrouble] = storm.Result{Twice: 2} }, "2 wrong answers"},
		{"an outcome could be determined", func(r *report) { r.wrongUnknown = 3 }, "3 unknown outcomes that can be determined"},
	} {
		t.Run(test.situation, func(t *testing.T) {
			r := soaked(30, 30, 30)
			test.change(&r)
			if test.want == "" {
				assert.NoError(t, r.verdict())
			} else {
				assert.EqualError(t, r.verdict(), test.want)
			}
		})
	}
}

func TestSlopeIsPerHour(t *testing.T) {
	assert.InDelta(t, 60, slope(soaked(10, 11, 12, 13).samples, 0), 1e-6)
	assert.InDelta(t, -60, slope(soaked(13, 12, 11, 10).samples, 0), 1e-6)
	assert.Zero(t, slope(soaked(10).samples, 0))
}
