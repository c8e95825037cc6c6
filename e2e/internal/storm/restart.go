// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
)

// downtime is how long the port is closed. The restarted server needs some more seconds
// until it is ready.
const downtime = 500 * time.Millisecond

// Contender is a Caller with its Setup.
type Contender struct {
	Setup
	Caller
}

// Restart makes Ops creates by each contender, 16 concurrently and half of them with a
// generated name, and kills the apiserver after a third of all of them. 10 % of the fixed
// names belong to objects of another client. There is no proxy. All contenders have the
// same server and run at the same time. Nothing deletes their objects, so that the stored
// objects show what happened.
func Restart(ctx context.Context, contenders ...Contender) ([]Result, error) {
	runs := make([]*run, len(contenders))
	total := 0
	for i, by := range contenders {
		r, err := newRun(ctx, by.Setup, by.Caller, false)
		if err != nil {
			return nil, err
		}
		defer r.close()
		runs[i] = r
		total += r.Ops
		if err := r.start(ctx, false, nil); err != nil {
			return nil, err
		}
		objects := make([]*corev1.ConfigMap, r.Ops)
		for i := range objects {
			if foreign(i) {
				objects[i] = object(name("fixed", i), "by", "other")
			}
		}
		if err := r.create(ctx, objects); err != nil {
			return nil, err
		}
	}

	var started atomic.Int64
	restarted := make(chan error, 1)
	begun := func() {
		if started.Add(1) == int64(total/3) {
			go func() { restarted <- restart(ctx, contenders[0].Cluster) }()
		}
	}
	errs := make([][]error, len(runs))
	results := make([]Result, len(runs))
	var wait sync.WaitGroup
	for i, r := range runs {
		errs[i] = make([]error, r.Ops)
		wait.Go(func() {
			start := time.Now()
			each(r.Ops, func(n int) {
				begun()
				errs[i][n] = r.call(ctx, n, func(ctx context.Context) error { return r.createNth(ctx, n) })
			})
			results[i].Took = time.Since(start)
		})
	}
	wait.Wait()
	if err := <-restarted; err != nil {
		return nil, err
	}
	for i, r := range runs {
		if err := r.judgeCreates(ctx, errs[i], &results[i]); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// foreign selects the names of another client.
func foreign(i int) bool { return oneIn(i, 20, 6) }

func (r *run) createNth(ctx context.Context, i int) error {
	m := object(name("fixed", i), "by", strconv.Itoa(i))
	if i%2 == 1 {
		m.Name, m.GenerateName = "", "generated-"
	}
	return r.caller.Create(ctx, r.maps, m)
}

func (r *run) judgeCreates(ctx context.Context, errs []error, result *Result) error {
	stored, err := r.list(ctx)
	if err != nil {
		return err
	}
	created := map[string]int{}
	for _, m := range stored {
		created[m.Data["by"]]++
	}
	for i, err := range errs {
		var expected func(error) bool
		if foreign(i) {
			expected = apierrors.IsAlreadyExists // the objects are too young to be certainly of another client
		}
		n := created[strconv.Itoa(i)]
		result.add(fmt.Sprint("create ", i), err, expected, n > 0, n, false)
	}
	return nil
}

func restart(ctx context.Context, c *cluster.Cluster) error {
	c.KillAPIServer()
	select {
	case <-time.After(downtime):
	case <-ctx.Done():
	}
	if err := c.StartAPIServer(); err != nil {
		return err
	}
	return c.WaitReady(ctx)
}
