// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/worlds"
	"github.com/k8sretry/k8sretry/worlds/judge"
	"github.com/k8sretry/k8sretry/worlds/trace"
)

// The trace says what happened, and the judge reads nothing else.
func TestATraceIsJudgedAgain(t *testing.T) {
	for seed := range uint64(20) {
		r := worlds.Run(t, seed)
		var written bytes.Buffer
		require.NoError(t, trace.Encode(&written, r.Trace))
		read, err := trace.Decode(written.Bytes())
		require.NoError(t, err)
		assert.Equal(t, r.Judgement, judge.Judge(read), "seed %d", seed)
	}
}

// What is called, and what happens to the requests of a call, is a function of the seed.
func TestTheSeedDecides(t *testing.T) {
	type request struct{ op, n int }
	decided := func(seed uint64) (calls map[int]string, faults map[request]string) {
		calls, faults = map[int]string{}, map[request]string{}
		for _, e := range worlds.Run(t, seed).Trace {
			switch {
			case e.Kind == trace.OpBegins:
				calls[e.Op] = fmt.Sprint(e.Way, e.Call, e.Name, e.Limit, e.Canceled)
			case e.Kind == trace.RequestCame && !e.Watch:
				faults[request{e.Op, e.N}] = e.Fault
			}
		}
		return calls, faults
	}
	for seed := range uint64(5) {
		calls, first := decided(seed)
		again, second := decided(seed)
		assert.Equal(t, calls, again, "seed %d", seed)
		for r, fault := range first {
			if other, both := second[r]; both && r.op <= len(calls) {
				assert.Equal(t, fault, other, "seed %d, request %v", seed, r)
			}
		}
	}
}

func TestWorldsWithoutViolations(t *testing.T) {
	for seed := range uint64(60) {
		r := worlds.Run(t, seed)
		for _, v := range r.Judgement.Violations {
			t.Errorf("seed %d, call %d: %s: %s\n%s", seed, v.Op, v.Rule, v.Text, worlds.Shorten(r.Trace, v.Op))
		}
		require.Positive(t, r.Judgement.Operations)
	}
}
