// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
)

// Early makes Ops calls of all kinds, 16 concurrently, while 30 % of the requests fail
// before they reach the server. Every call can succeed.
func Early(ctx context.Context, s Setup, caller Caller) (result Result, err error) {
	r, err := newRun(ctx, s, caller, true)
	if err != nil {
		return result, err
	}
	defer r.close()
	objects := make([]*corev1.ConfigMap, s.Ops)
	for i := range objects {
		if i%6 != 2 {
			objects[i] = object(name("object", i), "by", "none")
		}
	}
	if err := r.create(ctx, objects); err != nil {
		return result, err
	}

	// Without Retry-After, because client-go repeats requests after it.
	faults := r.proxy.Isolated([]faultproxy.Fault{
		faultproxy.Answer(http.StatusTooManyRequests), faultproxy.Answer(http.StatusServiceUnavailable),
		faultproxy.Answer(http.StatusBadGateway).HTML(), faultproxy.Answer(http.StatusGatewayTimeout),
		faultproxy.Close(), faultproxy.Reset(),
	})
	r.proxy.SetRule(share(0.3, s.Seed, faults))
	errs := make([]error, s.Ops)
	start := time.Now()
	each(s.Ops, func(i int) {
		errs[i] = r.call(ctx, i, func(ctx context.Context) error { return r.mixed(ctx, i, objects[i]) })
	})
	result.Took = time.Since(start)

	done, err := r.waitForWrites(ctx)
	if err != nil {
		return result, err
	}
	stored, err := r.list(ctx)
	if err != nil {
		return result, err
	}
	for i, err := range errs {
		present := true
		m, found := stored[name("object", i)]
		switch i % 6 {
		case 2, 3, 4:
			present = m.Data["by"] == strconv.Itoa(i)
		case 5:
			present = !found
		}
		result.add(r.id(i), err, nil, present, done[r.id(i)], false)
	}
	r.count(&result)
	return result, nil
}

func (r *run) mixed(ctx context.Context, i int, m *corev1.ConfigMap) error {
	by := strconv.Itoa(i)
	switch i % 6 {
	case 0:
		return r.caller.Do(ctx, k8sretry.VerbGet, func(ctx context.Context) error {
			_, err := r.maps.Get(ctx, m.Name, metav1.GetOptions{})
			return err
		})
	case 1:
		return r.caller.Do(ctx, k8sretry.VerbList, func(ctx context.Context) error {
			_, err := r.maps.List(ctx, metav1.ListOptions{Limit: 10})
			return err
		})
	case 2:
		return r.caller.Create(ctx, r.maps, object(name("object", i), "by", by))
	case 3:
		m = m.DeepCopy()
		m.Data["by"] = by
		return r.caller.Update(ctx, r.maps, m)
	case 4:
		return r.caller.Do(ctx, k8sretry.VerbPatch, func(ctx context.Context) error {
			_, err := r.maps.Patch(ctx, m.Name, types.MergePatchType, []byte(`{"data":{"by":"`+by+`"}}`), metav1.PatchOptions{})
			return err
		})
	}
	return r.caller.Delete(ctx, r.maps, m)
}
