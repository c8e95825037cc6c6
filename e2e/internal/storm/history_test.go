// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// historyOf returns a history of changes of objects with the name "a", in the order of their
// versions.
func historyOf(changes ...change) (h history) {
	for i, c := range changes {
		c.version = uint64(i + 1)
		h = append(h, c)
	}
	return h
}

func changed(event watch.EventType, uid types.UID, by string) change {
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", UID: uid}, Data: map[string]string{"by": by}}
	return change{EventType: event, Object: m, data: m.Data}
}

func going(c change) change {
	now := metav1.Now()
	c.SetDeletionTimestamp(&now)
	return c
}

func TestHistoryCountsCreatedObjects(t *testing.T) {
	h := historyOf(
		changed(watch.Added, "1", "caller"), changed(watch.Modified, "1", "caller"), changed(watch.Deleted, "1", "caller"),
		changed(watch.Added, "2", "other"), changed(watch.Added, "3", "caller"),
	)
	byCaller := func(c change) bool { return c.data["by"] == "caller" }
	assert.Equal(t, 2, h.created(byCaller), "companions modify and recreate")
	assert.Equal(t, 1, h.since(1).created(byCaller))
	assert.Zero(t, h.since(5).created(byCaller))
}

func TestHistoryCountsDeletedObjectsByUID(t *testing.T) {
	h := historyOf(
		going(changed(watch.Modified, "1", "")), going(changed(watch.Modified, "1", "")), changed(watch.Deleted, "1", ""),
		changed(watch.Added, "2", ""), changed(watch.Modified, "2", ""),
	)
	assert.Equal(t, map[types.UID]bool{"1": true}, h.deleted("a"), "once, and not the successor")
	assert.Len(t, append(h, going(changed(watch.Modified, "2", ""))).deleted("a"), 2, "the successor begins to go")
	assert.Empty(t, h.deleted("b"))
}

// Others write the object before and after the caller, and keep or replace what it has set.
func TestHistoryCountsHowOftenAValueWasSet(t *testing.T) {
	h := historyOf(
		changed(watch.Modified, "1", "none"), changed(watch.Modified, "1", "caller"), changed(watch.Modified, "1", "caller"),
		changed(watch.Modified, "1", "other"), changed(watch.Deleted, "1", "caller"), changed(watch.Added, "2", "caller"),
	)
	assert.Equal(t, 1, h.written("a", "caller"))
	assert.Equal(t, 2, append(h, changed(watch.Modified, "1", "caller")).written("a", "caller"), "twice")
	assert.Zero(t, h.written("a", "nothing"))
	assert.Equal(t, "caller", h.last("a")["by"])
	assert.Nil(t, h.last("b"))
}
