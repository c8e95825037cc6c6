// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
)

// watchTime is how long UntilWatch watches before it reads again. A watch whose connection has
// gone silent looks like one without events.
const watchTime = time.Minute

// WatchGetter is the client that [UntilWatch] needs. The typed clients of client-go and their
// fakes implement it, and the clients of [Dynamic].
type WatchGetter[T Object] interface {
	Getter[T]
	Watcher
}

// UntilWatch reads an object and then watches it until a condition holds, and returns it as it
// was seen last:
//
//	pod, err := k8sretry.UntilWatch(ctx, clientset.CoreV1().Pods("default"), "web-0", func(pod *corev1.Pod) (bool, error) {
//		return pod != nil && pod.Status.Phase == corev1.PodRunning, nil
//	}, k8sretry.ForRead(), k8sretry.WithMaxElapsed(5*time.Minute))
//
// It is [Until] with a watch in place of the waits between reads: it sees a change at once, and
// a wait of minutes costs the server two requests a minute. done is called after each read and
// for each change. Its argument is nil while the object does not exist, so that a condition may
// wait for its creation or its deletion. A NotFound of anything else, such as the resource, is
// an error. Events of a version older than the one that was seen last are skipped: a server without
// the history may begin a watch with them.
//
// A watch that ends, fails to begin, or reports an error such as a resource version that is too
// old, is followed by a read and another watch, after the delay that Until has between reads;
// and so is each watch after a minute. A watch that the server refuses for good, such as
// without the right to watch, ends UntilWatch with that error. The events are those of the reads.
//
// Options, end and errors are those of Until. A nil client or done is an error.
func UntilWatch[T Object](ctx context.Context, client WatchGetter[T], name string, done func(T) (bool, error), opts ...Option) (T, error) {
	var none T
	if isNilValue(client) {
		return none, errNilClient
	}
	read := func(ctx context.Context) (T, error) {
		obj, err := client.Get(ctx, name, metav1.GetOptions{})
		if err != nil && isAbsent(err, name) {
			return none, nil
		}
		return obj, err
	}
	follow := func(ctx context.Context, from T) (T, bool, error) { return followObject(ctx, client, name, from, done) }
	return until(ctx, read, done, follow, codeOfType[T](), opts)
}

// followObject watches an object from a state of it until done holds, the watch ends or the
// context does. Its error is one of done, or one that a later watch would have, too.
func followObject[T Object](ctx context.Context, client Watcher, name string, last T, done func(T) (bool, error)) (T, bool, error) {
	newest := ""
	if !isNilValue(last) {
		newest = last.GetResourceVersion()
	}
	opts := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String(), ResourceVersion: newest}
	w, err := client.Watch(ctx, opts)
	if err != nil {
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || !isPermanent(ctx, Classify(err)) {
			err = nil
		}
		return last, false, err
	}
	if isNilValue(w) {
		return last, false, nil
	}
	defer w.Stop()
	for {
		select {
		case event, open := <-w.ResultChan():
			if !open || event.Type == watch.Error {
				return last, false, nil
			}
			obj, ok := event.Object.(T)
			if !ok || event.Type == watch.Bookmark || obj.GetName() != name || compareVersions(obj.GetResourceVersion(), newest) < 0 {
				continue
			}
			newest = obj.GetResourceVersion()
			if event.Type == watch.Deleted {
				var none T
				obj = none
			}
			last = obj
			if ok, err := done(last); ok || err != nil {
				return last, ok, err
			}
		case <-ctx.Done():
			return last, false, nil
		}
	}
}
