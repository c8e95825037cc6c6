// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"testing"
	"time"

	"github.com/avast/retry-go/v5"
	"github.com/k8sretry/k8sretry"
)

// total is a sink, so that the compiler does not remove the measured code.
var total time.Duration

// BenchmarkDelay measures the calculation of the three delays of one call, with
// jitter. Most schedules have state, so the time to create or reset them is included.
// failsafe-go does not export its calculation.
func BenchmarkDelay(b *testing.B) {
	const initial = 2 * time.Second
	for _, schedule := range []struct {
		name string
		sum  func(n int) time.Duration
	}{
		{"hand", func(n int) (sum time.Duration) {
			for range n {
				for retry := range maxRetries {
					sum += handDelay(retry, initial)
				}
			}
			return sum
		}},
		{"k8sretry", func(n int) (sum time.Duration) {
			backoff := k8sretry.Exponential{Initial: initial, Max: maxDelay, Multiplier: multiplier}
			for range n {
				for retry := range maxRetries {
					sum += backoff.Delay(retry + 1)
				}
			}
			return sum
		}},
		{"cenkalti", func(n int) (sum time.Duration) {
			backoff := cenkaltiSchedule(initial)
			for range n {
				backoff.Reset()
				for range maxRetries {
					sum += backoff.NextBackOff()
				}
			}
			return sum
		}},
		{"avast", func(n int) (sum time.Duration) {
			delay := retry.CombineDelay(retry.BackOffDelay, retry.RandomDelay)
			retrier := retry.New(retry.Delay(initial), retry.MaxJitter(avastJitter(initial)))
			for range n {
				for i := range uint(maxRetries) {
					sum += min(delay(i+1, errUnavailable, retrier), maxDelay)
				}
			}
			return sum
		}},
		{"sethvargo", func(n int) (sum time.Duration) {
			for range n {
				backoff := sethvargoUsualSchedule(initial)
				for range maxRetries {
					d, _ := backoff.Next()
					sum += d
				}
			}
			return sum
		}},
		{"gax", func(n int) (sum time.Duration) {
			for range n {
				backoff := gaxSchedule(initial)
				for range maxRetries {
					sum += backoff.Pause()
				}
			}
			return sum
		}},
		{"wait", func(n int) (sum time.Duration) {
			for range n {
				backoff := waitSchedule(initial)
				for range maxRetries {
					sum += backoff.Step()
				}
			}
			return sum
		}},
	} {
		b.Run(schedule.name, func(b *testing.B) {
			b.ReportAllocs()
			total = schedule.sum(b.N)
		})
	}
}
