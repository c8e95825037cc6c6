// Package service is a small HTTP service that keeps databases as custom resources
// in a Kubernetes cluster, with every call to the API server under k8sretry:
//
//	POST   /api/v1/databases           create_database
//	GET    /api/v1/databases/{name}    get_database_status
//	DELETE /api/v1/databases/{name}    delete_database
//	GET    /api/v1/opsrequests/{name}  get_ops_request_status
//
// # Writes and unknown outcomes
//
// A reply can be lost after the API server has done the work. What the service does
// then is the part worth copying:
//
// A create carries a key: the caller's Idempotency-Key header, or a random one. The
// key is stored as an annotation. Because the name of a database is fixed by the
// caller, a repeated create cannot make a second database; it is answered
// AlreadyExists, and the key then tells whether the database is our own. That
// knowledge is why create_database names no verb to k8sretry: without it,
// WithVerb(VerbCreate) would be right, which stops with ErrOutcomeUnknown rather
// than repeat. Callers profit, too: a POST that was answered 503 or 504 may be sent
// again with the same key, and gives 201 whether or not the first one got through.
//
// A delete first reads the database and then removes that one, by its UID: a
// repetition can never remove a new database of the same name. NotFound after an
// attempt with an unknown outcome means that the database is gone, which is what
// was asked for.
//
// # Answers
//
// Errors are JSON: {"error": "not_found", "message": "..."}. Beside the usual
// 400, 404, 405, 409, 413, 415 and 422: 503 with Retry-After when the retries are
// used up or the service stops, 504 when the time for the request is, both with
// "outcome": "unknown" when the API server may have done the work all the same.
package service
