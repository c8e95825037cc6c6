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
	"k8s.io/client-go/dynamic"

	"github.com/k8sretry/k8sretry"
)

// Config is what may be chosen about the service. The zero value is useful.
type Config struct {
	// Namespace is where the custom resources are. Default: "default".
	Namespace string
	// RequestTimeout is how long a caller waits at most, all retries together.
	// Default: 90 s, in which ForWrite finds room for all its waits.
	RequestTimeout time.Duration
	// Retry is set on top of the presets of all calls, such as shorter delays.
	// Default: the presets as they are, ForWrite and ForRead.
	Retry []k8sretry.Option
}

// New returns the service. It is safe for concurrent use and keeps no state of its
// own: everything is in the cluster. A nil logger is silence.
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
		write(w, reply{code: http.StatusNotFound, body: problem{Error: "not_found", Message: "there is nothing at this path"}})
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
	if wrong := wanted.complaints(); len(wrong) > 0 {
		return reply{}, &badRequest{code: http.StatusBadRequest, reason: "invalid", message: "the database is not valid", fields: wrong}
	}
	created, err := h.calls.CreateDatabase(r.Context(), wanted.object(key))
	status := DatabaseStatus{}
	switch {
	case apierrors.IsAlreadyExists(err):
		if status, err = h.ours(r.Context(), wanted, key, err); err != nil {
			return reply{}, err
		}
	case err != nil:
		return reply{}, err
	default:
		status = databaseStatus(created)
	}
	return reply{code: http.StatusCreated, body: status, location: "/api/v1/databases/" + wanted.Name}, nil
}

// ours looks at the database that stands where a create wanted to put its own. It
// returns it if it was made by the same request, or by the one that this request
// repeats; else exists, the error that the create met.
func (h *handlers) ours(ctx context.Context, wanted Database, key string, exists error) (DatabaseStatus, error) {
	found, err := h.calls.GetDatabaseStatus(ctx, wanted.Name)
	switch {
	case apierrors.IsNotFound(err):
		// It came and went while we looked. Whose it was, nobody can tell.
		return DatabaseStatus{}, exists
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
	name, err := nameOf(r)
	if err != nil {
		return reply{}, err
	}
	found, err := h.calls.GetDatabaseStatus(r.Context(), name)
	if err != nil {
		return reply{}, err
	}
	return reply{code: http.StatusOK, body: databaseStatus(found)}, nil
}

func (h *handlers) deleteDatabase(r *http.Request) (reply, error) {
	name, err := nameOf(r)
	if err != nil {
		return reply{}, err
	}
	found, err := h.calls.GetDatabaseStatus(r.Context(), name)
	if err != nil {
		return reply{}, err
	}
	err = h.calls.DeleteDatabase(r.Context(), name, found.GetUID())
	if err != nil && !gone(err) {
		return reply{}, err
	}
	// 202, not 200: an operator may have things to do before the object goes.
	status := databaseStatus(found)
	status.Deleting = true
	return reply{code: http.StatusAccepted, body: status}, nil
}

// gone reports whether the database that a delete was for is no longer there. It was
// there a moment ago, so NotFound is the end that was asked for, whoever brought it
// about; and a conflict about the UID after an unknown outcome means that another
// one has its name by now.
func gone(err error) bool {
	return isObjectNotFound(err) || apierrors.IsConflict(err) && errors.Is(err, k8sretry.ErrOutcomeUnknown)
}

func (h *handlers) getOpsRequest(r *http.Request) (reply, error) {
	name, err := nameOf(r)
	if err != nil {
		return reply{}, err
	}
	found, err := h.calls.GetOpsRequestStatus(r.Context(), name)
	if err != nil {
		return reply{}, err
	}
	return reply{code: http.StatusOK, body: opsRequestStatus(found)}, nil
}

func nameOf(r *http.Request) (string, error) {
	name := r.PathValue("name")
	// Operators give long names to their requests: the limit is Kubernetes' own.
	if why := pathNameComplaint(name); why != "" {
		return "", &badRequest{code: http.StatusBadRequest, reason: "invalid", message: "the name is not valid", fields: map[string]string{"name": why}}
	}
	return name, nil
}

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// keyOf is the caller's key, or a random one.
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
