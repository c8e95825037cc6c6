// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// The texts are those of k8s.io/apiserver.

var errModified = errors.New("the object has been modified; please apply your changes to the latest version and try again")

func notFound(k *kind, name string) error { return apierrors.NewNotFound(k.groupResource(), name) }

func alreadyExists(k *kind, old *object) error {
	e := apierrors.NewAlreadyExists(k.groupResource(), old.GetName())
	if old.GetDeletionTimestamp() != nil {
		e.ErrStatus.Message = "object is being deleted: " + e.ErrStatus.Message
	}
	return e
}

// uidConflict is the refusal of a PUT of an object with another UID.
func uidConflict(r *request, want, have types.UID) error {
	prefix := "/registry"
	if r.dryRun() {
		prefix = ""
	}
	return apierrors.NewConflict(r.kind.groupResource(), r.name, fmt.Errorf(
		"StorageError: invalid object, Code: 4, Key: %s/%s/%s/%s, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: %v, UID in object meta: %v",
		prefix, r.kind.resource, r.namespace, r.name, want, have))
}

// uidMismatch is the refusal of an apply that names a UID where there is no object.
func uidMismatch(r *request, want types.UID) error {
	return apierrors.NewConflict(r.kind.groupResource(), r.name, fmt.Errorf("uid mismatch: the provided object specified uid %v, and no existing object was found", want))
}

func otherName(obj *object, name string) error {
	return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", obj.GetName(), name))
}

func plainServerError(text string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: text}}
}

func unsupported(mediaType string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: fmt.Sprintf("the body of the request was in an unknown format - accepted media types include: application/json, not %s", mediaType),
	}}
}

// badJSONPatch is the refusal of a JSON patch that does not apply.
func badJSONPatch(err error) error {
	return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
}

// statusOf returns the status that an API server makes of an error.
func statusOf(err error) metav1.Status {
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		s = apierrors.NewInternalError(err)
	}
	status := s.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return status
}

// Failure returns the answer that an API server makes of a status.
func Failure(err error) Response {
	status := statusOf(err)
	r := Response{Code: int(status.Code), Body: marshal(status)}
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		r.RetryAfter = int(status.Details.RetryAfterSeconds)
	}
	return r
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // nothing but what came from JSON
	}
	return data
}
