// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// The kinds of patches, one call in three each. The first two are rejected if the object has
// changed since it was read. Of the third the last write wins: to apply it again after another
// client has written the object is what its caller asks for, and does not count as done twice.
const (
	mergePatch     = iota // names the resource version
	jsonPatch             // tests what it replaces
	strategicPatch        // neither
)

// patches plans patches of objects. One object in 20 has been updated before. Another client
// updates every fourth object as soon as it is patched, and deletes one in eight.
func patches(r *run) *plan {
	read := make([]*corev1.ConfigMap, r.Ops)
	kind := func(i int) int { return i % 3 }
	outdated := func(i int) bool { return oneIn(i, 20, 3) }
	return &plan{
		before: func(ctx context.Context) error {
			for i := range read {
				read[i] = object(name("patched", i), "i", strconv.Itoa(i), "by", "none")
			}
			if err := r.create(ctx, read); err != nil {
				return err
			}
			return r.outdate(ctx, read, outdated)
		},
		react: r.writeAfterCaller,
		call: func(ctx context.Context, i int) error {
			switch kind(i) {
			case mergePatch:
				return r.caller.Patch(ctx, r.maps, read[i].Name, types.MergePatchType,
					fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"data":{"by":"caller"}}`, read[i].ResourceVersion))
			case jsonPatch:
				return r.caller.Patch(ctx, r.maps, read[i].Name, types.JSONPatchType,
					`[{"op":"test","path":"/data/by","value":"none"},{"op":"replace","path":"/data/by","value":"caller"}]`)
			}
			return r.caller.Patch(ctx, r.maps, read[i].Name, types.StrategicMergePatchType, `{"data":{"by":"caller"}}`)
		},
		expected: func(i int) func(error) bool {
			switch {
			case !outdated(i) || kind(i) == strategicPatch:
				return nil
			case kind(i) == mergePatch:
				return certain(apierrors.IsConflict)
			}
			return certain(apierrors.IsInvalid)
		},
		effect: func(i int, h history, done int) (bool, int) {
			n := h.written(read[i].Name, "caller")
			if kind(i) == strategicPatch {
				return n > 0, min(n, 1)
			}
			return n > 0, max(n, done)
		},
	}
}

// outdate lets another client write objects that the caller has read.
func (r *run) outdate(ctx context.Context, read []*corev1.ConfigMap, outdated func(i int) bool) error {
	for i := range read {
		if outdated(i) {
			m := read[i].DeepCopy()
			m.Data["by"] = "other"
			if _, err := r.direct.Update(ctx, m, metav1.UpdateOptions{}); err != nil {
				return err
			}
		}
	}
	return r.settle(ctx)
}

// writeAfterCaller is another client, which updates every fourth object as soon as the caller
// has written it, and recreates one in eight.
func (r *run) writeAfterCaller(ctx context.Context, c change) {
	i, err := strconv.Atoi(c.data["i"])
	if err != nil || c.EventType != watch.Modified || c.deleting() || c.data["by"] != "caller" {
		return
	}
	switch {
	case oneIn(i, 4, 1):
		m := c.Object.(*corev1.ConfigMap).DeepCopy()
		m.Annotations, m.Data["by"] = nil, "other, later"
		_, _ = r.direct.Update(ctx, m, metav1.UpdateOptions{})
	case oneIn(i, 8, 2):
		if r.direct.Delete(ctx, c.GetName(), metav1.DeleteOptions{}) == nil && !r.Companions {
			_, _ = r.direct.Create(ctx, object(c.GetName(), "by", "other, later"), metav1.CreateOptions{})
		}
	}
}
