package worlds_test

import (
	"bytes"
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

func TestWorldsWithoutViolations(t *testing.T) {
	if testing.Short() {
		t.Skip()
	}
	for seed := range uint64(60) {
		r := worlds.Run(t, seed)
		for _, v := range r.Judgement.Violations {
			t.Errorf("seed %d, call %d: %s: %s\n%s", seed, v.Op, v.Rule, v.Text, worlds.Shorten(r.Trace, v.Op))
		}
		require.Positive(t, r.Judgement.Operations)
	}
}
