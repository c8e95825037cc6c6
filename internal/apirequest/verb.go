// SPDX-License-Identifier: Apache-2.0

package apirequest

// Verb is the verb of a request. Its values and names are those of the verbs of the root
// package, which this package cannot import.
type Verb uint8

// The verbs, in the order of the root package.
const (
	Unspecified Verb = iota
	Get
	List
	Watch
	Create
	Update
	Patch
	Apply
	Delete
	DeleteCollection
)

var verbNames = [...]string{"", "get", "list", "watch", "create", "update", "patch", "apply", "delete", "deletecollection"}

// String returns the verb as RBAC writes it, and "apply" for a server-side apply.
func (v Verb) String() string {
	if int(v) < len(verbNames) {
		return verbNames[v]
	}
	return "invalid"
}

// Reads reports whether requests with this verb change nothing on the server.
func (v Verb) Reads() bool { return v == Get || v == List || v == Watch }
