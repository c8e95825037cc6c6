package k8sretry_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
)

// plusOne counts in an object.
func plusOne(o *corev1.ConfigMap) error {
	n, _ := strconv.Atoi(o.Data["n"])
	if o.Data == nil {
		o.Data = map[string]string{}
	}
	o.Data["n"] = strconv.Itoa(n + 1)
	return nil
}

// bump is a count of somebody who leaves no token, and wipes ours.
func bump(c *cluster) func() {
	return func() {
		c.change("x", func(o *corev1.ConfigMap) { o.Annotations = nil; _ = plusOne(o) })
	}
}

func TestModify(t *testing.T) {
	own := errors.New("not today")
	for name, tt := range map[string]struct {
		prepare  func(*cluster)
		mutate   func(*corev1.ConfigMap) error
		options  []k8sretry.Option
		fails    func(*testing.T, error)
		is       func(error) bool
		requests string
		count    string
	}{
		"no mishap":       {requests: "get update", count: "1"},
		"nothing changes": {mutate: func(*corev1.ConfigMap) error { return nil }, requests: "get", count: "0"},
		"an empty map for none is no change": {
			mutate: func(o *corev1.ConfigMap) error { o.Labels = map[string]string{}; return nil }, requests: "get", count: "0",
		},
		"mutate fails": {
			mutate: func(*corev1.ConfigMap) error { return own }, requests: "get", count: "0",
			fails: func(t *testing.T, err error) { assert.Equal(t, own, err) },
		},
		"mutate fails with what could pass: it is not repeated": {
			mutate: func(*corev1.ConfigMap) error { return unavailable() }, requests: "get", count: "0", fails: asItCame,
		},
		"not there": {
			prepare: func(c *cluster) { c.remove("x") }, requests: "get", fails: asItCame, is: apierrors.IsNotFound,
		},
		"the read fails for a while": {
			prepare: func(c *cluster) { c.on("get", failed(unavailable()), failed(lostReply())) }, requests: "get get get update", count: "1",
		},
		"a conflict: read and mutated again": {
			prepare:  func(c *cluster) { c.on("get", &mishap{then: bump(c)}) },
			requests: "get update get update", count: "2",
		},
		"a conflict, no retries allowed": {
			prepare: func(c *cluster) { c.on("get", &mishap{then: bump(c)}) }, options: []k8sretry.Option{k8sretry.WithMaxRetries(0)},
			requests: "get update", count: "1", is: apierrors.IsConflict,
			fails: func(t *testing.T, err error) { assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown) },
		},
		"more conflicts than retries": {
			prepare: func(c *cluster) {
				for range 20 {
					c.on("get", &mishap{then: bump(c)})
				}
			},
			options:  []k8sretry.Option{k8sretry.WithMaxRetries(1)},
			requests: strings.Repeat("get update ", 21), count: "21",
		},
		"answer lost: counted once": {
			prepare: func(c *cluster) { c.on("update", lost(lostReply())) }, requests: "get update update get", count: "1",
		},
		"lost before the server": {
			prepare: func(c *cluster) { c.on("update", failed(lostReply())) }, requests: "get update update", count: "1",
		},
		"answer lost, counted by somebody since: counted once": {
			prepare:  func(c *cluster) { c.on("update", &mishap{after: lostReply(), then: bump(c)}) },
			requests: "get update update get watch", count: "2",
		},
		"never stored, somebody was first: counted after all": {
			prepare:  func(c *cluster) { c.on("update", &mishap{before: lostReply(), then: bump(c)}) },
			requests: "get update update get watch get update", count: "2",
		},
		"the history is gone: unknown, not counted again": {
			prepare: func(c *cluster) {
				c.on("update", &mishap{after: lostReply(), then: func() { bump(c)(); c.compacted = c.version }})
			},
			requests: "get update update get watch", count: "2", fails: outcomeUnknown, is: apierrors.IsConflict,
		},
		"all answers lost: the last check": {
			prepare: func(c *cluster) {
				c.on("update", lost(lostReply()), failed(lostReply()), failed(lostReply()), failed(lostReply()))
			},
			requests: "get update update update update get", count: "1",
		},
		"replaced by another object": {
			prepare: func(c *cluster) {
				c.on("get", &mishap{then: func() { c.remove("x"); c.put(configMap("x", "n", "7")) }})
			},
			requests: "get update get", count: "7", fails: asItCame, is: apierrors.IsConflict,
		},
		"a lasting refusal": {
			prepare: func(c *cluster) { c.on("update", failed(forbidden("x"))) }, requests: "get update", count: "0",
			fails: asItCame, is: apierrors.IsForbidden,
		},
		"a success that is none": {
			prepare: func(c *cluster) { c.on("update", &mishap{empty: true}) }, requests: "get update update", count: "1",
		},
		"without a token: unknown": {
			prepare: func(c *cluster) { c.on("update", lost(lostReply())) }, options: []k8sretry.Option{k8sretry.WithTokenAnnotation("")},
			requests: "get update update", count: "1", fails: outcomeUnknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.put(configMap("x", "n", "0"))
				if tt.prepare != nil {
					tt.prepare(c)
				}
				mutate := plusOne
				if tt.mutate != nil {
					mutate = tt.mutate
				}
				got, err := k8sretry.Modify(context.Background(), c, "x", mutate, tt.options...)
				if tt.fails == nil {
					require.NoError(t, err)
					assert.Equal(t, "x", got.Name)
				} else {
					tt.fails(t, err)
					assert.Nil(t, got)
				}
				if tt.is != nil {
					assert.True(t, tt.is(err), "%v", err)
				}
				c.expectRequests(t, strings.Fields(tt.requests)...)
				if o := c.objects["x"]; o != nil {
					assert.Equal(t, tt.count, o.Data["n"])
				}
			})
		})
	}
}

func TestModifyConflictsWaitShortly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("x"))
		for range 5 {
			c.on("get", &mishap{then: bump(c)})
		}
		began := time.Now()
		_, err := k8sretry.Modify(context.Background(), c, "x", plusOne, k8sretry.ForWrite())
		require.NoError(t, err)
		assert.Less(t, time.Since(began), time.Second)
	})
}

func TestModifyGivesUpOnEndlessConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("x"))
		c.always = func(verb string) *mishap {
			if verb == "get" {
				return &mishap{then: bump(c)}
			}
			return nil
		}
		_, err := k8sretry.Modify(context.Background(), c, "x", plusOne)
		assert.True(t, apierrors.IsConflict(err))
		assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, 104, c.count("update"))
	})
}

func TestModifyStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("x"))
		c.on("get", &mishap{then: bump(c)})
		got, err := k8sretry.Modify(context.Background(), k8sretry.StatusSubresource(c), "x", plusOne)
		require.NoError(t, err)
		assert.Equal(t, "2", got.Data["n"])
		c.expectRequests(t, "get", "updatestatus", "get", "updatestatus")
	})
}
