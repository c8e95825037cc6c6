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

// downtime is how long the port is closed. The restarted server needs some more seconds
// until it is ready.
const downtime = 500 * time.Millisecond

// Restart makes Ops creates, 16 concurrently and half of them with a generated name, and
// kills the apiserver after a third of them. 10 % of the fixed names belong to objects of
// another client. There is no proxy.
func Restart(ctx context.Context, s Setup, caller Caller) (result Result, err error) {
	r, err := newRun(ctx, s, caller, false)
	if err != nil {
		return result, err
	}
	defer r.close()
	foreign := func(i int) bool { return oneIn(i, 20, 6) }
	fixed := func(i int) bool { return i%2 == 0 }
	objects := make([]*corev1.ConfigMap, s.Ops)
	for i := range objects {
		if foreign(i) {
			objects[i] = object(name("fixed", i), "by", "other")
		}
	}
	if err := r.create(ctx, objects); err != nil {
		return result, err
	}

	var started atomic.Int64
	restarted := make(chan error, 1)
	errs := make([]error, s.Ops)
	start := time.Now()
	each(s.Ops, func(i int) {
		if started.Add(1) == int64(s.Ops/3) {
			go func() { restarted <- r.restart(ctx) }()
		}
		errs[i] = r.call(ctx, name("call", i), func(ctx context.Context) error {
			m := object(name("fixed", i), "by", strconv.Itoa(i))
			if !fixed(i) {
				m.Name, m.GenerateName = "", "generated-"
			}
			return r.caller.Create(ctx, r.maps, m)
		})
	})
	result.Took = time.Since(start)
	if err := <-restarted; err != nil {
		return result, err
	}
	stored, err := r.list(ctx)
	if err != nil {
		return result, err
	}
	created := map[string]int{}
	for _, m := range stored {
		created[m.Data["by"]]++
	}
	for i, err := range errs {
		var expected func(error) bool
		if foreign(i) {
			expected = certain(apierrors.IsAlreadyExists)
		}
		n := created[strconv.Itoa(i)]
		result.add(fmt.Sprint("create ", i), err, expected, n > 0, n, false)
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
