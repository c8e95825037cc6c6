package k8sretry

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// suspicion is why the body of a request has to be read before it is repeated
// without knowing what became of it.
type suspicion uint8

const (
	harmless       suspicion = iota
	generatedName            // a create: with generateName, every repetition makes another object
	unguardedPatch           // a JSON patch: without a test, it may add to a list twice
	always                   // a stream: a command may have run
)

// longestPeek bounds how much of a request's body is read.
const longestPeek = 256 << 10

// confirmed reads the body of the request, and reports whether a repetition could do
// harm. What cannot be read could.
func (s suspicion) confirmed(req *http.Request) bool {
	switch s {
	case harmless:
		return false
	case always:
		return true
	}
	body, ok := requestBody(req)
	if !ok {
		return true
	}
	if s == unguardedPatch {
		return !guarded(body)
	}
	name, generated, ok := objectName(body)
	return !ok || name == "" && generated != ""
}

// requestBody is a copy of the beginning of the request's body.
func requestBody(req *http.Request) (body []byte, ok bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	reader, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	body, err = io.ReadAll(io.LimitReader(reader, longestPeek))
	return body, errors.Join(err, reader.Close()) == nil
}

// guarded reports whether a JSON patch fails when it is applied a second time: it
// tests the resourceVersion, which its first application changes, or something at,
// above or below a place that it changes itself. A test of something else, a UID,
// would pass again.
func guarded(patch []byte) bool {
	var operations []struct {
		Op, Path, From string
		Value          json.RawMessage
	}
	if json.Unmarshal(patch, &operations) != nil {
		return false
	}
	for i, test := range operations {
		if test.Op != "test" {
			continue
		}
		if test.Path == "/metadata/resourceVersion" {
			return true
		}
		for _, o := range operations[i+1:] { // a test of what the patch has just stored passes again
			if o.Path == test.Path && (o.Op == "add" || o.Op == "replace") && bytes.Equal(o.Value, test.Value) {
				continue // so does one of what is stored once more
			}
			if o.Op != "test" && (related(test.Path, o.Path) || o.Op == "move" && related(test.Path, o.From)) {
				return true
			}
		}
	}
	return false
}

// related reports whether one JSON pointer is the other, or leads to it.
func related(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// dryRunInBody reports whether the body of a deletion or an eviction says that it is a
// dry run. It reads the body, so that it is asked only when something has failed.
func (r *request) dryRunInBody(req *http.Request) bool {
	eviction := r.verb == VerbCreate && r.subresource == "eviction"
	if !eviction && !r.deletes() || !hasBody(req) {
		return false
	}
	body, ok := requestBody(req)
	if !ok {
		return false
	}
	var asked []string
	if encoded, protobuf := bytes.CutPrefix(body, []byte("k8s\x00")); protobuf {
		asked = protobufDryRun(encoded, eviction)
	} else {
		// Into maps: the server tells upper and lower case apart, a struct does not.
		var fields map[string]json.RawMessage
		ok = json.Unmarshal(body, &fields) == nil
		if eviction && ok {
			options := fields["deleteOptions"]
			fields = nil
			ok = json.Unmarshal(options, &fields) == nil
		}
		if !ok || json.Unmarshal(fields["dryRun"], &asked) != nil {
			return false
		}
	}
	return len(asked) > 0 && !slices.ContainsFunc(asked, func(s string) bool { return s != metav1.DryRunAll })
}

func protobufDryRun(encoded []byte, eviction bool) []string {
	var envelope runtime.Unknown
	if envelope.Unmarshal(encoded) != nil {
		return nil
	}
	if !eviction {
		var options metav1.DeleteOptions
		if options.Unmarshal(envelope.Raw) != nil {
			return nil
		}
		return options.DryRun
	}
	var e policyv1.Eviction
	if e.Unmarshal(envelope.Raw) != nil || e.DeleteOptions == nil {
		return nil
	}
	return e.DeleteOptions.DryRun
}

// objectName finds name and generateName in an object as clients send it, in JSON or
// protobuf. An object that is cut may still tell.
func objectName(body []byte) (name, generateName string, ok bool) {
	if len(bytes.TrimSpace(body)) == 0 {
		return "", "", true
	}
	if encoded, protobuf := bytes.CutPrefix(body, []byte("k8s\x00")); protobuf {
		return protobufName(encoded)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return "", "", false
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return "", "", false
		}
		if key == "metadata" {
			var meta struct{ Name, GenerateName string }
			err := d.Decode(&meta)
			return meta.Name, meta.GenerateName, err == nil
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return "", "", false
		}
	}
	_, err := d.Token() // the end of the object: it has no metadata at all
	return "", "", err == nil
}

// protobufName reads the metadata, which is the first field of every object.
func protobufName(encoded []byte) (name, generateName string, ok bool) {
	const metadata = 1<<3 | 2 // field 1, length-delimited
	var envelope runtime.Unknown
	if envelope.Unmarshal(encoded) != nil || len(envelope.Raw) == 0 || envelope.Raw[0] != metadata {
		return "", "", false
	}
	length, n := binary.Uvarint(envelope.Raw[1:])
	if n <= 0 || length > uint64(len(envelope.Raw)-1-n) {
		return "", "", false
	}
	rest := envelope.Raw[1+n:]
	var meta metav1.ObjectMeta
	err := meta.Unmarshal(rest[:length])
	return meta.Name, meta.GenerateName, err == nil
}
