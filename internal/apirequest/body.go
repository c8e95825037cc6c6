// SPDX-License-Identifier: Apache-2.0

package apirequest

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
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
)

// RepeatRisk is what may make it harmful to repeat a request of unknown outcome. Whether
// the risk is real often depends on the body of the request; see [RepeatRisk.Confirmed].
type RepeatRisk uint8

// The risks.
const (
	RiskNone           RepeatRisk = iota
	RiskNoName                    // a create: without a name, each repetition may create another object
	RiskJSONPatch                 // a JSON patch: without a test, it may append to a list twice
	RiskStream                    // a stream: a command may have run
	RiskStrategicPatch            // a strategic merge patch: see repeatsMergeKey
	RiskAction                    // something else than a change of state, or not known
	RiskCollection                // a deletecollection: it may delete what was created since
)

// maxBody bounds how much of the body of a request is read.
const maxBody = 256 << 10

// Confirmed reads the body of the request and reports whether a repetition may do harm.
// It returns true if it cannot read the body.
func (r RepeatRisk) Confirmed(req *http.Request) bool {
	switch r {
	case RiskNone:
		return false
	case RiskStream, RiskAction, RiskCollection:
		return true
	default:
		return r.inBody(req)
	}
}

// inBody is Confirmed for a risk that depends on the body.
func (r RepeatRisk) inBody(req *http.Request) bool {
	body, ok := readBody(req)
	if !ok {
		return true
	}
	switch r {
	case RiskJSONPatch:
		return !failsOnRepeat(body)
	case RiskStrategicPatch:
		return repeatsMergeKey(body)
	default: // a create
		return objectName(body) == ""
	}
}

// readBody returns a copy of the beginning of the request's body. One in CBOR is returned
// in JSON.
func readBody(req *http.Request) (body []byte, ok bool) {
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
	body, err = io.ReadAll(io.LimitReader(reader, maxBody))
	if errors.Join(err, reader.Close()) != nil {
		return nil, false
	}
	if bytes.HasPrefix(body, cborPrefix) {
		return fromCBOR(body)
	}
	return body, true
}

// cborPrefix is the beginning of every object in CBOR: that of a value which says that it
// is CBOR (RFC 8949, section 3.4.6).
var cborPrefix = []byte{0xd9, 0xd9, 0xf7}

// fromCBOR returns an object in JSON. It fails if the object is cut.
func fromCBOR(encoded []byte) (body []byte, ok bool) {
	var object any
	if direct.Unmarshal(encoded, &object) != nil {
		return nil, false
	}
	body, err := json.Marshal(object)
	return body, err == nil
}

// NamesVersion reports whether a patch or an apply names the version or the UID of the
// object that it is for, or replaces metadata as a whole, so that a conflict may be about
// that. If it cannot read the body, it returns true for a patch, and false for an apply,
// which rarely names a version.
func NamesVersion(req *http.Request) bool {
	body, ok := readBody(req)
	applies := isApply(req.Header.Get("Content-Type"))
	if !ok {
		return !applies
	}
	if IsJSONPatch(req.Header.Get("Content-Type")) {
		var operations []struct{ Path string }
		if json.Unmarshal(body, &operations) != nil {
			return true
		}
		for _, o := range operations {
			if related(o.Path, "/metadata/resourceVersion") || related(o.Path, "/metadata/uid") {
				return true
			}
		}
		return false
	}
	var patch struct {
		Metadata struct{ ResourceVersion, UID *string }
	}
	if json.Unmarshal(body, &patch) != nil {
		return !applies || bytes.Contains(body, []byte("resourceVersion")) // YAML, CBOR, or cut
	}
	return patch.Metadata.ResourceVersion != nil || patch.Metadata.UID != nil
}

// related reports whether one JSON pointer is equal to the other or a prefix of it.
func related(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// DryRunInBody reports whether the body of a deletion or an eviction asks for a dry run.
// Because it reads the body, call it only after a failure.
func (r *Request) DryRunInBody(req *http.Request) bool {
	eviction := r.Verb == Create && r.Subresource == "eviction"
	if !eviction && !r.deletes() || r.Risk == RiskAction || !hasBody(req) {
		return false
	}
	body, ok := readBody(req)
	if !ok {
		return false
	}
	var dryRun []string
	if encoded, ok := bytes.CutPrefix(body, protobufPrefix); ok {
		dryRun = protobufDryRun(encoded, eviction)
	} else {
		dryRun = jsonDryRun(body, eviction)
	}
	return len(dryRun) > 0 && !slices.ContainsFunc(dryRun, func(s string) bool { return s != metav1.DryRunAll })
}

// jsonDryRun decodes into maps, because the server distinguishes upper and lower case in
// keys and a struct does not.
func jsonDryRun(body []byte, eviction bool) (dryRun []string) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return nil
	}
	if eviction {
		options := fields["deleteOptions"]
		fields = nil
		if json.Unmarshal(options, &fields) != nil {
			return nil
		}
	}
	if json.Unmarshal(fields["dryRun"], &dryRun) != nil {
		return nil
	}
	return dryRun
}

// protobufPrefix is the beginning of every object in protobuf
// (k8s.io/apimachinery/pkg/runtime/serializer/protobuf/protobuf.go).
var protobufPrefix = []byte("k8s\x00")

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

// objectName returns the name of an object in a body as clients send it, in JSON or
// protobuf, "" if it has none. An object that is cut may still contain it.
func objectName(body []byte) (name string) {
	if encoded, ok := bytes.CutPrefix(body, protobufPrefix); ok {
		return protobufName(encoded)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return ""
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return name
		}
		if key != "metadata" {
			var skipped json.RawMessage
			if d.Decode(&skipped) != nil {
				return name // cut
			}
			continue
		}
		var meta map[string]json.RawMessage // the server distinguishes upper and lower case
		if d.Decode(&meta) != nil {
			return ""
		}
		name = ""
		if raw, ok := meta["name"]; ok && json.Unmarshal(raw, &name) != nil {
			return ""
		}
	}
	return name
}

// protobufName reads the metadata, which is the first field of every object.
func protobufName(encoded []byte) string {
	const metadata = 1<<3 | 2 // field 1, length-delimited
	var envelope runtime.Unknown
	if envelope.Unmarshal(encoded) != nil || len(envelope.Raw) == 0 || envelope.Raw[0] != metadata {
		return ""
	}
	length, n := binary.Uvarint(envelope.Raw[1:])
	if n <= 0 || length > uint64(len(envelope.Raw)-1-n) {
		return ""
	}
	rest := envelope.Raw[1+n:]
	var meta metav1.ObjectMeta
	if meta.Unmarshal(rest[:length]) != nil {
		return ""
	}
	return meta.Name
}
