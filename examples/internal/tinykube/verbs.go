// SPDX-License-Identifier: Apache-2.0

package tinykube

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// modified is kube-apiserver's message for an outdated resource version.
const modified = "the object has been modified; please apply your changes to the latest version and try again"

// call is one request to the store.
type call struct {
	target
	query url.Values
	media string // content type of the body, without parameters
	body  []byte
}

func (c call) dryRun() bool { return c.query.Get("dryRun") == "All" }

func (c call) key() key { return key{c.resource.id(), c.Namespace, c.Name} }

func (c call) notFound() error {
	return apierrors.NewNotFound(c.resource.groupResource(), c.Name)
}

func (c call) conflict(format string, args ...any) error {
	return apierrors.NewConflict(c.resource.groupResource(), c.Name, fmt.Errorf(format, args...))
}

func (c call) invalid(errs ...*field.Error) error {
	return apierrors.NewInvalid(schema.GroupKind{Group: c.resource.Group, Kind: c.resource.Kind}, c.Name, errs)
}

// do carries out a request other than a watch.
func (st *store) do(c call) (code int, answer any, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	code = http.StatusOK
	switch c.Verb {
	case "get":
		answer, err = st.get(c)
	case "list":
		answer, err = st.list(c)
	case "create":
		code = http.StatusCreated
		answer, err = st.create(c)
	case "update":
		answer, err = st.update(c)
	case "patch":
		code, answer, err = st.patch(c)
	case "delete":
		answer, err = st.remove(c)
	case "deletecollection":
		answer, err = st.removeAll(c)
	}
	return code, answer, err
}

func (st *store) get(c call) (*unstructured.Unstructured, error) {
	if u, found := st.objects[c.key()]; found {
		return u, nil
	}
	return nil, c.notFound()
}

func (c call) selection() (selection, error) {
	sel := selection{resource: c.resource, namespace: c.Namespace}
	var err error
	if sel.labels, err = labels.Parse(c.query.Get("labelSelector")); err != nil {
		return sel, apierrors.NewBadRequest(err.Error())
	}
	if sel.fields, err = fields.ParseSelector(c.query.Get("fieldSelector")); err != nil {
		return sel, apierrors.NewBadRequest(err.Error())
	}
	return sel, nil
}

// list returns all selected objects at once. Servers may ignore the limit of a request.
func (st *store) list(c call) (*unstructured.UnstructuredList, error) {
	sel, err := c.selection()
	if err != nil {
		return nil, err
	}
	list := &unstructured.UnstructuredList{Object: map[string]any{
		"apiVersion": c.resource.groupVersion(),
		"kind":       c.resource.Kind + "List",
		"metadata":   map[string]any{"resourceVersion": strconv.FormatInt(st.revision, 10)},
	}, Items: []unstructured.Unstructured{}}
	for k, u := range st.objects {
		if sel.covers(k) && sel.selects(u) {
			list.Items = append(list.Items, *u)
		}
	}
	slices.SortFunc(list.Items, func(a, b unstructured.Unstructured) int {
		return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
	})
	return list, nil
}

// decode decodes the object in the body and checks that it fits the path.
func (c call) decode(body []byte) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(body, &u.Object); err != nil || u.Object == nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v", c.resource.Kind, err))
	}
	// Typed clients may omit kind and apiVersion.
	if kind := u.GetKind(); kind != "" && kind != c.resource.Kind {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s", kind, u.GetAPIVersion(), c.resource.Kind))
	}
	u.SetKind(c.resource.Kind)
	u.SetAPIVersion(c.resource.groupVersion())
	if ns := u.GetNamespace(); ns != "" && ns != c.Namespace {
		return nil, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if c.resource.Namespaced {
		u.SetNamespace(c.Namespace)
	}
	return u, nil
}

func (st *store) create(c call) (*unstructured.Unstructured, error) {
	u, err := c.decode(c.body)
	if err != nil {
		return nil, err
	}
	if u.GetResourceVersion() != "" {
		// kube-apiserver's storage layer returns this error without a reason.
		return nil, &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError,
			Message: "resourceVersion should not be set on objects to be created"}}
	}
	if u.GetName() == "" && u.GetGenerateName() != "" {
		u.SetName(u.GetGenerateName() + rand.String(5))
	}
	c.Name = u.GetName()
	if c.resource.Namespaced {
		if _, found := st.objects[key{resource: "v1/namespaces", name: c.Namespace}]; !found {
			return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, c.Namespace)
		}
	}
	if c.Name == "" {
		return nil, c.invalid(field.Required(field.NewPath("metadata", "name"), "name or generateName is required"))
	}
	if err := c.validate(u); err != nil {
		return nil, err
	}
	if _, found := st.objects[c.key()]; found {
		return nil, apierrors.NewAlreadyExists(c.resource.groupResource(), c.Name)
	}
	if c.resource.Status {
		delete(u.Object, "status")
	}
	if c.resource.phase != "" {
		u.Object["status"] = map[string]any{"phase": c.resource.phase}
	}
	u.SetUID(uuid.NewUUID())
	u.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	if c.resource.custom() {
		u.SetGeneration(1)
	}
	return st.commit(c, u), nil
}

func (c call) validate(u *unstructured.Unstructured) error {
	var errs field.ErrorList
	for _, problem := range validation.NameIsDNSSubdomain(u.GetName(), false) {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), u.GetName(), problem))
	}
	if c.resource.Validate != nil {
		errs = append(errs, c.resource.Validate(u)...)
	}
	if len(errs) > 0 {
		return c.invalid(errs...)
	}
	return nil
}

func (st *store) commit(c call, u *unstructured.Unstructured) *unstructured.Unstructured {
	if !c.dryRun() {
		st.put(c.key(), u)
	}
	return u
}

func (st *store) update(c call) (*unstructured.Unstructured, error) {
	u, err := c.decode(c.body)
	if err != nil {
		return nil, err
	}
	if u.GetName() != c.Name {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", u.GetName(), c.Name))
	}
	old, found := st.objects[c.key()]
	if !found {
		return nil, c.notFound()
	}
	if u.GetResourceVersion() == "" && c.resource.custom() {
		return nil, c.invalid(field.Invalid(field.NewPath("metadata", "resourceVersion"), 0, "must be specified for an update"))
	}
	return st.replace(c, old, u)
}

// replace stores u in place of old, after the checks that updates and patches share.
func (st *store) replace(c call, old, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if rv := u.GetResourceVersion(); rv != "" && rv != old.GetResourceVersion() {
		return nil, c.conflict(modified)
	}
	if uid := u.GetUID(); uid != "" && uid != old.GetUID() {
		return nil, c.conflict("Precondition failed: UID in precondition: %v, UID in object meta: %v", uid, old.GetUID())
	}
	if c.Subresource == "status" {
		status := u.Object["status"]
		u = old.DeepCopy()
		u.Object["status"] = status
	} else if c.resource.Status {
		delete(u.Object, "status")
		if status, ok := old.Object["status"]; ok {
			u.Object["status"] = status
		}
	}
	u.SetUID(old.GetUID())
	u.SetCreationTimestamp(old.GetCreationTimestamp())
	u.SetDeletionTimestamp(old.GetDeletionTimestamp())
	u.SetGeneration(old.GetGeneration())
	u.SetResourceVersion(old.GetResourceVersion())
	if err := c.validate(u); err != nil {
		return nil, err
	}
	if equal(u.Object, old.Object) {
		return old, nil // a write without a change keeps the resourceVersion
	}
	if c.resource.custom() && !equal(u.Object["spec"], old.Object["spec"]) {
		u.SetGeneration(old.GetGeneration() + 1)
	}
	if u.GetDeletionTimestamp() != nil && len(u.GetFinalizers()) == 0 {
		// Removing the last finalizer of an object being deleted deletes it.
		if !c.dryRun() {
			st.put(c.key(), nil)
		}
		return u, nil
	}
	return st.commit(c, u), nil
}

func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// statusOf returns the Status of an error.
func statusOf(err error) metav1.Status {
	var known apierrors.APIStatus
	if errors.As(err, &known) {
		return known.Status()
	}
	return apierrors.NewInternalError(err).ErrStatus
}
