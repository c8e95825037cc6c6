// SPDX-License-Identifier: Apache-2.0

package tinykube

import (
	"encoding/json"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// patch merges the body into the object. An apply is also a merge. It creates a
// missing object, and it does not track the ownership of fields.
func (st *store) patch(c call) (code int, answer any, err error) {
	apply := false
	switch types.PatchType(c.media) {
	case types.MergePatchType:
	case types.StrategicMergePatchType:
		if c.resource.custom() {
			return 0, nil, unsupportedMediaType("application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml")
		}
	case types.ApplyPatchType:
		if c.query.Get("fieldManager") == "" {
			return 0, nil, apierrors.NewBadRequest("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch")
		}
		apply = true
	default:
		return 0, nil, unsupportedMediaType("application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml")
	}
	body, err := yaml.ToJSON(c.body)
	if err != nil {
		return 0, nil, apierrors.NewBadRequest(err.Error())
	}
	old, found := st.objects[c.key()]
	if !found && apply && c.Subresource == "" {
		c.body = body
		answer, err = st.create(c)
		return http.StatusCreated, answer, err
	}
	if !found {
		return 0, nil, c.notFound()
	}
	var changes map[string]any
	if err := json.Unmarshal(body, &changes); err != nil {
		return 0, nil, apierrors.NewBadRequest(err.Error())
	}
	merged, err := json.Marshal(merge(old.DeepCopy().Object, changes))
	if err != nil {
		return 0, nil, err
	}
	u, err := c.decode(merged)
	if err != nil {
		return 0, nil, err
	}
	answer, err = st.replace(c, old, u)
	return http.StatusOK, answer, err
}

// merge applies a JSON merge patch (RFC 7396): null removes a field, objects are
// merged, other values replace the old ones.
func merge(into, changes map[string]any) map[string]any {
	if into == nil {
		into = map[string]any{}
	}
	for name, value := range changes {
		switch value := value.(type) {
		case nil:
			delete(into, name)
		case map[string]any:
			inner, _ := into[name].(map[string]any)
			into[name] = merge(inner, value)
		default:
			into[name] = value
		}
	}
	return into
}

func unsupportedMediaType(accepted string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: "the body of the request was in an unknown format - accepted media types include: " + accepted,
	}}
}
