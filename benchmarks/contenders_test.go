// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/k8sretry/k8sretry/benchmarks/internal/report"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// counted returns fn and a counter of its calls.
func counted(fn call) (call, *int) {
	n := new(int)
	return func(ctx context.Context) (*corev1.ConfigMap, error) {
		*n++
		return fn(ctx)
	}, n
}

// All contenders must do the same work, or the benchmarks would not be comparable.
func TestContendersMakeTheSameAttempts(t *testing.T) {
	alwaysUnavailable := func(context.Context) (*corev1.ConfigMap, error) { return nil, errUnavailable }
	for _, c := range contenders[1:] {
		t.Run(c.name, func(t *testing.T) {
			run := c.prepare(time.Nanosecond)

			t.Run("success", func(t *testing.T) {
				fn, calls := counted(succeeds)
				v, err := run(t.Context(), 1, fn)
				require.NoError(t, err)
				assert.Same(t, configMap, v)
				assert.Equal(t, 1, *calls)
			})
			t.Run("two failures, then success", func(t *testing.T) {
				fn, calls := counted(failsTwice())
				v, err := run(t.Context(), 1, fn)
				require.NoError(t, err)
				assert.Same(t, configMap, v)
				assert.Equal(t, 3, *calls)
			})
			t.Run("NotFound is returned at once", func(t *testing.T) {
				fn, calls := counted(notFound)
				_, err := run(t.Context(), 1, fn)
				assert.True(t, apierrors.IsNotFound(err), "%T: %v", err, err)
				assert.Equal(t, 1, *calls)
			})
			t.Run("two calls are independent", func(t *testing.T) {
				fn, calls := counted(failsTwice())
				_, err := run(t.Context(), 2, fn)
				require.NoError(t, err)
				assert.Equal(t, 6, *calls)
			})
			if c.unlimited {
				return
			}
			t.Run("nothing but failures", func(t *testing.T) {
				fn, calls := counted(alwaysUnavailable)
				_, err := run(t.Context(), 1, fn)
				assert.True(t, apierrors.IsServiceUnavailable(err), "%T: %v", err, err)
				assert.Equal(t, maxRetries+1, *calls)
			})
		})
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	for _, c := range contenders[1:] {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const delay = 10 * time.Second
				run := c.prepare(delay)
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				start := time.Now()
				_, _ = run(ctx, 1, func(ctx context.Context) (*corev1.ConfigMap, error) {
					if ctx.Err() != nil {
						return configMap, nil
					}
					return nil, errUnavailable
				})
				if waited := time.Since(start); c.ignoresContext {
					assert.GreaterOrEqual(t, waited, delay)
				} else {
					assert.LessOrEqual(t, waited, time.Millisecond)
				}
			})
		})
	}
}

func TestChecksRecognizeTheMeasuredErrors(t *testing.T) {
	for name, check := range map[string]func(error) bool{"predicates": predicates, "transient": transient} {
		t.Run(name, func(t *testing.T) {
			assert.True(t, check(errUnavailable))
			assert.True(t, check(errWrappedUnavailable))
			assert.True(t, check(errRefused))
			assert.False(t, check(errNotFound))
		})
	}
}

func TestTablesContainAllContenders(t *testing.T) {
	var names []string
	for _, c := range contenders {
		names = append(names, c.name)
	}
	assert.Equal(t, report.Contenders(), names)
}
