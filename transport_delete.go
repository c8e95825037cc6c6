// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/clientgo"
	"github.com/k8sretry/k8sretry/internal/record"
)

// This file repeats a deletion or an eviction by name that may have been carried out. Another
// object may have the name by now, such as the next pod of a StatefulSet. So the object is
// read first, and the request is sent again with the UID of an object that is older than the
// call. In the names of this file an eviction is a deletion, too.

// clockSkew is how far the clock of a server may differ from that of another one which
// answers at the same address.
const clockSkew = 10 * time.Second

// maxObject bounds how much of an object is read. etcd stores at most 1.5 MiB by default.
const maxObject = 4 << 20

// acceptMetadata asks for the metadata of an object, or for all of it from a server that
// cannot send less.
const acceptMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

// errAnswerLost stands for the failure of an attempt whose deletion had succeeded.
var errAnswerLost = errors.New("the answer was lost")

// deletion returns what x would repeat, if it is the repetition of a deletion whose outcome
// is unknown.
func (x *exchange) deletion(r *callRecord) (d record.Deletion, repeats bool) {
	if !x.request.Removes() || x.request.Risk != apirequest.RiskNone || x.request.StoresNothing {
		return d, false
	}
	return r.Deletion(x.req)
}

// noteDeletion records a deletion whose outcome is unknown.
func (x *exchange) noteDeletion(r *callRecord, resp *http.Response, failure error) {
	if !x.request.Removes() || failure == nil && resp.StatusCode < http.StatusBadRequest {
		return
	}
	reported := failure
	if failure == nil {
		failure = clientgo.ResponseError(resp, &x.request, x.req.Method, true)
		reported = failure
	} else {
		failure = x.urlError(failure)
	}
	v := Classify(failure)
	r.correct(&v)
	if v.Outcome != OutcomeNotExecuted {
		r.DeletionFailed(x.req, reported)
	}
}

// repeatDeletion returns the request that repeats a deletion, or what the client gets in its
// place: the answer to the read if the object is gone or being deleted, or its failure.
func (x *exchange) repeatDeletion(ctx context.Context, r *callRecord, d record.Deletion) (*http.Request, *http.Response, error) {
	options, ok := x.request.DeleteOptions(x.req)
	switch {
	case !ok:
		return nil, nil, notRepeated(d, "its body cannot be read")
	case !apirequest.DeletesByName(&options), len(options.DryRun) > 0:
		return x.req, nil, nil
	}
	// kube-apiserver takes 10 s to refuse the eviction of a pod that was replaced, so a pod is
	// read again.
	if d.UID == "" || x.request.Evicts() {
		object, resp, err := x.readObject(ctx, r)
		switch {
		case err != nil:
			return nil, nil, err
		case object == nil && resp.StatusCode < http.StatusMultipleChoices && clientgo.IsForeign(resp):
			clientgo.Discard(resp)
			return nil, nil, &foreignAnswer{resp.Header.Get("Content-Type")}
		case object == nil && resp.StatusCode < http.StatusBadRequest:
			clientgo.Discard(resp)
			return nil, nil, notRepeated(d, "the object cannot be read")
		case object == nil:
			failure := clientgo.ResponseError(resp, &x.request, http.MethodGet, true)
			if isAbsent(failure, x.request.Object) || Classify(failure).Class.transient() {
				return nil, resp, nil
			}
			clientgo.Discard(resp)
			return nil, nil, notRepeated(d, fmt.Sprintf("the object cannot be read (%v)", failure))
		case x.request.Evicts() && (object.DeletionTimestamp != nil || d.UID != "" && d.UID != string(object.UID)):
			return nil, x.removed(resp), nil // any deletion of the pod serves an eviction
		case object.DeletionTimestamp != nil && apirequest.Satisfied(&options, object):
			return nil, resp, nil
		case !olderThan(object, resp, d.Began):
			return nil, nil, notRepeated(d, "the object of this name may have been created since")
		}
		d.UID = string(object.UID)
		r.DeletionIsFor(x.req, d.UID)
	}
	again, ok := x.request.WithUID(x.req, types.UID(d.UID))
	if !ok {
		return nil, nil, notRepeated(d, "its body cannot be rewritten")
	}
	return again, nil, nil
}

// isReplaced reports whether the server has refused a deletion because another object has
// the name now.
func (x *exchange) isReplaced(resp *http.Response) bool {
	if resp.StatusCode != http.StatusConflict {
		return false
	}
	failure := clientgo.ResponseError(resp, &x.request, x.req.Method, true)
	return isUIDConflict(failure, Classify(failure), x.request.Object)
}

// removed replaces a response by one that says that the deletion has succeeded.
func (x *exchange) removed(resp *http.Response) *http.Response {
	clientgo.Discard(resp)
	body, _ := json.Marshal(&metav1.Status{ // it has no field that cannot be encoded
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess, Code: http.StatusOK,
	})
	success := *resp
	success.Status, success.StatusCode = "200 OK", http.StatusOK
	success.Header = http.Header{"Content-Type": {runtime.ContentTypeJSON}}
	success.Body, success.ContentLength, success.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	return &success
}

// notRepeated ends a call whose deletion must not be sent again.
func notRepeated(d record.Deletion, why string) error {
	failure := d.Failure
	if failure == nil {
		failure = errAnswerLost
	}
	return Permanent(fmt.Errorf("%w; not repeated: %s", failure, why))
}

// readObject reads the object that has the name, with the headers of the deletion. The
// object is nil if the response does not contain it. Otherwise the body of the response is
// in memory.
func (x *exchange) readObject(ctx context.Context, r *callRecord) (*metav1.ObjectMeta, *http.Response, error) {
	req := x.req.Clone(ctx)
	if x.request.Evicts() {
		req.URL.Path, req.URL.RawPath = withoutSubresource(req.URL.Path), withoutSubresource(req.URL.RawPath)
	}
	req.Method, req.Body, req.GetBody, req.ContentLength, req.TransferEncoding = http.MethodGet, nil, nil, 0, nil
	req.Header.Del("Content-Type")
	req.Header.Del("Content-Length")
	req.Header.Del("Accept-Encoding") // net/http decodes what it has asked for
	req.Header.Set("Accept", acceptMetadata)
	request := apirequest.Read(req)
	resp, err := x.transmit(ctx, r, req, &request)
	if err != nil || resp.StatusCode >= http.StatusMultipleChoices {
		return nil, resp, err
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media != runtime.ContentTypeJSON {
		return nil, resp, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxObject))
	clientgo.Discard(resp)
	if err != nil {
		return nil, nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var object metav1.PartialObjectMetadata
	if json.Unmarshal(body, &object) == nil && object.UID != "" && object.Name == x.request.Object {
		return &object.ObjectMeta, resp, nil
	}
	return nil, resp, nil // something else
}

// withoutSubresource returns the path of the object of a path that ends with a subresource.
func withoutSubresource(path string) string {
	path = strings.TrimRight(path, "/")
	return path[:max(0, strings.LastIndexByte(path, '/'))]
}

// olderThan reports whether an object that was just read was created before the call began.
// Both times are those of servers: the second one follows from the Date of the response and
// from how long ago the call began, by the clock of this process.
func olderThan(object *metav1.ObjectMeta, resp *http.Response, began time.Time) bool {
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil || object.CreationTimestamp.IsZero() {
		return false
	}
	// The monotonic clock may stand still while the machine sleeps.
	now := time.Now()
	since := max(now.Sub(began), now.Round(0).Sub(began.Round(0)))
	latest := object.CreationTimestamp.Add(time.Second) // whole seconds are stored
	return latest.Add(clockSkew).Before(date.Add(-since))
}
