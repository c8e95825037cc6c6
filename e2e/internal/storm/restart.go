package storm

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// downtime is how long nobody listens. The server that is started then needs some
// more seconds until it serves.
const downtime = 500 * time.Millisecond

// Restart makes Ops creates, 16 at once and half of them with a generated name, and
// kills the apiserver when a third of them has begun. One fixed name in ten is
// somebody else's. There is no proxy.
func Restart(ctx context.Context, s Setup, caller Caller) (result Result, err error) {
	r, err := newRun(ctx, s, caller, false)
	if err != nil {
		return result, err
	}
	defer r.close()
	foreign := func(i int) bool { return one(i, 20, 6) }
	fixed := func(i int) bool { return i%2 == 0 }
	objects := make([]*corev1.ConfigMap, s.Ops)
	for i := range objects {
		if foreign(i) {
			objects[i] = object(name("fixed", i), "by", "somebody else")
		}
	}
	if err := r.create(ctx, objects); err != nil {
		return result, err
	}

	var begun atomic.Int64
	restarted := make(chan error, 1)
	told := make([]error, s.Ops)
	begin := time.Now()
	each(s.Ops, workers, func(i int) {
		if begun.Add(1) == int64(s.Ops/3) {
			go func() { restarted <- r.restart(ctx) }()
		}
		told[i] = r.call(ctx, name("call", i), func(ctx context.Context) error {
			m := object(name("fixed", i), "by", strconv.Itoa(i))
			if !fixed(i) {
				m.Name, m.GenerateName = "", "generated-"
			}
			return r.caller.Create(ctx, r.maps, m)
		})
	})
	result.Took = time.Since(begin)
	if err := <-restarted; err != nil {
		return result, err
	}
	stored, err := r.list(ctx)
	if err != nil {
		return result, err
	}
	made := map[string]int{}
	for _, m := range stored {
		made[m.Data["by"]]++
	}
	for i, err := range told {
		var right func(error) bool
		if foreign(i) {
			right = exactly(apierrors.IsAlreadyExists)
		}
		n := made[strconv.Itoa(i)]
		result.judge(fmt.Sprint("create ", i), err, right, n > 0, n, false)
	}
	return result, nil
}

func (r *run) restart(ctx context.Context) error {
	r.Cluster.KillAPIServer()
	select {
	case <-time.After(downtime):
	case <-ctx.Done():
	}
	if err := r.Cluster.StartAPIServer(); err != nil {
		return err
	}
	return r.Cluster.WaitReady(ctx)
}
