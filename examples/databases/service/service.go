// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"regexp"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/k8sretry/k8sretry"
)

// Config configures the service. The zero value stands for the defaults.
type Config struct {
	// Namespace is the namespace of the custom resources. Default: "default".
	Namespace string
	// RequestTimeout is the maximum duration of a request, including all retries.
	// Default: 90 s, which is enough for all delays of ForWrite.
	RequestTimeout time.Duration
	// Retry overrides the presets of all calls, ForWrite and ForRead.
	Retry []k8sretry.Option
}

// New returns the service. It is safe for concurrent use and has no state besides
// the cluster's. A nil logger disables logging.
func New(client dynamic.Interface, logger *zap.Logger, config Config) http.Handler {
	if logger == nil {
		logger = zap.NewNop()
	}
	if config.Namespace == "" {
		config.Namespace = "default"
	}
	if config.RequestTimeout == 0 {
		config.RequestTimeout = 90 * time.Second
	}
	options := append([]k8sretry.Option{k8sretry.WithLogger(logger)}, config.Retry...)
	h := &handlers{calls: NewCalls(client, config.Namespace, options...)}

	mux := http.NewServeMux()
	route(mux, "/api/v1/databases", methods{http.MethodPost: h.createDatabase})
	route(mux, "/api/v1/databases/{name}", methods{http.MethodGet: h.getDatabase, http.MethodDelete: h.deleteDatabase})
	route(mux, "/api/v1/opsrequests/{name}", methods{http.MethodGet: h.getOpsRequest})
	route(mux, "/healthz", methods{http.MethodGet: func(*http.Request) (reply, error) {
		return reply{code: http.StatusOK, body: map[string]string{"status": "ok"}}, nil
	}})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		write(w, reply{code: http.StatusNotFound, body: problem{Error: "not_found", Message: "no such path"}})
	})
	return &front{next: mux, logger: logger, timeout: config.RequestTimeout}
}

type handlers struct{ calls Calls }

func (h *handlers) createDatabase(r *http.Request) (reply, error) {
	key, err := keyOf(r)
	if err != nil {
		return reply{}, err
	}
	var wanted Database
	if err := readJSON(r, &wanted); err != nil {
		return reply{}, err
	}
	if errs := wanted.validate(); len(errs) > 0 {
		return reply{}, &badRequest{code: http.StatusBadRequest, reason: "invalid", message: "the database is invalid", fields: errs}
	}
	created, err := h.calls.CreateDatabase(r.Context(), wanted.object(key))
	var status DatabaseStatus
	switch {
	case apierrors.IsAlreadyExists(err):
		if status, err = h.existing(r.Context(), wanted, key, err); err != nil {
			return reply{}, err
		}
	case err != nil:
		return reply{}, err
	default:
		status = databaseStatus(created)
	}
	return reply{code: http.StatusCreated, body: status, location: "/api/v1/databases/" + wanted.Name}, nil
}

// existing reads the database because of which a create failed with alreadyExists.
// It returns the database if it was created by this request, or by an earlier one
// with the same key, and otherwise an error.
func (h *handlers) existing(ctx context.Context, wanted Database, key string, alreadyExists error) (DatabaseStatus, error) {
	found, err := h.calls.GetDatabaseStatus(ctx, wanted.Name)
	switch {
	case apierrors.IsNotFound(err):
		// It was deleted in the meantime, so its key is not known.
		return DatabaseStatus{}, alreadyExists
	case err != nil:
		return DatabaseStatus{}, errors.Join(err, k8sretry.ErrOutcomeUnknown)
	}
	status := databaseStatus(found)
	if found.GetAnnotations()[keyAnnotation] != key || status.Database != wanted {
		return DatabaseStatus{}, errTaken
	}
	return status, nil
}

func (h *handlers) getDatabase(r *http.Request) (reply, error) {
	found, err := lookUp(r, h.calls.GetDatabaseStatus)
	if err != nil {
		return reply{}, err
	}
	return reply{code: http.StatusOK, body: databaseStatus(found)}, nil
}

func (h *handlers) deleteDatabase(r *http.Request) (reply, error) {
	found, err := lookUp(r, h.calls.GetDatabaseStatus)
	if err != nil {
		return reply{}, err
	}
	err = h.calls.DeleteDatabase(r.Context(), found.GetName(), found.GetUID())
	if err != nil && !isDeleted(err) {
		return reply{}, err
	}
	// 202, not 200: finalizers of an operator may delay the deletion.
	status := databaseStatus(found)
	status.Deleting = true
	return reply{code: http.StatusAccepted, body: status}, nil
}

// isDeleted reports whether the error of a delete means that the database no longer
// exists. NotFound does, because the database was read before. So does a conflict
// about the UID after an unknown outcome: another database has the name now.
func isDeleted(err error) bool {
	return isObjectNotFound(err) || apierrors.IsConflict(err) && errors.Is(err, k8sretry.ErrOutcomeUnknown)
}

func (h *handlers) getOpsRequest(r *http.Request) (reply, error) {
	found, err := lookUp(r, h.calls.GetOpsRequestStatus)
	if err != nil {
		return reply{}, err
	}
	return reply{code: http.StatusOK, body: opsRequestStatus(found)}, nil
}

// lookUp reads the object with the name in the path.
func lookUp(r *http.Request, get func(context.Context, string) (*unstructured.Unstructured, error)) (*unstructured.Unstructured, error) {
	name := r.PathValue("name")
	// The limit is that of Kubernetes: operators create requests with long names.
	if problem := validatePathName(name); problem != "" {
		return nil, &badRequest{code: http.StatusBadRequest, reason: "invalid", message: "the name is invalid", fields: map[string]string{"name": problem}}
	}
	return get(r.Context(), name)
}

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// keyOf returns the caller's key, or a random one.
func keyOf(r *http.Request) (string, error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return rand.Text(), nil
	}
	if !keyPattern.MatchString(key) {
		return "", &badRequest{
			code: http.StatusBadRequest, reason: "invalid",
			message: "the Idempotency-Key must be 1 to 64 letters, digits, dots, dashes or underscores",
		}
	}
	return key, nil
}
