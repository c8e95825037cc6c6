// SPDX-License-Identifier: Apache-2.0

// Package service is a small HTTP service that stores databases as custom resources
// in a Kubernetes cluster. It makes these calls to the API server with k8sretry:
//
//	POST   /api/v1/databases           create_database
//	GET    /api/v1/databases/{name}    get_database_status
//	DELETE /api/v1/databases/{name}    delete_database
//	GET    /api/v1/opsrequests/{name}  get_ops_request_status
//
// # Writes and unknown outcomes
//
// A reply can be lost after the API server has carried out a request. The service
// handles this as follows.
//
// A create has a key: the Idempotency-Key header of the caller, or a random one. The
// key is stored as an annotation. The caller chooses the name of a database, so a
// repeated create cannot make a second database. If it is answered AlreadyExists,
// the key shows whether the existing database is the result of this request. For
// this reason create_database has no verb. Without such a key, use k8sretry.Create,
// or WithVerb(VerbCreate), which stops with ErrOutcomeUnknown instead of repeating.
// A caller may send a POST that was answered 503 or 504 again with the same key, and
// gets 201 whether or not the first one was carried out.
//
// A delete reads the database first and deletes it by its UID, so that a repetition
// never deletes a new database with the same name. NotFound after an attempt of
// unknown outcome means that the database has been deleted.
//
// # Errors
//
// Errors are JSON: {"error": "not_found", "message": "..."}. Besides 400, 404, 405,
// 409, 413, 415 and 422 there are 503 with Retry-After, if the retries are used up
// or the service is stopping, and 504, if the request timed out. Both have
// "outcome": "unknown" if the API server may have carried out the request.
package service
