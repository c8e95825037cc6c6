// SPDX-License-Identifier: Apache-2.0

package worlds

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"

	"github.com/k8sretry/k8sretry/worlds/judge"
	"github.com/k8sretry/k8sretry/worlds/trace"
)

func init() {
	klog.SetLogger(logr.Discard()) // client-go logs each answer that it cannot read
	// One of these handlers waits for the time of the last error, which may be that of another
	// world, whose clock is years ahead.
	utilruntime.ErrorHandlers = nil
}

// Result is a world that has ended.
type Result struct {
	Seed      uint64
	Trace     []trace.Entry
	Judgement *judge.Judgement
}

// Run runs the world of a seed in a bubble of its own and judges it.
func Run(t *testing.T, seed uint64) (r Result) {
	r.Seed = seed
	func() {
		defer func() {
			if p := recover(); p != nil {
				text := fmt.Sprint(p)
				if err, ok := p.(runtime.Error); ok || !strings.Contains(text, "deadlock") {
					panic(fmt.Sprintf("world %d: %v %v", seed, err, p))
				}
				r.Trace = append(r.Trace, trace.Entry{Kind: trace.LeakDetected, Error: text})
			}
		}()
		synctest.Test(t, func(*testing.T) { r.Trace = New(seed).Run() })
	}()
	r.Judgement = judge.Judge(r.Trace)
	return r
}
