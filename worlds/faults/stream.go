// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/k8sretry/k8sretry/worlds/model"
)

func refused() error { return dialError(syscall.ECONNREFUSED) }

// bookmarkEvery is how often a watch hears how far it has come.
const bookmarkEvery = time.Minute

// stream sends the events of a watch.
func (x *exchange) stream(watch *model.Watch) {
	x.answered(http.StatusOK, 0, true)
	x.header(model.Response{})
	x.w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(x.w)
	_ = flush.Flush()
	ctx, cancel := context.WithCancel(x.req.Context())
	defer cancel()
	if seconds, err := strconv.Atoi(x.req.URL.Query().Get("timeoutSeconds")); err == nil && seconds > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
		defer cancel()
	}
	go func() { // the end of the server ends its watches
		select {
		case <-x.epoch:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		wait, done := context.WithTimeout(ctx, bookmarkEvery)
		events, err := watch.Next(wait)
		done()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && watch.Bookmarks():
			events = [][]byte{watch.Bookmark()}
		case err != nil:
			continue
		case len(events) == 0:
			return
		}
		for _, event := range events {
			if _, err := x.w.Write(append(event, '\n')); err != nil {
				return
			}
		}
		_ = flush.Flush()
		if x.fault.Kind == WatchCut {
			panic(http.ErrAbortHandler)
		}
	}
}
