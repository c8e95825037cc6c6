// SPDX-License-Identifier: Apache-2.0

package record

import (
	"net/http"
	"net/url"
	"time"
)

// Deletion is a deletion that may have been carried out, or may still be.
type Deletion struct {
	// Began is when the call sent its first deletion.
	Began time.Time
	// Failure is how the last one ended, nil if its answer was lost after a success.
	Failure error
	// UID is that of the object that it is for, "" if that is not known.
	UID string
}

// deletions are those of all attempts of a call.
type deletions struct {
	began   time.Time
	done    *url.URL            // of one that has succeeded as the only write of its attempt
	unknown map[string]Deletion // by URL
}

// Deletes records that a deletion is about to be sent.
func (r *Record) Deletes() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deletions.began.IsZero() {
		r.deletions.began = time.Now()
	}
}

// DeletionFailed records that it is not known whether a deletion was carried out.
func (r *Record) DeletionFailed(req *http.Request, failure error) {
	r.changeDeletion(req, func(d *Deletion) { d.Failure = failure })
}

// DeletionIsFor records the UID of the object that a deletion is for.
func (r *Record) DeletionIsFor(req *http.Request, uid string) {
	r.changeDeletion(req, func(d *Deletion) { d.UID = uid })
}

func (r *Record) changeDeletion(req *http.Request, change func(*Deletion)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, key := &r.deletions, req.URL.String()
	d := all.unknown[key]
	d.Began = all.began
	change(&d)
	if all.unknown == nil {
		all.unknown = map[string]Deletion{}
	}
	all.unknown[key] = d
}

// Deletion returns the deletion that req repeats, unless there was none or it is known what
// became of it. A call that repeats one which has succeeded did not get the answer.
func (r *Record) Deletion(req *http.Request) (d Deletion, repeats bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := &r.deletions
	if all.done == nil && all.unknown == nil {
		return d, false
	}
	key := req.URL.String()
	if d, repeats = all.unknown[key]; !repeats && all.done != nil && all.done.String() == key {
		return Deletion{Began: all.began}, true
	}
	return d, repeats
}
