// SPDX-License-Identifier: Apache-2.0

package apirequest

import (
	"bytes"
	"encoding/binary"
	stdjson "encoding/json"
	"io"
	"net/http"
	"slices"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json" // distinguishes upper and lower case, as the server does
)

// DeleteOptions returns the options of a deletion or an eviction. Those in the body of a
// deletion replace those in the query (k8s.io/apiserver/pkg/endpoints/handlers/delete.go). It
// fails if it cannot read the body.
func (r *Request) DeleteOptions(req *http.Request) (options metav1.DeleteOptions, ok bool) {
	body, ok := readBody(req)
	if !ok {
		return options, false
	}
	var err error
	encoded, isProtobuf := bytes.CutPrefix(body, protobufPrefix)
	switch {
	case r.Evicts():
		eviction := policyv1.Eviction{DeleteOptions: &options}
		if isProtobuf {
			var envelope runtime.Unknown
			if err = envelope.Unmarshal(encoded); err == nil {
				err = eviction.Unmarshal(envelope.Raw)
			}
		} else {
			err = json.Unmarshal(body, &eviction)
		}
	case isProtobuf:
		var envelope runtime.Unknown
		if err = envelope.Unmarshal(encoded); err == nil {
			err = options.Unmarshal(envelope.Raw)
		}
	case len(body) > 0:
		err = json.Unmarshal(body, &options)
	default:
		query := req.URL.Query()
		err = metav1.Convert_url_Values_To_v1_DeleteOptions(&query, &options, nil)
	}
	return options, err == nil
}

// DeletesByName reports whether a deletion with these options deletes whatever has the name.
func DeletesByName(options *metav1.DeleteOptions) bool {
	p := options.Preconditions
	return p == nil || (p.UID == nil || *p.UID == "") && (p.ResourceVersion == nil || *p.ResourceVersion == "")
}

// Satisfied reports whether the deletion of an object, which is under way, is known to be the
// one that the options ask for, or a faster one.
func Satisfied(options *metav1.DeleteOptions, object *metav1.ObjectMeta) bool {
	given, asked := object.DeletionGracePeriodSeconds, options.GracePeriodSeconds
	if asked != nil && (given == nil || *given > *asked) {
		return false
	}
	//lint:ignore SA1019 a client may still send it
	if options.OrphanDependents != nil {
		return false
	}
	if options.PropagationPolicy == nil {
		return true
	}
	policy := *options.PropagationPolicy
	orphan := slices.Contains(object.Finalizers, metav1.FinalizerOrphanDependents)
	foreground := slices.Contains(object.Finalizers, metav1.FinalizerDeleteDependents)
	return orphan == (policy == metav1.DeletePropagationOrphan) &&
		foreground == (policy == metav1.DeletePropagationForeground)
}

// WithUID returns a copy of a deletion or an eviction that has the UID as a precondition.
// Everything else that it asks for stays. It fails if the body cannot be rewritten.
func (r *Request) WithUID(req *http.Request, uid types.UID) (guarded *http.Request, ok bool) {
	body, ok := readBody(req)
	if !ok {
		return nil, false
	}
	guarded = req.Clone(req.Context())
	if encoded, isProtobuf := bytes.CutPrefix(body, protobufPrefix); isProtobuf {
		body, ok = r.protobufWithUID(encoded, uid)
	} else {
		body, ok = r.jsonWithUID(req, body, uid)
		guarded.Header.Set("Content-Type", runtime.ContentTypeJSON) // it may have been in CBOR
	}
	guarded.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	guarded.Body, _ = guarded.GetBody()
	guarded.ContentLength, guarded.TransferEncoding = int64(len(body)), nil
	return guarded, ok
}

// protobufWithUID adds to an encoded object a second one with nothing but the precondition:
// a decoder merges them.
func (r *Request) protobufWithUID(encoded []byte, uid types.UID) ([]byte, bool) {
	var envelope runtime.Unknown
	if envelope.Unmarshal(encoded) != nil {
		return nil, false
	}
	more := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
	added, err := more.Marshal()
	if err != nil {
		return nil, false
	}
	if r.Evicts() {
		const options = 2<<3 | 2 // field 2, length-delimited
		added = append(binary.AppendUvarint([]byte{options}, uint64(len(added))), added...)
	}
	envelope.Raw = append(envelope.Raw, added...)
	encoded, err = envelope.Marshal()
	return append(slices.Clone(protobufPrefix), encoded...), err == nil
}

// jsonWithUID does not go through a Go type, which drops fields that it does not know.
func (r *Request) jsonWithUID(req *http.Request, body []byte, uid types.UID) ([]byte, bool) {
	if len(body) == 0 { // the options of the query do not count beside a body
		options, ok := r.DeleteOptions(req)
		options.Kind, options.APIVersion = "DeleteOptions", "v1"
		body, _ = stdjson.Marshal(&options) // it has no field that cannot be encoded
		if !ok {
			return nil, false
		}
	}
	path := []string{"preconditions", "uid"}
	if r.Evicts() {
		path = append([]string{"deleteOptions"}, path...)
	}
	value, err := stdjson.Marshal(uid)
	if err != nil || bytes.Equal(bytes.TrimSpace(body), []byte("null")) {
		return nil, false
	}
	return withField(body, value, path...)
}

// withField sets a field of an object in JSON. It makes the objects around it that are not
// there.
func withField(object, value []byte, path ...string) ([]byte, bool) {
	if len(path) == 0 {
		return value, true
	}
	var fields map[string]stdjson.RawMessage
	if len(object) > 0 && json.Unmarshal(object, &fields) != nil {
		return nil, false
	}
	if fields == nil {
		fields = map[string]stdjson.RawMessage{}
	}
	field, ok := withField(fields[path[0]], value, path[1:]...)
	if !ok {
		return nil, false
	}
	fields[path[0]] = field
	object, err := stdjson.Marshal(fields)
	return object, err == nil
}
