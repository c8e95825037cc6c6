// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/k8sretry/k8sretry/worlds/model"
)

const maps = "/api/v1/namespaces/default/configmaps"

// newServers returns two servers. The cache of the second one is a second behind.
func newServers() *model.Server {
	return model.New(model.Config{
		Now: time.Now, UID: func(n int) types.UID { return types.UID(fmt.Sprint("uid-", n)) }, Suffix: func(int) string { return "" },
		Replicas: 2, Lag: func(replica int, _ int64) time.Duration { return time.Duration(replica) * time.Second },
	})
}

func send(s *model.Server, replica int, method, path, body string, query ...string) model.Response {
	values := url.Values{}
	for i := 0; i < len(query); i += 2 {
		values.Set(query[i], query[i+1])
	}
	return s.HandleOn(replica, &model.Request{Method: method, Path: path, Query: values, Body: []byte(body), UserAgent: "test/1"})
}

func create(t *testing.T, s *model.Server, name string) {
	t.Helper()
	r := send(s, 1, http.MethodPost, maps, fmt.Sprintf(`{"metadata":{"name":%q}}`, name))
	require.Equal(t, http.StatusCreated, r.Code, "%s", r.Body)
}

// What kube-apiserver serves from the storage and from its watch cache.
func TestReadsOfALaggingCache(t *testing.T) {
	for _, tt := range []struct {
		situation string
		path      string
		query     []string
		code      int
		after     time.Duration
	}{
		{"a read without a version sees the storage", maps + "/a", nil, 200, 0},
		{"a read with version 0 sees the cache", maps + "/a", []string{"resourceVersion", "0"}, 404, 0},
		{"a read of a version waits for the cache", maps + "/a", []string{"resourceVersion", "2"}, 200, time.Second},
		{"a read of a version to come waits for three seconds", maps + "/a", []string{"resourceVersion", "9"}, 504, 3 * time.Second},
		{"a consistent list waits for the cache", maps, nil, 200, time.Second},
		{"a list of a version waits for the cache", maps, []string{"resourceVersion", "2", "resourceVersionMatch", "NotOlderThan"}, 200, time.Second},
	} {
		t.Run(tt.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServers()
				create(t, s, "a")
				began := time.Now()
				r := send(s, 1, http.MethodGet, tt.path, "", tt.query...)
				assert.Equal(t, tt.code, r.Code, "%s", r.Body)
				assert.Equal(t, tt.after, time.Since(began))
				r = send(s, 0, http.MethodGet, tt.path, "", tt.query...)
				assert.Equal(t, tt.code == 504, r.Code == 504, "a cache that is not behind")
			})
		})
	}
}

// A watch begins with what the cache has, and hears of the rest when the cache does.
func TestWatchesOfALaggingCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers()
		create(t, s, "a")
		r := send(s, 1, http.MethodGet, maps, "", "watch", "true", "resourceVersion", "1")
		began := time.Now()
		events, err := r.Watch.Next(t.Context())
		require.NoError(t, err)
		require.Len(t, events, 1)
		assert.Contains(t, string(events[0]), `"ADDED"`)
		assert.Equal(t, time.Second, time.Since(began))

		create(t, s, "b")
		r = send(s, 1, http.MethodGet, maps, "", "watch", "true", "resourceVersion", "0")
		events, err = r.Watch.Next(t.Context())
		require.NoError(t, err)
		assert.Len(t, events, 1, "without what the cache does not know")
	})
}

// A server that has restarted has no history, and refuses reads of its cache until that is filled.
func TestCacheOfAServerThatHasRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers()
		create(t, s, "a")
		create(t, s, "b")
		s.Restart(1, time.Second)
		assert.Equal(t, 429, send(s, 1, http.MethodGet, maps, "", "watch", "true", "resourceVersion", "2").Code)
		assert.Equal(t, 429, send(s, 1, http.MethodGet, maps, "", "resourceVersion", "0").Code)
		assert.Equal(t, 200, send(s, 1, http.MethodGet, maps+"/a", "", "resourceVersion", "0").Code, "from the storage")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		<-ctx.Done()
		r := send(s, 1, http.MethodGet, maps, "", "watch", "true", "resourceVersion", "2")
		events, err := r.Watch.Next(t.Context())
		require.NoError(t, err)
		assert.True(t, strings.Contains(string(events[0]), "too old resource version"), "%s", events[0])
	})
}

// An update renews the entry of its own manager among the managed fields. One that loses a field to it
// keeps its time.
func TestAnUpdateRenewsNoEntryOfAnotherManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, began := newServers(), time.Now()
		write := func(method, path, manager, value string) map[string]time.Duration {
			body := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"n":"1","value":%q}}`, value)
			r := send(s, 0, method, path, body, "fieldManager", manager)
			require.Less(t, r.Code, 300, "%s", r.Body)
			var stored struct{ Metadata metav1.ObjectMeta }
			require.NoError(t, json.Unmarshal(r.Body, &stored))
			times := map[string]time.Duration{}
			for _, e := range stored.Metadata.ManagedFields {
				times[e.Manager] = e.Time.Sub(began)
			}
			return times
		}
		write(http.MethodPost, maps, "first", "1")
		for situation, update := range []struct{ manager, value string }{{"second", "2"}, {"first", "2"}} {
			timer := time.NewTimer(time.Second)
			<-timer.C
			want := map[string]time.Duration{"first": 0, "second": time.Second}
			assert.Equal(t, want, write(http.MethodPut, maps+"/a", update.manager, update.value), "update %d", situation+1)
		}
	})
}
