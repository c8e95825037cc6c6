package apirequest

import (
	"bytes"
	stdjson "encoding/json"
	"io"
	"net/http"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json" // distinguishes upper and lower case, as the server does
)

// DeleteOptions returns the options of a deletion. Those in the body replace those in the
// query (k8s.io/apiserver/pkg/endpoints/handlers/delete.go). It fails if it cannot read the
// body.
func DeleteOptions(req *http.Request) (options metav1.DeleteOptions, ok bool) {
	body, ok := readBody(req)
	if !ok {
		return options, false
	}
	var err error
	if encoded, ok := bytes.CutPrefix(body, protobufPrefix); ok {
		var envelope runtime.Unknown
		if err = envelope.Unmarshal(encoded); err == nil {
			err = options.Unmarshal(envelope.Raw)
		}
	} else if len(body) > 0 {
		err = json.Unmarshal(body, &options)
	} else {
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

// WithUID returns a copy of a deletion that has the UID as a precondition. Everything else
// that it asks for stays. It fails if the body cannot be rewritten.
func WithUID(req *http.Request, uid types.UID) (guarded *http.Request, ok bool) {
	body, ok := readBody(req)
	if !ok {
		return nil, false
	}
	guarded = req.Clone(req.Context())
	if encoded, isProtobuf := bytes.CutPrefix(body, protobufPrefix); isProtobuf {
		body, ok = protobufWithUID(encoded, uid)
	} else {
		body, ok = jsonWithUID(req, body, uid)
		guarded.Header.Set("Content-Type", runtime.ContentTypeJSON) // it may have been in CBOR
	}
	guarded.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	guarded.Body, _ = guarded.GetBody()
	guarded.ContentLength, guarded.TransferEncoding = int64(len(body)), nil
	return guarded, ok
}

// protobufWithUID adds to an encoded object a second one with nothing but the precondition:
// a decoder merges them.
func protobufWithUID(encoded []byte, uid types.UID) ([]byte, bool) {
	var envelope runtime.Unknown
	if envelope.Unmarshal(encoded) != nil {
		return nil, false
	}
	more := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
	added, err := more.Marshal()
	if err != nil {
		return nil, false
	}
	envelope.Raw = append(envelope.Raw, added...)
	encoded, err = envelope.Marshal()
	return append(slices.Clone(protobufPrefix), encoded...), err == nil
}

// jsonWithUID does not go through a Go type, which drops fields that it does not know.
func jsonWithUID(req *http.Request, body []byte, uid types.UID) ([]byte, bool) {
	if len(body) == 0 { // the options of the query do not count beside a body
		options, ok := DeleteOptions(req)
		options.Kind, options.APIVersion = "DeleteOptions", "v1"
		body, _ = stdjson.Marshal(&options) // it has no field that cannot be encoded
		if !ok {
			return nil, false
		}
	}
	var fields, preconditions map[string]stdjson.RawMessage
	if json.Unmarshal(body, &fields) != nil || fields == nil {
		return nil, false
	}
	if given, ok := fields["preconditions"]; ok && json.Unmarshal(given, &preconditions) != nil {
		return nil, false
	}
	if preconditions == nil {
		preconditions = map[string]stdjson.RawMessage{}
	}
	var err error
	if preconditions["uid"], err = stdjson.Marshal(uid); err != nil {
		return nil, false
	}
	if fields["preconditions"], err = stdjson.Marshal(preconditions); err != nil {
		return nil, false
	}
	body, err = stdjson.Marshal(fields)
	return body, err == nil
}
