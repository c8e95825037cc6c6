// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/k8sretry/k8sretry"
)

//go:embed page.html page.css page.js
var files embed.FS

// refreshInterval is how often the page gets the state.
const refreshInterval = 500 * time.Millisecond

// stalled is how long a browser may take to read one state.
const stalled = 10 * time.Second

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"seconds": func(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) },
}).ParseFS(files, "page.html"))

// mark is how a result is shown.
type mark struct{ Mark, Class, Title string }

var marks = [results]mark{
	pending:   {"…", "", "In progress"},
	succeeded: {"✓", "good", "Succeeded"},
	failed:    {"✗", "bad", "Failed, not done"},
	falseFail: {"!", "bad", "Failed, but done"},
	unknown:   {"?", "unsure", "Reported as unknown"},
	twice:     {"2", "bad", "Done twice"},
	lost:      {"0", "bad", "Succeeded, but not done"},
}

// view is what the page shows.
type view struct {
	Faults    []faultView
	Clients   []clientView
	Outcomes  []outcomeView
	Flows     []flowView
	Limiter   k8sretry.LimiterState
	Limited   []k8sretry.LimitedScope
	Decisions []decision
	Retries   int
	Waits     time.Duration
}

type faultView struct {
	Fault, Title, Hint string
	On                 bool
}

type clientView struct {
	figures
	Name string
	Tape []mark
}

type outcomeView struct {
	mark
	Counts []int // of each client
}

type flowView struct {
	Name  string
	Cells []flowCell // of each client
}

type flowCell struct {
	Median     time.Duration
	InProgress int
}

// view returns the current state.
func (d *demo) view() view {
	v := view{Limiter: d.limiter.State(), Limited: d.limiter.Limited()}
	v.Decisions, v.Retries, v.Waits = d.feed.state()
	slices.SortFunc(v.Limited, func(a, b k8sretry.LimitedScope) int {
		if a.Scope != b.Scope {
			return int(b.Scope) - int(a.Scope) // the largest first
		}
		return strings.Compare(a.Name, b.Name)
	})
	on := d.faults.list()
	for _, f := range allFaults {
		v.Faults = append(v.Faults, faultView{string(f.Fault), f.Title, f.Hint, slices.Contains(on, f.Fault)})
	}
	for _, c := range d.clients {
		client := clientView{figures: c.book.figures(), Name: c.name}
		for _, r := range client.figures.Tape {
			client.Tape = append(client.Tape, marks[r])
		}
		v.Clients = append(v.Clients, client)
	}
	for r := succeeded; r < results; r++ {
		row := outcomeView{mark: marks[r]}
		for _, c := range v.Clients {
			row.Counts = append(row.Counts, c.Counts[r])
		}
		v.Outcomes = append(v.Outcomes, row)
	}
	for k, name := range kindNames {
		row := flowView{Name: name}
		for _, c := range v.Clients {
			row.Cells = append(row.Cells, flowCell{c.Median[k], c.InProgress[k]})
		}
		v.Flows = append(v.Flows, row)
	}
	return v
}

// newPage returns the handler of the page. It answers requests for loopback hosts only, so
// that no other site can use it by a name of its own.
func newPage(d *demo) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(render("page.html", d.view()))
	})
	for _, file := range []string{"page.css", "page.js"} {
		mux.HandleFunc("GET /"+file, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, file) })
	}
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		// ParseForm ignores what it cannot read, and the form would switch everything off.
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); r.ContentLength != 0 && kind != "application/x-www-form-urlencoded" {
			http.Error(w, "not the form of the page", http.StatusUnsupportedMediaType)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 4096)
		if err := r.ParseForm(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		on, err := parseFaults(r.PostForm["on"])
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d.setFaults(on)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /events", d.events)
	protected := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) {
			http.Error(w, "this page is for the local machine", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		protected.ServeHTTP(w, r)
	})
}

// events sends the part of the page that changes as Server-Sent Events, until the client or
// the program ends.
func (d *demo) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	ticker := time.NewTicker(refreshInterval)
	defer ticker.Stop()
	control := http.NewResponseController(w)
	for {
		_ = control.SetWriteDeadline(time.Now().Add(stalled)) // a recorder of a test has none
		for line := range bytes.Lines(render("live", d.view())) {
			fmt.Fprintf(w, "data: %s\n", bytes.TrimSuffix(line, []byte("\n")))
		}
		fmt.Fprintln(w)
		if control.Flush() != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

// render executes a template. The templates are part of the program, so an error is a bug.
func render(name string, v view) []byte {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func parseFaults(names []string) (on []fault, err error) {
	for _, name := range names {
		known := false
		for _, f := range allFaults {
			known = known || string(f.Fault) == name
		}
		if !known {
			return nil, fmt.Errorf("no fault %q", name)
		}
		on = append(on, fault(name))
	}
	return on, nil
}

// isLoopback reports whether the Host of a request is this machine.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || net.ParseIP(strings.Trim(host, "[]")).IsLoopback()
}
