// SPDX-License-Identifier: Apache-2.0

// Package trace records what happened in a world. The judge reads nothing else, so that a
// recorded trace can be judged again, byte for byte.
package trace

import (
	"bytes"
	"encoding/json"
	"io"
	"sync"
	"time"
)

// Kind says what an Entry is about.
type Kind string

// The kinds of entries.
const (
	OpBegins        Kind = "op"      // a caller begins a call
	OpEnds          Kind = "end"     // the call has returned
	RequestCame     Kind = "request" // a request has reached the server or what stands before it
	RequestDone     Kind = "done"    // the server has carried the request out, or has refused it
	Answered        Kind = "answer"  // what the client could see of the answer
	Changed         Kind = "change"  // a change of an object was stored
	DialFailed      Kind = "dial"    // a connection was not made
	ConnectionLost  Kind = "lost"    // a connection has swallowed or lost something, which may be of the call
	LeaseHeld       Kind = "lease held"
	LeaseLost       Kind = "lease lost"
	ClockSet        Kind = "clock"  // of the servers, by Limit
	ProcessPaused   Kind = "paused" // the process Program, for Limit
	ServerDown      Kind = "down"   // the server stops; requests in flight are cut
	ServerUp        Kind = "up"     // the server runs again
	ReplicaDown     Kind = "replica down"
	ReplicaUp       Kind = "replica up"
	HistoryGone     Kind = "compact"  // changes up to Version are no longer served
	InformerDiffers Kind = "informer" // the cache of the informer is not what the server has
	LeakDetected    Kind = "leak"     // something is left after the world has ended
)

// Claim is what a call said about its outcome.
type Claim string

// The claims.
const (
	Success Claim = "success" // a nil error: carried out
	Certain Claim = "certain" // an error without ErrOutcomeUnknown: not carried out, and never will be
	Unknown Claim = "unknown" // ErrOutcomeUnknown
)

// Entry is one line of a trace. Only the fields of its kind are set.
type Entry struct {
	At   time.Duration `json:"at"` // since the world began
	Kind Kind          `json:"kind"`
	Op   int           `json:"op,omitempty"` // 0 for requests of others
	N    int           `json:"n,omitempty"`  // the number of the request, the dial or the attempt of the op

	// OpBegins
	Way      string        `json:"way,omitempty"`
	Call     string        `json:"call,omitempty"`
	Caller   string        `json:"caller,omitempty"`
	Program  int           `json:"program,omitempty"` // the number of the process
	Limited  bool          `json:"limited,omitempty"` // by a Limiter of the process
	Resource string        `json:"resource,omitempty"`
	Name     string        `json:"name,omitempty"`
	UID      string        `json:"uid,omitempty"`     // of the object that the caller means; "" for any
	Version  int64         `json:"version,omitempty"` // that the caller requires, or that was stored
	Retries  int           `json:"retries,omitempty"`
	Limit    time.Duration `json:"limit,omitempty"` // when the caller's context ends, since the call began
	Canceled bool          `json:"canceled,omitempty"`
	BelowAll bool          `json:"below_all,omitempty"` // a Transport counts and bounds the requests
	WasGoing bool          `json:"was_going,omitempty"` // the object was being deleted when the caller read it
	Value    string        `json:"value,omitempty"`     // what only this call writes
	Sends    string        `json:"sends,omitempty"`     // an object as JSON

	// RequestCame, RequestDone, Answered, DialFailed
	Method     string        `json:"method,omitempty"`
	Path       string        `json:"path,omitempty"`
	Fault      string        `json:"fault,omitempty"`
	Code       int           `json:"code,omitempty"`
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	Clean      bool          `json:"clean,omitempty"` // the client got the server's own answer
	Write      bool          `json:"write,omitempty"`
	Level      string        `json:"level,omitempty"` // of Priority and Fairness
	Watch      bool          `json:"watch,omitempty"`
	Behind     int64         `json:"behind,omitempty"` // how many versions the cache was behind that the caller has read

	// Changed
	Type   string `json:"type,omitempty"` // ADDED, MODIFIED, DELETED
	Object string `json:"object,omitempty"`
	By     string `json:"by,omitempty"`

	// OpEnds
	Claim Claim  `json:"claim,omitempty"`
	Error string `json:"error,omitempty"`
	Stop  string `json:"stop,omitempty"`
}

// Recorder collects the entries of one world. It is safe for concurrent use.
type Recorder struct {
	mu      sync.Mutex
	began   time.Time
	entries []Entry
}

// NewRecorder returns a Recorder whose clock begins now.
func NewRecorder() *Recorder { return &Recorder{began: time.Now()} }

// Add records an entry.
func (r *Recorder) Add(e Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = time.Since(r.began)
	r.entries = append(r.entries, e)
}

// Entries returns all entries in their order.
func (r *Recorder) Entries() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entries[:len(r.entries):len(r.entries)]
}

// Encode writes entries, one JSON object a line.
func Encode(w io.Writer, entries []Entry) error {
	out := json.NewEncoder(w)
	for i := range entries {
		if err := out.Encode(&entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// Decode reads what Encode has written.
func Decode(data []byte) (entries []Entry, err error) {
	in := json.NewDecoder(bytes.NewReader(data))
	for in.More() {
		var e Entry
		if err := in.Decode(&e); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}
