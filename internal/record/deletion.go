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
	done    *url.URL             // of one that has succeeded as the only write of its attempt
	unknown map[string]*Deletion // by URL
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
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unknownDeletion(req).Failure = failure
}

func (r *Record) unknownDeletion(req *http.Request) *Deletion {
	all, key := &r.deletions, req.URL.String()
	if all.unknown[key] == nil {
		if all.unknown == nil {
			all.unknown = map[string]*Deletion{}
		}
		all.unknown[key] = &Deletion{Began: all.began}
	}
	return all.unknown[key]
}

// Deletion returns the deletion that req repeats, nil if there was none or if it is known
// what became of it.
func (r *Record) Deletion(req *http.Request) *Deletion {
	r.mu.Lock()
	defer r.mu.Unlock()
	if all := &r.deletions; all.done != nil && all.done.String() == req.URL.String() {
		return r.unknownDeletion(req)
	} else if all.unknown == nil {
		return nil
	}
	return r.deletions.unknown[req.URL.String()]
}
